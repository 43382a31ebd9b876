"""RadGraph F1 as a judge, where the package ``radgraph`` is installed; medmm neither needs nor brings it.

Source: Jain et al., NeurIPS Datasets and Benchmarks 2021; rewards of Delbrouck et al., Findings of EMNLP 2022. The
package fetches its model by itself at the first use, so that a machine without network needs it in its cache before.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Mapping, Sequence

from medmm.errors import UsageError

_LEVELS = ("simple", "partial", "complete")
"""Entities alone; entities and whether they have a relation; entities with their relations."""


class RadGraphJudge:
    """The package's ``F1RadGraph`` with all its levels.

    Raises:
        UsageError: The package is not installed, or cannot load its model.
    """

    def __init__(self) -> None:
        try:
            package = importlib.import_module("radgraph")
        except ImportError as error:
            raise UsageError(
                "RadGraph F1 needs the package radgraph",
                where="judge radgraph",
                fix="Install it with pip install radgraph, or leave this judge out.",
            ) from error
        try:
            self._scorer = package.F1RadGraph(reward_level="all")
        except Exception as error:  # whatever its download or its model raises
            raise UsageError(
                "the package radgraph cannot load its model",
                where="judge radgraph",
                got=type(error).__name__,
                fix="Run it once where there is network, so that its model lies in its cache.",
            ) from error
        self.version = _version()

    def __call__(self, references: Sequence[str], drafts: Sequence[str]) -> Mapping[str, Sequence[float]]:
        """Score each draft: ``simple``, ``partial`` and ``complete`` F1 in [0, 1].

        A pair with an empty text has 0 and is not handed to the package, which cannot read it.
        """
        there = [at for at, pair in enumerate(zip(references, drafts, strict=True)) if all(one.strip() for one in pair)]
        each = {level: [0.0] * len(drafts) for level in _LEVELS}
        if there:
            rewards = self._scorer(hyps=[drafts[at] for at in there], refs=[references[at] for at in there])[1]
            for level, values in zip(_LEVELS, rewards, strict=True):
                for at, value in zip(there, values, strict=True):
                    each[level][at] = float(value)
        return each


def _version() -> str:
    try:
        return importlib.metadata.version("radgraph")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
