"""Scores by somebody else's model: RadGraph F1, GREEN and their like, none of which medmm needs.

A judge is any callable that takes references and drafts and gives, for each of its scores, a number a study. It is
named in the config: a name of ``registry.JUDGES``, an entry point of the group ``medmm.judges`` of an installed
package, or ``module:attribute``.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from medmm import registry
from medmm.errors import UsageError
from medmm.metrics.finding_errors import weighted_mean

ENTRY_POINTS = "medmm.judges"
"""Group of entry points under which an installed package offers judges."""

Floats = npt.NDArray[np.float64]


class Judge(Protocol):
    """Scores drafts. An attribute ``version`` (a string), where there is one, goes into the metric card."""

    def __call__(self, references: Sequence[str], drafts: Sequence[str]) -> Mapping[str, Sequence[float]]:
        """Score each draft.

        Args:
            references: Each study's report.
            drafts: Each study's draft, in the same order.

        Returns:
            Score name to one finite number a study.
        """
        ...


@dataclass(frozen=True)
class JudgeScores:
    """What a judge said.

    Attributes:
        judge: The judge's name as it was asked for.
        version: What it says of its own version, ``unknown`` if nothing.
        each: Score name, ``JUDGE_SCORE``, to ``[n]``.
    """

    judge: str
    version: str
    each: Mapping[str, Floats]

    def scores(self, weights: npt.ArrayLike | None = None) -> dict[str, Floats]:
        """Means over studies, ``[]`` or ``[resamples]`` for weights ``[resamples, n]``."""
        return {name: weighted_mean(values, weights) for name, values in self.each.items()}


def load_judge(name: str) -> Judge:
    """Find a judge by name.

    Args:
        name: A name of ``registry.JUDGES`` (``radgraph``), of an entry point, or ``module:attribute``. A class, or
            anything with ``is_factory`` true, is called without arguments to make the judge.

    Raises:
        UsageError: There is no such judge, its package is not installed, or it cannot be called.
    """
    if name in registry.JUDGES:
        found = registry.resolve("judge", name)
    elif ":" in name:
        found = _imported(name)
    else:
        found = _offered(name)
    if isinstance(found, type) or getattr(found, "is_factory", False):
        found = found()
    if not callable(found):
        raise UsageError("a judge must be callable", where=f"judge {name}", got=type(found).__name__)
    return found


def judge_scores(
    name: str, references: Sequence[str], drafts: Sequence[str], judge: Judge | None = None
) -> JudgeScores:
    """Let a judge score drafts, and check what it says.

    Args:
        name: As in :func:`load_judge`.
        references: Each study's report.
        drafts: Each study's draft, in the same order.
        judge: One that is loaded already; None loads it.

    Raises:
        UsageError: The two differ in number or are empty; the judge cannot be had, or does not give one finite number a
            study and score.
    """
    if len(references) != len(drafts) or not references:
        raise UsageError(
            "a judge needs a draft for each reference", got=f"{len(drafts)} drafts", expected=len(references) or "some"
        )
    judge = judge or load_judge(name)
    said = judge(list(references), list(drafts))
    if not isinstance(said, Mapping) or not said:
        raise UsageError("a judge must give scores by name", where=f"judge {name}", got=type(said).__name__)
    short = name.rsplit(":", 1)[-1].lower()
    each: dict[str, Floats] = {}
    for score, values in said.items():
        array = np.asarray(values, np.float64)
        if array.shape != (len(drafts),) or not np.isfinite(array).all():
            raise UsageError(
                "a judge must give one finite number a study",
                where=f"judge {name}, score {score}",
                got=f"shape {array.shape}, {int((~np.isfinite(array)).sum())} of them not finite",
                expected=f"shape ({len(drafts)},)",
            )
        each[str(score) if str(score).startswith(short) else f"{short}_{score}"] = array
    return JudgeScores(name, str(getattr(judge, "version", "unknown")), each)


def _imported(target: str) -> Any:
    module, _, attribute = target.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(
            "the judge cannot be imported",
            where=f"judge {target}",
            got=f"{type(error).__name__}",
            expected="module:attribute of an installed package",
            fix="Install its package, or leave the judge out.",
        ) from error
    return found


def _offered(name: str) -> Any:
    points = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if name not in points:
        raise UsageError(
            "no judge of that name",
            got=f"'{name}'",
            expected=" | ".join((*registry.JUDGES, *sorted(points), "module:attribute")),
        )
    return _imported(points[name].value)
