"""BLEU-1…4, ROUGE-L and CIDEr-D of drafted against reference reports, one reference a draft.

Equal to pycocoevalcap's scorers on the same tokens, including its small constants. Sentences are turned into tables
of numbers once (:func:`text_statistics`), from which scores of the whole, of one study or of many resamples come by
sums.

Sources: Papineni et al., ACL 2002 (BLEU); Lin, WAS 2004 (ROUGE-L, here with beta 1.2); Vedantam et al., CVPR 2015
(CIDEr-D, sigma 6).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medmm.errors import UsageError
from medmm.metrics.tokenizers import tokenizer_named

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

ORDERS = 4
"""Longest n-gram, in words."""
NAMES = ("bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "cider_d")

_BLEU_SMALL, _BLEU_TINY = 1e-9, 1e-15  # pycocoevalcap's guards against division by zero
_ROUGE_BETA = 1.2
_CIDER_SIGMA = 6.0


@dataclass(frozen=True)
class TextStatistics:
    """What text scores of ``n`` studies are made of.

    Attributes:
        matches: ``[n, 4]`` n-grams of the draft that the reference has, each counted at most as often as there, by
            order 1 to 4.
        guesses: ``[n, 4]`` n-grams of the draft.
        lengths: ``[n, 2]`` words of draft and reference.
        rouge_l: ``[n]`` F of the longest common subsequence, in [0, 1].
        cider_d: ``[n]`` CIDEr-D in [0, 10], with document frequencies of all ``n`` references.
    """

    matches: Floats
    guesses: Floats
    lengths: Floats
    rouge_l: Floats
    cider_d: Floats

    def scores(self, weights: npt.ArrayLike | None = None) -> dict[str, Floats]:
        """Score the studies together.

        Args:
            weights: ``[n]`` or ``[resamples, n]``: how often each study counts; None counts each once. CIDEr-D keeps
                the document frequencies of all studies.

        Returns:
            The names of ``NAMES``, each ``[]`` or ``[resamples]``.
        """
        count = len(self.rouge_l)
        shares = np.ones(count) if weights is None else np.asarray(weights, np.float64)
        total = np.maximum(shares.sum(-1), _BLEU_TINY)
        bleu = _bleu(shares @ self.matches, shares @ self.guesses, shares @ self.lengths)
        scores = {f"bleu_{order + 1}": bleu[..., order] for order in range(ORDERS)}
        return {**scores, "rouge_l": shares @ self.rouge_l / total, "cider_d": shares @ self.cider_d / total}

    def each(self) -> dict[str, Floats]:
        """Score each study by itself: the names of ``NAMES``, each ``[n]``."""
        bleu = _bleu(self.matches, self.guesses, self.lengths)
        scores = {f"bleu_{order + 1}": bleu[..., order] for order in range(ORDERS)}
        return {**scores, "rouge_l": self.rouge_l, "cider_d": self.cider_d}


def text_statistics(references: Sequence[Sequence[str]], drafts: Sequence[Sequence[str]]) -> TextStatistics:
    """Count what the scores need.

    Args:
        references: Words of each study's report.
        drafts: Words of each study's draft, in the same order.

    Raises:
        UsageError: The two differ in number, or are empty.
    """
    if len(references) != len(drafts) or not references:
        raise UsageError(
            "text scores need a draft for each reference",
            got=f"{len(drafts)} drafts",
            expected=len(references) or "some",
        )
    count = len(references)
    tables = _ngram_tables(references, drafts)
    matches = np.stack(
        [_by_study(table.study, np.minimum(table.draft, table.reference), count) for table in tables], axis=1
    )
    draft_lengths = np.array([len(draft) for draft in drafts], np.float64)
    lengths = np.stack([draft_lengths, [float(len(reference)) for reference in references]], axis=1)
    guesses = np.maximum(draft_lengths[:, None] - np.arange(ORDERS), 0.0)
    rouge = np.array([rouge_l(reference, draft) for reference, draft in zip(references, drafts, strict=True)])
    return TextStatistics(matches, guesses, lengths, rouge, _cider_d(tables, count))


def score_texts(references: Sequence[str], drafts: Sequence[str], tokenizer: str = "ptb") -> dict[str, float]:
    """Score drafted texts against reference texts.

    Args:
        references: Each study's report.
        drafts: Each study's draft, in the same order.
        tokenizer: Name of one of ``tokenizers.TOKENIZERS``.

    Returns:
        ``bleu_1`` to ``bleu_4``, ``rouge_l`` (each in [0, 1]) and ``cider_d`` (in [0, 10]).

    Raises:
        UsageError: The two differ in number or are empty, or there is no tokenizer of that name.
    """
    tokens: Callable[[str], list[str]] = tokenizer_named(tokenizer)
    statistics = text_statistics([tokens(text) for text in references], [tokens(text) for text in drafts])
    return {name: float(score) for name, score in statistics.scores().items()}


def rouge_l(reference: Sequence[str], draft: Sequence[str]) -> float:
    """ROUGE-L of one draft, in [0, 1]; an empty text counts as one empty word, as in pycocoevalcap."""
    reference, draft = list(reference) or [""], list(draft) or [""]
    common = _longest_common(reference, draft)
    if not common:
        return 0.0
    precision, recall = common / len(draft), common / len(reference)
    return (1 + _ROUGE_BETA**2) * precision * recall / (recall + _ROUGE_BETA**2 * precision)


def _longest_common(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest common subsequence, a bit a word of ``first`` (Hyyrö, AWOCA 2004)."""
    places: dict[str, int] = {}
    for place, word in enumerate(first):
        places[word] = places.get(word, 0) | 1 << place
    everything = (1 << len(first)) - 1
    row = everything
    for word in second:
        matched = row & places.get(word, 0)
        row = (row + matched | row - matched) & everything
    return len(first) - row.bit_count()


@dataclass(frozen=True)
class _NgramTable:
    """Distinct n-grams of one order, a row a study and n-gram: which, and how often each side has it."""

    study: Ints
    ngram: Ints
    draft: Floats
    reference: Floats


def _ngram_tables(references: Sequence[Sequence[str]], drafts: Sequence[Sequence[str]]) -> list[_NgramTable]:
    count = len(references)
    ids: dict[str, int] = {}
    texts = [*references, *drafts]
    words = np.array([ids.setdefault(word, len(ids)) for text in texts for word in text], np.int64)
    owner = np.repeat(np.arange(2 * count), [len(text) for text in texts])
    tables = []
    grams = words
    for order in range(1, ORDERS + 1):
        if order > 1:  # an n-gram is the (n-1)-gram before it and its own last word
            inside = owner[: len(grams) - 1] == owner[order - 1 : len(owner)] if len(grams) else np.zeros(0, bool)
            pairs = grams[:-1] * max(len(ids), 1) + words[order - 1 :] if len(grams) else grams
            grams = np.unique(pairs, return_inverse=True)[1].reshape(-1).astype(np.int64)
        else:
            inside = np.ones(len(grams), bool)
        tables.append(_table(grams[inside], owner[: len(grams)][inside], count))
    return tables


def _table(grams: Ints, owner: Ints, count: int) -> _NgramTable:
    width = int(grams.max()) + 1 if len(grams) else 1
    keys, place = np.unique((owner % count) * width + grams, return_inverse=True)
    place = place.reshape(-1)
    is_draft = owner >= count
    draft = np.bincount(place[is_draft], minlength=len(keys)).astype(np.float64)
    reference = np.bincount(place[~is_draft], minlength=len(keys)).astype(np.float64)
    return _NgramTable(keys // width, keys % width, draft, reference)


def _by_study(study: Ints, values: Floats, count: int) -> Floats:
    return np.bincount(study, weights=values, minlength=count).astype(np.float64, copy=False)


def _bleu(matches: Floats, guesses: Floats, lengths: Floats) -> Floats:
    """BLEU-1…4 from sums over a corpus (or from one study): ``[..., 4]``."""
    precision = np.cumprod((matches + _BLEU_TINY) / (guesses + _BLEU_SMALL), axis=-1)
    bleu = precision ** (1.0 / np.arange(1, ORDERS + 1))
    ratio = (lengths[..., 0] + _BLEU_TINY) / (lengths[..., 1] + _BLEU_SMALL)
    with np.errstate(over="ignore"):
        brevity = np.where(ratio < 1, np.exp(1 - 1 / ratio), 1.0)
    return bleu * brevity[..., None]


def _cider_d(tables: Sequence[_NgramTable], count: int) -> Floats:
    """CIDEr-D of each study; like pycocoevalcap, the length in its Gaussian penalty counts bigrams."""
    bigrams = tables[1]
    gap = _by_study(bigrams.study, bigrams.draft - bigrams.reference, count)
    penalty = np.exp(-(gap**2) / (2 * _CIDER_SIGMA**2))
    similarity = np.zeros(count)
    for table in tables:
        frequency = np.bincount(table.ngram[table.reference > 0], minlength=int(table.ngram.max(initial=0)) + 1)
        rarity = np.log(float(count)) - np.log(np.maximum(1.0, frequency))[table.ngram]
        draft, reference = table.draft * rarity, table.reference * rarity
        product = _by_study(table.study, np.minimum(draft, reference) * reference, count)
        norms = np.sqrt(_by_study(table.study, draft**2, count)) * np.sqrt(_by_study(table.study, reference**2, count))
        similarity += np.divide(product, norms, out=np.zeros(count), where=norms != 0) * penalty
    return 10.0 * similarity / ORDERS
