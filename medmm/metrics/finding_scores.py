"""Precision, recall and F1 of the findings that drafts state: by finding, macro and micro.

The same numbers serve any set of findings: all that the labeler knows, or the 14 and 5 CheXpert classes once both sides
are mapped to them. What an uncertain mention counts as changes the numbers, so it has a name (:class:`Uncertain`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from medmm.errors import UsageError
from medmm.types import Finding, Status

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Findings = Mapping[str, Finding]

MACRO, MICRO = "clinical_f1_macro", "clinical_f1_micro"


class Uncertain(StrEnum):
    """What an uncertain mention counts as (Irvin et al., AAAI 2019, call the first two U-Zeros and U-Ones)."""

    NEGATIVE = "negative"
    """Like absent."""
    POSITIVE = "positive"
    """Like present."""
    IGNORED = "ignored"
    """A study counts for a finding only where neither side is uncertain of it."""


@dataclass(frozen=True)
class FindingScores:
    """Agreement of drafts with the truth, a row a study and a column a finding.

    Attributes:
        names: Findings with enough positives, sorted.
        truth: ``[n, findings]`` whether the finding is there.
        drafted: ``[n, findings]`` whether the draft says so.
        counted: ``[n, findings]`` whether the study counts for the finding.
        support: Positives in truth of every finding looked at, also of those left out.
        uncertain: What an uncertain mention counts as.
        notes: What was left out, and why.
        suffix: Says in every score's name which findings are meant, such as ``_14``; empty for those of the truth.
    """

    names: tuple[str, ...]
    truth: Bools
    drafted: Bools
    counted: Bools
    support: Mapping[str, int]
    uncertain: Uncertain
    notes: tuple[str, ...] = ()
    suffix: str = ""

    def scores(self, weights: npt.ArrayLike | None = None) -> dict[str, Floats]:
        """Precision, recall and F1 in [0, 1]; 0 where there is nothing to divide by.

        Args:
            weights: ``[n]`` or ``[resamples, n]``: how often each study counts; None counts each once.

        Returns:
            ``clinical_precision_macro``, ``clinical_precision_micro`` and ``clinical_precision/FINDING``, likewise
            ``recall`` and ``f1``, with the suffix before the slash or at the end; each ``[]`` or ``[resamples]``.
            Nothing when no finding has enough positives.
        """
        if not self.names:
            return {}
        both, said, there = self.sums(weights)
        scores: dict[str, Floats] = {}
        parts = {"precision": (both, said), "recall": (both, there), "f1": (2 * both, said + there)}
        for name, (over, under) in parts.items():
            each = _ratio(over, under)
            family = f"clinical_{name}"
            scores[f"{family}_macro{self.suffix}"] = each.mean(-1)
            scores[f"{family}_micro{self.suffix}"] = _ratio(over.sum(-1), under.sum(-1))
            scores.update({f"{family}{self.suffix}/{finding}": each[..., at] for at, finding in enumerate(self.names)})
        return scores

    def sums(self, weights: npt.ArrayLike | None = None) -> tuple[Floats, Floats, Floats]:
        """Count, for each finding, studies where both have it, where the draft has it, where the truth has it.

        Args:
            weights: As in :meth:`scores`.

        Returns:
            Three arrays ``[findings]`` or ``[resamples, findings]``.
        """
        shares = np.ones(len(self.truth)) if weights is None else np.asarray(weights, np.float64)
        said, there = self.drafted & self.counted, self.truth & self.counted
        return tuple(shares @ one.astype(np.float64) for one in (said & there, said, there))  # type: ignore[return-value]


def finding_scores(
    truth: Sequence[Findings],
    drafted: Sequence[Findings],
    names: Sequence[str] | None = None,
    uncertain: Uncertain = Uncertain.NEGATIVE,
    min_positives: int = 10,
    suffix: str = "",
) -> FindingScores:
    """Compare what drafts state with what is true.

    Args:
        truth: Each study's findings: from a truth table, or read from the reference report.
        drafted: Each study's findings read from its draft, in the same order.
        names: Findings to look at; None looks at every one that the truth names.
        uncertain: What an uncertain mention counts as, on either side.
        min_positives: Findings with fewer positives in the truth are left out, whatever the drafts say: averages of any
            two sets of drafts of the same studies are over the same findings.
        suffix: Of the scores' names.

    Raises:
        UsageError: The two differ in number, or are empty.
    """
    check_pairs(truth, drafted)
    looked_at = sorted({name for findings in truth for name in findings} if names is None else set(names))
    there, doubted = statuses(truth, looked_at, uncertain)
    said, unsure = statuses(drafted, looked_at, uncertain)
    positives = there.sum(0)
    kept = [at for at, number in enumerate(positives) if number >= min_positives]
    support = {name: int(number) for name, number in zip(looked_at, positives, strict=True)}
    left = [f"{name} ({support[name]})" for at, name in enumerate(looked_at) if at not in set(kept) and support[name]]
    notes: tuple[str, ...] = ()
    if not kept:
        notes = (f"no clinical F1: no finding is present in at least {min_positives} of {len(truth)} studies",)
    elif left:
        notes = (f"findings with fewer than {min_positives} positives are left out: {', '.join(left)}",)
    counted, names = ~(doubted | unsure), tuple(looked_at[at] for at in kept)
    return FindingScores(names, there[:, kept], said[:, kept], counted[:, kept], support, uncertain, notes, suffix)


def check_pairs(truth: Sequence[object], drafted: Sequence[object]) -> None:
    """Refuse what cannot be compared study by study.

    Raises:
        UsageError: The two differ in number, or are empty.
    """
    if len(truth) != len(drafted) or not len(truth):
        raise UsageError(
            "clinical scores need a draft for each study", got=f"{len(drafted)} drafts", expected=len(truth) or "some"
        )


def statuses(rows: Sequence[Findings], names: Sequence[str], uncertain: Uncertain) -> tuple[Bools, Bools]:
    """Turn findings into two ``[n, findings]`` arrays: which are positive, and which are to be ignored."""
    shape = (len(rows), len(names))
    present, doubted = np.zeros(shape, bool), np.zeros(shape, bool)
    places = {name: at for at, name in enumerate(names)}
    for row, findings in enumerate(rows):
        for name, finding in findings.items():
            at = places.get(name)
            if at is not None:
                present[row, at] = finding.status is Status.PRESENT
                doubted[row, at] = finding.status is Status.UNCERTAIN
    if uncertain is Uncertain.POSITIVE:
        present |= doubted
    return present, doubted if uncertain is Uncertain.IGNORED else np.zeros(shape, bool)


def _ratio(over: Floats, under: Floats) -> Floats:
    return np.divide(over, under, out=np.zeros_like(over), where=np.asarray(under) > 0)
