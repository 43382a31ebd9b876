"""Answers to questions against the right ones, on any resample of the questions.

Shape legend: N questions, R resamples.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
KINDS = ("yes_no", "choice", "position", "count", "size", "acquisition", "other")
"""What a question asks for, as :func:`kind_of` reads it."""
_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_DIGITS = {word: str(number) for number, word in enumerate(_NUMBERS)}
_ARTICLES = {"a", "an", "the"}
_POLAR = {"yes", "no"}
_SEPARATORS = re.compile(r"(?<!\d)[.,-]|[.,-](?!\d)|[^\w.,%+<>-]")
_WORDED = (
    ("count", re.compile(r"\bhow many\b|\bnumber of\b")),
    ("size", re.compile(r"\bhow (?:large|big|wide|long|small|tall|severe)\b|\bsize\b|\bdimensions?\b|\bdiameter\b")),
    (
        "acquisition",
        re.compile(r"\b(?:modality|plane|projection|view|sequence|weighted|contrast|ct|mri?|x-?ray|imaging|scan)\b"),
    ),
    ("position", re.compile(r"\bwhere\b|\bwhich (?:side|lobe|lung)\b|\blocat\w+|\bside\b|\bposition\b")),
)


def normalised(answer: str) -> str:
    """An answer as it is compared: lower case, without articles, punctuation and hyphens, numbers up to ten as digits.

    In the manner of the VQA evaluation (Antol et al. 2015, https://visualqa.org/evaluation.html).
    """
    words = _SEPARATORS.sub(" ", answer.lower()).split()
    return " ".join(_DIGITS.get(word, word) for word in words if word not in _ARTICLES)


def is_closed(question: str, answer: str) -> bool:
    """Whether the answers that can be given are known: yes and no, or the words of a question with *or*."""
    given = normalised(answer)
    return given in _POLAR or _is_choice(question, given)


def kind_of(question: str, answer: str) -> str:
    """What a question asks for, by its words and the right answer: one of :data:`KINDS`."""
    given = normalised(answer)
    if given in _POLAR:
        return "yes_no"
    if _is_choice(question, given):
        return "choice"
    text = question.lower()
    return next((kind for kind, words in _WORDED if words.search(text)), "other")


def _is_choice(question: str, given: str) -> bool:
    asked = f" {normalised(question)} "
    return " or " in asked and f" {given} " in asked


class AnswerScores:
    """Scores answers.

    Args:
        questions: N questions.
        answers: The right answers.
        given: The answers that are judged.
    """

    def __init__(self, questions: Sequence[str], answers: Sequence[str], given: Sequence[str]) -> None:
        right = [normalised(answer) for answer in answers]
        said = [normalised(answer) for answer in given]
        self.right = np.array([one == other for one, other in zip(right, said, strict=True)])
        pairs = list(zip(questions, answers, strict=True))
        self.closed = np.array([is_closed(*pair) for pair in pairs])
        self.kinds = np.array([kind_of(*pair) for pair in pairs])
        lengths = [
            (_common(one, other), len(other.split()), len(one.split())) for one, other in zip(right, said, strict=True)
        ]
        self._common, self._said, self._wanted = np.array(lengths, np.float64).T
        self._f1 = 2 * self._common / np.maximum(1, self._said + self._wanted)

    def scores(self, counts: Floats | None = None) -> dict[str, Floats]:
        """Figures on resamples of the questions.

        ``accuracy`` is the share of answers that are right word for word once normalised, ``accuracy_closed`` and
        ``accuracy_open`` those of either sort, and ``accuracy/KIND`` of a kind. Of open questions also ``token_f1``,
        the mean F1 of the words (as for SQuAD, Rajpurkar et al. 2016), and ``bleu_1`` over all of them together
        (Papineni et al. 2002). What no question is of is left out.

        Args:
            counts: ``[R, N]`` how often each question counts; once each if None.

        Returns:
            Name to ``[R]``, in [0, 1]; NaN in a resample that has no such question.
        """
        weights = np.ones((1, len(self.right))) if counts is None else counts
        groups = {"accuracy": np.ones_like(self.closed), "accuracy_closed": self.closed, "accuracy_open": ~self.closed}
        groups |= {f"accuracy/{kind}": self.kinds == kind for kind in KINDS}
        found = {name: _mean(self.right, group, weights) for name, group in groups.items() if group.any()}
        if not self.closed.all():
            found["token_f1"] = _mean(self._f1, ~self.closed, weights)
            found["bleu_1"] = self._bleu(weights * ~self.closed)
        return found

    def _bleu(self, weights: Floats) -> Floats:
        """Clipped matches over words written, short answers punished."""
        common, said, wanted = (weights @ column for column in (self._common, self._said, self._wanted))
        with np.errstate(divide="ignore", invalid="ignore"):
            brevity = np.minimum(1.0, np.exp(1 - wanted / said))
            return np.where(wanted > 0, np.where(said > 0, brevity * common / said, 0.0), np.nan)


def _mean(values: npt.NDArray[np.generic], group: npt.NDArray[np.bool_], weights: Floats) -> Floats:
    total = weights @ group.astype(np.float64)
    with np.errstate(invalid="ignore"):
        mean: Floats = (weights @ (np.asarray(values, np.float64) * group)) / np.where(total > 0, total, np.nan)
    return mean


def _common(one: str, other: str) -> int:
    return sum((Counter(one.split()) & Counter(other.split())).values())
