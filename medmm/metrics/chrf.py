"""chrF2: F of character n-grams up to six characters, recall counting twice; white space does not count.

Needs no tokenizer, so that it also serves texts without spaces. Equal to sacrebleu's chrF2 (``char_order`` 6,
``word_order`` 0, ``beta`` 2, no smoothing, case kept) divided by 100.

Source: Popović, WMT 2015.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medmm.errors import UsageError

Floats = npt.NDArray[np.float64]

_ORDERS = 6
_BETA2 = 2.0**2


@dataclass(frozen=True)
class ChrfStatistics:
    """What chrF of ``n`` studies is made of, against the reference that scores each draft best.

    Attributes:
        drafted: ``[n, 6]`` character n-grams of the draft, by order; those of orders that a text is too short for are
            left out on both sides.
        there: ``[n, 6]`` of the reference.
        matches: ``[n, 6]`` of both.
    """

    drafted: Floats
    there: Floats
    matches: Floats

    def scores(self, weights: npt.ArrayLike | None = None) -> dict[str, Floats]:
        """Score the studies together: ``chrf`` in [0, 1].

        Args:
            weights: ``[n]`` or ``[resamples, n]``: how often each study counts; None counts each once.
        """
        shares = np.ones(len(self.there)) if weights is None else np.asarray(weights, np.float64)
        return {"chrf": _f_score(shares @ self.drafted, shares @ self.there, shares @ self.matches)}

    def each(self) -> dict[str, Floats]:
        """Score each study by itself: ``chrf``, ``[n]``; 0 for an empty draft or reference."""
        return {"chrf": _f_score(self.drafted, self.there, self.matches)}


def chrf_statistics(references: Sequence[str] | Sequence[Sequence[str]], drafts: Sequence[str]) -> ChrfStatistics:
    """Count character n-grams.

    Args:
        references: Each study's report, or for every study a list of several.
        drafts: Each study's draft, in the same order.

    Raises:
        UsageError: The two differ in number or are empty, or a study has no reference.
    """
    grouped = [[group] if isinstance(group, str) else list(group) for group in references]
    if len(grouped) != len(drafts) or not drafts or not all(grouped):
        raise UsageError(
            "chrF needs a draft for each reference, and a reference for each draft",
            got=f"{len(drafts)} drafts, {sum(map(bool, grouped))} studies with a reference",
        )
    rows = np.array([_best(group, draft) for group, draft in zip(grouped, drafts, strict=True)], np.float64)
    return ChrfStatistics(rows[:, 0], rows[:, 1], rows[:, 2])


def _best(references: Sequence[str], draft: str) -> Floats:
    """``[3, 6]`` counts against the reference that gives the highest F; the first of several as good."""
    said = _ngrams(draft)
    rows = [_counts(said, _ngrams(reference)) for reference in references]
    return max(rows, key=lambda row: float(_f_score(*row)))


def _ngrams(text: str) -> list[Counter[str]]:
    joined = "".join(text.split())
    return [
        Counter(joined[at : at + order] for at in range(len(joined) - order + 1)) for order in range(1, _ORDERS + 1)
    ]


def _counts(said: Sequence[Counter[str]], there: Sequence[Counter[str]]) -> Floats:
    row = np.zeros((3, _ORDERS))
    for at, (one, other) in enumerate(zip(said, there, strict=True)):
        # as sacrebleu does: a draft counts only in orders that its reference reaches
        row[:, at] = one.total() if other else 0, other.total(), (one & other).total()
    return row


def _f_score(drafted: Floats, there: Floats, matches: Floats) -> Floats:
    """Mean precision and mean recall over the orders that both sides reach, then their F."""
    reached = (drafted > 0) & (there > 0)
    orders = np.maximum(reached.sum(-1), 1)
    precision = np.divide(matches, drafted, out=np.zeros_like(matches), where=reached).sum(-1) / orders
    recall = np.divide(matches, there, out=np.zeros_like(matches), where=reached).sum(-1) / orders
    under = np.asarray(_BETA2 * precision + recall)
    return np.divide((1 + _BETA2) * precision * recall, under, out=np.zeros_like(under), where=under > 0)
