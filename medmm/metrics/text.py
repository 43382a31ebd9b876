"""BLEU-1…4, ROUGE-L and CIDEr-D of drafted against reference reports, one reference a draft or several.

Equal to pycocoevalcap's scorers on the same tokens, including its small constants. Sentences are turned into tables
of numbers once (:func:`text_statistics`), from which scores of the whole, of one study or of many resamples come by
sums.

What is not obvious has a defined value, never NaN: an empty draft, or an empty reference, has 0 everywhere (ROUGE-L of
two empty texts is 1, as in pycocoevalcap); CIDEr-D of one study alone is 0, since nothing is rare among one report.
A text without spaces is one word to most tokenizers; ``characters`` cuts Chinese.

Sources: Papineni et al., ACL 2002 (BLEU); :mod:`medmm.metrics.rouge`; :mod:`medmm.metrics.cider`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medmm.errors import UsageError
from medmm.metrics.cider import DocumentFrequencies, cider_d, rarities
from medmm.metrics.ngrams import (
    ORDERS,
    Counts,
    Floats,
    Ints,
    Pairs,
    Words,
    by_text,
    ngram_counts,
    numbered,
    shared_ngrams,
)
from medmm.metrics.rouge import rouge_l, rouge_l_of_several
from medmm.metrics.tokenizers import tokenizer_named

__all__ = ["NAMES", "TextStatistics", "rouge_l", "score_texts", "text_statistics"]

NAMES = ("bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "cider_d")

_BLEU_SMALL, _BLEU_TINY = 1e-9, 1e-15  # pycocoevalcap's guards against division by zero


@dataclass(frozen=True)
class TextStatistics:
    """What text scores of ``n`` studies are made of.

    Attributes:
        matches: ``[n, 4]`` n-grams of the draft that a reference has, each counted at most as often as in the
            reference that has it most, by order 1 to 4.
        guesses: ``[n, 4]`` n-grams of the draft.
        lengths: ``[n, 2]`` words of the draft, and of the reference whose length is closest to it.
        rouge_l: ``[n]`` F of the longest common subsequence, in [0, 1].
        cider_d: ``[n]`` CIDEr-D in [0, 10].
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


def text_statistics(
    references: Sequence[Words] | Sequence[Sequence[Words]],
    drafts: Sequence[Words],
    frequencies: DocumentFrequencies | None = None,
) -> TextStatistics:
    """Count what the scores need.

    Args:
        references: Words of each study's report; or, for every study, a list of several reports' words.
        drafts: Words of each study's draft, in the same order.
        frequencies: Document frequencies for CIDEr-D, such as those of the training reports
            (:func:`medmm.metrics.cider.document_frequencies`); None counts them in ``references``, as published
            scores do, so that CIDEr-D depends on the split's size.

    Raises:
        UsageError: The two differ in number, are empty, or a study's list of references is empty while others are
            lists.
    """
    grouped = as_lists(references, len(drafts))
    count = len(drafts)
    study = np.repeat(np.arange(count), [len(group) for group in grouped])
    ids, words, lengths = numbered([*drafts, *(reference for group in grouped for reference in group)])
    tables = ngram_counts(words, lengths, len(ids))
    drafted = [table.part(0, count) for table in tables]
    there = [table.part(count, len(lengths)) for table in tables]
    shared = [shared_ngrams(one, other, study) for one, other in zip(drafted, there, strict=True)]
    matches = [_matches(*tables, count) for tables in zip(drafted, there, shared, strict=True)]
    guesses = np.maximum(lengths[:count, None] - np.arange(ORDERS), 0).astype(np.float64)
    closest = _closest(lengths[:count], lengths[count:], study)
    rouge = [rouge_l_of_several(group, draft) for group, draft in zip(grouped, drafts, strict=True)]
    return TextStatistics(
        np.stack(matches, axis=1),
        guesses,
        np.stack([lengths[:count], closest], axis=1).astype(np.float64),
        np.array(rouge, np.float64),
        cider_d(drafted, there, shared, study, rarities(there, study, ids, frequencies)),
    )


def score_texts(
    references: Sequence[str] | Sequence[Sequence[str]],
    drafts: Sequence[str],
    tokenizer: str = "ptb",
    frequencies: DocumentFrequencies | None = None,
) -> dict[str, float]:
    """Score drafted texts against reference texts.

    Args:
        references: Each study's report, or for every study a list of several.
        drafts: Each study's draft, in the same order.
        tokenizer: Name of one of ``tokenizers.TOKENIZERS``.
        frequencies: See :func:`text_statistics`; counted on the words of the same tokenizer.

    Returns:
        ``bleu_1`` to ``bleu_4``, ``rouge_l`` (each in [0, 1]) and ``cider_d`` (in [0, 10]).

    Raises:
        UsageError: The two differ in number or are empty, or there is no tokenizer of that name.
    """
    tokens: Callable[[str], list[str]] = tokenizer_named(tokenizer)
    grouped = [[tokens(text) for text in ([group] if isinstance(group, str) else group)] for group in references]
    statistics = text_statistics(grouped, [tokens(text) for text in drafts], frequencies)
    return {name: float(score) for name, score in statistics.scores().items()}


def as_lists(references: Sequence[Words] | Sequence[Sequence[Words]], drafts: int) -> list[Sequence[Words]]:
    """Give every study a list of references, whether it came with one or with several.

    Raises:
        UsageError: There are not as many studies as drafts, there is none, or some studies have a list and one has
            no reference at all.
    """
    if len(references) != drafts or not drafts:
        raise UsageError(
            "text scores need a draft for each reference",
            got=f"{drafts} drafts",
            expected=len(references) or "some",
        )
    if not any(group and not isinstance(group[0], str) for group in references):
        return [[group] for group in references]  # type: ignore[list-item]
    empty = sum(not group for group in references)
    if empty:
        raise UsageError("studies without any reference", got=f"{empty} of {drafts}", fix="Leave them out.")
    return list(references)  # type: ignore[arg-type]


def _matches(drafts: Counts, references: Counts, shared: Pairs, count: int) -> Floats:
    best = np.zeros(len(drafts.count))
    np.maximum.at(best, shared.draft, references.count[shared.reference])
    return by_text(drafts.text, np.minimum(drafts.count, best), count)


def _closest(drafts: Ints, references: Ints, study: Ints) -> Ints:
    """Length of each study's reference that is closest to its draft's length, the shorter of two as close."""
    order = np.lexsort((references, np.abs(references - drafts[study]), study))
    return references[order][np.searchsorted(study, np.arange(len(drafts)))]


def _bleu(matches: Floats, guesses: Floats, lengths: Floats) -> Floats:
    """BLEU-1…4 from sums over a corpus (or from one study): ``[..., 4]``."""
    precision = np.cumprod((matches + _BLEU_TINY) / (guesses + _BLEU_SMALL), axis=-1)
    bleu = precision ** (1.0 / np.arange(1, ORDERS + 1))
    ratio = (lengths[..., 0] + _BLEU_TINY) / (lengths[..., 1] + _BLEU_SMALL)
    with np.errstate(over="ignore"):
        brevity = np.where(ratio < 1, np.exp(1 - 1 / ratio), 1.0)
    return bleu * brevity[..., None]
