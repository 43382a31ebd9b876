"""Whether drafts state the findings that are there: F1 of present against the rest, by finding, macro and micro."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medmm.errors import UsageError
from medmm.types import Finding, Status

Floats = npt.NDArray[np.float64]

MACRO, MICRO = "clinical_f1_macro", "clinical_f1_micro"


@dataclass(frozen=True)
class ClinicalCounts:
    """Agreement of drafts with the truth, a row a study and a column a finding.

    Attributes:
        names: Findings with enough positives, in the order of their names.
        truth: ``[n, findings]`` whether the finding is present.
        drafted: ``[n, findings]`` whether the draft says that it is present.
        positives: Positives in the truth of every finding looked at, also of those left out.
        notes: What was left out, and why.
    """

    names: tuple[str, ...]
    truth: npt.NDArray[np.bool_]
    drafted: npt.NDArray[np.bool_]
    positives: Mapping[str, int]
    notes: tuple[str, ...] = ()

    def scores(self, weights: npt.ArrayLike | None = None) -> dict[str, Floats]:
        """F1 scores in [0, 1]; 0 where a finding is neither there nor drafted.

        Args:
            weights: ``[n]`` or ``[resamples, n]``: how often each study counts; None counts each once.

        Returns:
            ``clinical_f1_macro``, ``clinical_f1_micro`` and ``clinical_f1/NAME``, each ``[]`` or ``[resamples]``;
            nothing when no finding has enough positives.
        """
        if not self.names:
            return {}
        shares = np.ones(len(self.truth)) if weights is None else np.asarray(weights, np.float64)
        both = shares @ (self.truth & self.drafted).astype(np.float64)
        either = shares @ (self.truth.astype(np.float64) + self.drafted)
        f1 = _f1(both, either)
        scores = {MACRO: f1.mean(-1), MICRO: _f1(both.sum(-1), either.sum(-1))}
        return {**scores, **{f"clinical_f1/{name}": f1[..., column] for column, name in enumerate(self.names)}}


def clinical_counts(
    truth: Sequence[Mapping[str, Finding]],
    drafted: Sequence[Mapping[str, Finding]],
    min_positives: int = 10,
    names: Sequence[str] | None = None,
) -> ClinicalCounts:
    """Compare what drafts state with what is true.

    Args:
        truth: Each study's findings: from a truth table, or read from the reference report.
        drafted: Each study's findings read from its draft, in the same order.
        min_positives: Findings present in fewer studies are left out.
        names: Findings to look at; None looks at every one that the truth names.

    Raises:
        UsageError: The two differ in number, or are empty.
    """
    if len(truth) != len(drafted) or not truth:
        raise UsageError(
            "clinical scores need a draft for each study", got=f"{len(drafted)} drafts", expected=len(truth) or "some"
        )
    looked_at = sorted({name for findings in truth for name in findings} if names is None else set(names))
    positives = {name: sum(_is_present(findings, name) for findings in truth) for name in looked_at}
    kept = tuple(name for name in looked_at if positives[name] >= min_positives)
    notes = []
    if not kept:
        notes.append(f"no clinical F1: no finding is present in at least {min_positives} of {len(truth)} studies")
    elif len(kept) < len(looked_at):
        left = ", ".join(f"{name} ({positives[name]})" for name in looked_at if name not in kept and positives[name])
        if left:
            notes.append(f"findings with fewer than {min_positives} positives are left out: {left}")
    return ClinicalCounts(kept, _present(truth, kept), _present(drafted, kept), positives, tuple(notes))


def clinical_f1(
    truth: Sequence[Mapping[str, Finding]],
    drafted: Sequence[Mapping[str, Finding]],
    min_positives: int = 10,
) -> dict[str, float]:
    """F1 of drafts, present against the rest, over findings with at least ``min_positives`` positives in the truth.

    Returns:
        ``clinical_f1_macro``, ``clinical_f1_micro`` and ``clinical_f1/NAME``, in [0, 1]; nothing when no finding has
        enough positives (:func:`clinical_counts` says so in its notes).

    Raises:
        UsageError: The two differ in number, or are empty.
    """
    counts = clinical_counts(truth, drafted, min_positives)
    return {name: float(score) for name, score in counts.scores().items()}


def _is_present(findings: Mapping[str, Finding], name: str) -> bool:
    finding = findings.get(name)
    return finding is not None and finding.status is Status.PRESENT


def _present(rows: Sequence[Mapping[str, Finding]], names: Sequence[str]) -> npt.NDArray[np.bool_]:
    return np.array([[_is_present(findings, name) for name in names] for findings in rows], bool).reshape(
        len(rows), len(names)
    )


def _f1(both: Floats, either: Floats) -> Floats:
    """``2 tp / (2 tp + fp + fn)``: twice what both have over what each has, summed."""
    return np.divide(2 * both, either, out=np.zeros_like(both), where=np.asarray(either) > 0)
