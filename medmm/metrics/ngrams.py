"""N-grams of drafts and references as tables of numbers, one row a text and distinct n-gram.

Words become numbers once; an n-gram is the pair of the (n-1)-gram before it and its own last word, so that every order
is one sort of whole numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Words = Sequence[str]
"""Words of one text."""

ORDERS = 4
"""Longest n-gram, in words."""


@dataclass(frozen=True)
class Counts:
    """How often texts have the distinct n-grams of one order.

    Attributes:
        text: ``[rows]`` number of the text, ascending.
        ngram: ``[rows]`` number of the n-gram, ascending within a text.
        count: ``[rows]`` at least 1.
        prefix: ``[n-grams]`` number of the (n-1)-gram before the last word; 0 for single words.
        last: ``[n-grams]`` number of the last word.
    """

    text: Ints
    ngram: Ints
    count: Floats
    prefix: Ints
    last: Ints

    @property
    def width(self) -> int:
        """Number of distinct n-grams."""
        return len(self.last)

    def part(self, start: int, stop: int) -> Counts:
        """Rows of the texts ``start`` to before ``stop``, counted from 0 again."""
        first, end = np.searchsorted(self.text, [start, stop])
        return Counts(
            self.text[first:end] - start, self.ngram[first:end], self.count[first:end], self.prefix, self.last
        )


def numbered(texts: Iterable[Words]) -> tuple[dict[str, int], Ints, Ints]:
    """Number the words of texts.

    Returns:
        Word to its number in the order of appearance, ``[words]`` the numbers of all texts' words, and ``[texts]`` how
        many words each text has.
    """
    ids: dict[str, int] = {}
    numbers: list[int] = []
    lengths: list[int] = []
    number = ids.setdefault
    for text in texts:
        numbers.extend([number(word, len(ids)) for word in text])
        lengths.append(len(text))
    return ids, np.array(numbers, np.int64), np.array(lengths, np.int64)


def ngram_counts(words: Ints, lengths: Ints, vocabulary: int) -> list[Counts]:
    """Count the n-grams of order 1 to ``ORDERS``.

    Args:
        words: ``[words]`` numbers of all texts' words below ``vocabulary``, text after text.
        lengths: ``[texts]`` words of each text.
        vocabulary: Number of distinct words.
    """
    owner = np.repeat(np.arange(len(lengths)), lengths)
    tables: list[Counts] = []
    grams = np.zeros(len(words), np.int64)
    for order in range(1, ORDERS + 1):
        inside = owner[: max(len(words) - order + 1, 0)] == owner[order - 1 :]
        starts = np.flatnonzero(inside)
        pairs = grams[starts] * vocabulary + words[starts + order - 1]
        distinct, place = np.unique(pairs, return_inverse=True)
        grams[starts] = place.reshape(-1)  # starts of a longer n-gram are starts of each shorter one
        tables.append(
            _counted(owner[starts], grams[starts], distinct // max(vocabulary, 1), distinct % max(vocabulary, 1))
        )
    return tables


def _counted(owner: Ints, grams: Ints, prefix: Ints, last: Ints) -> Counts:
    width = max(len(last), 1)
    keys, count = np.unique(owner * width + grams, return_counts=True)
    return Counts(keys // width, keys % width, count.astype(np.float64), prefix, last)


def by_text(text: Ints, values: Floats, count: int) -> Floats:
    """Sum ``values`` by text: ``[count]``."""
    return np.bincount(text, weights=values, minlength=count).astype(np.float64, copy=False)


@dataclass(frozen=True)
class Pairs:
    """N-grams of one order that a reference shares with its study's draft.

    Attributes:
        draft: ``[shared]`` row in the drafts' counts.
        reference: ``[shared]`` row in the references' counts.
    """

    draft: Ints
    reference: Ints


def shared_ngrams(drafts: Counts, references: Counts, study: Ints) -> Pairs:
    """Find the n-grams that references share with the draft of their study.

    Args:
        drafts: A text a study.
        references: Any number of texts a study.
        study: ``[references]`` each reference's study, ascending.
    """
    width = max(drafts.width, 1)
    have = drafts.text * width + drafts.ngram
    want = study[references.text] * width + references.ngram
    if not len(have):
        return Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64))
    place = np.minimum(np.searchsorted(have, want), len(have) - 1)
    hit = np.flatnonzero(have[place] == want)
    return Pairs(place[hit], hit)
