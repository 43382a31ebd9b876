"""ROUGE-L: how much of a reference a draft holds in the same order.

Source: Lin, Text Summarization Branches Out 2004, section 3; with beta 1.2 as in pycocoevalcap.
"""

from __future__ import annotations

from collections.abc import Sequence

_BETA = 1.2


def rouge_l(reference: Sequence[str], draft: Sequence[str]) -> float:
    """ROUGE-L of one draft, in [0, 1]; an empty text counts as one empty word, as in pycocoevalcap."""
    return rouge_l_of_several([reference], draft)


def rouge_l_of_several(references: Sequence[Sequence[str]], draft: Sequence[str]) -> float:
    """ROUGE-L of one draft, in [0, 1], with the best precision and the best recall over its references."""
    draft = list(draft) or [""]
    precision = recall = 0.0
    for reference in references:
        common = _longest_common(list(reference) or [""], draft)
        precision, recall = max(precision, common / len(draft)), max(recall, common / (len(reference) or 1))
    if not precision or not recall:
        return 0.0
    return (1 + _BETA**2) * precision * recall / (recall + _BETA**2 * precision)


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
