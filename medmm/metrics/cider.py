"""CIDEr-D: cosine similarity of n-grams weighted by how rare they are among the reports.

Source: Vedantam, Zitnick and Parikh, CVPR 2015, with sigma 6; equal to pycocoevalcap's scorer, which counts bigrams
where the Gaussian penalty asks for the length.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from medmm.errors import UsageError
from medmm.metrics.ngrams import Counts, Floats, Ints, Pairs, Words, by_text, ngram_counts, numbered

CIDER_D = "medmm.metrics.cider, sigma 6"
"""Its name beside the numbers."""
_SIGMA = 6.0
_TOP = 10.0


@dataclass(frozen=True)
class DocumentFrequencies:
    """In how many documents of a corpus each n-gram stands.

    Attributes:
        documents: Number of documents.
        words: Word to its number.
        keys: For each order, ``[n-grams]`` ascending ``prefix · len(words) + last word``; ``prefix`` is the place of
            the (n-1)-gram in the order before, 0 for single words.
        counts: For each order, ``[n-grams]`` documents that have it.
    """

    documents: int
    words: dict[str, int]
    keys: tuple[Ints, ...]
    counts: tuple[Floats, ...]

    def of(self, order: int, prefix: Ints, last: Ints) -> tuple[Ints, Floats]:
        """Look n-grams up.

        Args:
            order: 1 to ``ORDERS``.
            prefix: ``[n-grams]`` place of the (n-1)-gram, -1 where the corpus does not have it.
            last: ``[n-grams]`` number of the last word, -1 where the corpus does not have it.

        Returns:
            Each n-gram's place in this order (-1 where the corpus does not have it), and its number of documents.
        """
        keys, counts = self.keys[order - 1], self.counts[order - 1]
        if not len(keys):
            return np.full(len(last), -1), np.zeros(len(last))
        wanted = np.where((prefix < 0) | (last < 0), -1, prefix * len(self.words) + last)
        place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        known = keys[place] == wanted
        return np.where(known, place, -1), np.where(known, counts[place], 0.0)


def document_frequencies(documents: Iterable[Words]) -> DocumentFrequencies:
    """Count n-grams in a corpus, such as the training reports.

    Args:
        documents: Words of each document; one report is one document.

    Raises:
        UsageError: There is no document.
    """
    ids, words, lengths = numbered(documents)
    if not len(lengths):
        raise UsageError("document frequencies need at least one document", where="CIDEr-D", got="none")
    tables = ngram_counts(words, lengths, len(ids))
    keys = tuple(table.prefix * len(ids) + table.last for table in tables)
    counts = tuple(np.bincount(table.ngram, minlength=table.width).astype(np.float64) for table in tables)
    return DocumentFrequencies(len(lengths), ids, keys, counts)


def rarities(
    references: Sequence[Counts], study: Ints, ids: dict[str, int], corpus: DocumentFrequencies | None
) -> list[Floats]:
    """Inverse document frequencies ``log(documents / max(1, documents with the n-gram))``, 1 to ``ORDERS``.

    Args:
        references: Counts of all references, by order.
        study: ``[references]`` each reference's study.
        ids: Word to its number in ``references``.
        corpus: Where frequencies come from; None counts the studies whose references have the n-gram.

    Returns:
        For each order ``[n-grams]``, at least 0.
    """
    if corpus is None:
        documents = float(len(np.unique(study)))
        found = [_studies_with(table, study) for table in references]
    else:
        documents = float(corpus.documents)
        known = np.array([corpus.words.get(word, -1) for word in ids], np.int64)
        found, place = [], np.zeros(1, np.int64)
        for order, table in enumerate(references, 1):
            place, frequency = corpus.of(order, place[table.prefix], known[table.last])
            found.append(frequency)
    return [np.log(documents) - np.log(np.maximum(1.0, frequency)) for frequency in found]


def _studies_with(table: Counts, study: Ints) -> Floats:
    owner = study[table.text]
    if len(study) > len(np.unique(study)):  # several references of a study are one document
        width = max(table.width, 1)
        return np.bincount(np.unique(owner * width + table.ngram) % width, minlength=table.width).astype(np.float64)
    return np.bincount(table.ngram, minlength=table.width).astype(np.float64)


def cider_d(
    drafts: Sequence[Counts],
    references: Sequence[Counts],
    shared: Sequence[Pairs],
    study: Ints,
    rarity: Sequence[Floats],
) -> Floats:
    """CIDEr-D of each study in [0, 10], the mean over its references.

    Args:
        drafts: Counts by order, a text a study.
        references: Counts by order, all studies' references.
        shared: By order, what each reference shares with its draft.
        study: ``[references]`` each reference's study.
        rarity: By order, ``[n-grams]`` inverse document frequencies.
    """
    texts, studies = len(study), int(study.max()) + 1
    bigrams = by_text(drafts[1].text, drafts[1].count, studies)[study]
    gap = bigrams - by_text(references[1].text, references[1].count, texts)
    penalty = np.exp(-(gap**2) / (2 * _SIGMA**2))
    similarity = np.zeros(texts)
    for draft, reference, pairs, idf in zip(drafts, references, shared, rarity, strict=True):
        said, there = draft.count * idf[draft.ngram], reference.count * idf[reference.ngram]
        common = there[pairs.reference]
        product = by_text(reference.text[pairs.reference], np.minimum(said[pairs.draft], common) * common, texts)
        norms = np.sqrt(by_text(draft.text, said**2, studies))[study] * np.sqrt(
            by_text(reference.text, there**2, texts)
        )
        similarity += np.divide(product, norms, out=np.zeros(texts), where=norms != 0) * penalty
    return _TOP / len(drafts) * by_text(study, similarity, studies) / np.bincount(study, minlength=studies)
