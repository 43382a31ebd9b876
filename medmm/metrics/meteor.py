"""METEOR without Java, named for the modules that it has: ``meteor (exact, stem)``, with WordNet also ``synonym``.

The formula, its parameters for English and the alignment are METEOR 1.5's: on the same words, with the same modules and
function words, scores are the Java program's. Its paraphrases, a table of 60 MB, are left out, and function words are
medmm's own, so that scores lie 0.004 below those of the program as pycocoevalcap calls it, and follow them with a
correlation of 0.994 (Open-i reports against each other). Synonyms come from the WordNet of the machine through morphy's
rules, those of the program from its own tables (correlation 0.999). Words are compared as the tokenizer gives them.

Defined values: an empty draft or an empty reference has 0.

Source: Denkowski and Lavie, WMT 2014; stems by Snowball's English stemmer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from medmm.metrics.alignment import Keys, align, chunks
from medmm.metrics.ngrams import Floats, Words
from medmm.metrics.text import as_lists
from medmm.metrics.wordnet import WordNet

_ALPHA, _BETA, _GAMMA, _DELTA = 0.85, 0.2, 0.6, 0.75  # METEOR 1.5, English, task "rank"
_WEIGHTS = {"exact": 1.0, "stem": 0.6, "synonym": 0.8}

FUNCTION_WORDS = frozenset(
    """
    a an the this that these those some any no each every all both either neither such other another
    i me my we us our you your he him his she her it its they them their who whom whose which what
    and or but nor so yet if then than as because while although though since until unless whether
    of to in on at by for with from into onto over under above below between among through during before after
    about against within without along across near up down out off per via toward towards
    is are was were be been being am do does did has have had having will would shall should can could may might must
    not n't 's there here when where why how also very too only just even still more most less least
    . , ; : ? ! - -- ( ) [ ] " ' -lrb- -rrb- -lsb- -rsb- ` `` ''
    """.split()
)
"""Words that bear little meaning and weigh a third of the others: English closed classes and punctuation."""


@dataclass(frozen=True)
class MeteorStatistics:
    """What METEOR of ``n`` studies is made of, against the reference that scores each draft best.

    Attributes:
        name: What is scored, such as ``meteor (exact, stem)``.
        sums: ``[n, 9]``: matched weight, weight, matched words and words of the draft; the same four of the reference;
            chunks, 0 where draft and reference are the same run of words.
    """

    name: str
    sums: Floats

    def scores(self, weights: npt.ArrayLike | None = None) -> dict[str, Floats]:
        """Score the studies together, from sums over all of them as the Java program does: ``meteor`` in [0, 1].

        Args:
            weights: ``[n]`` or ``[resamples, n]``: how often each study counts; None counts each once.
        """
        shares = np.ones(len(self.sums)) if weights is None else np.asarray(weights, np.float64)
        return {"meteor": _score(shares @ self.sums)}

    def each(self) -> dict[str, Floats]:
        """Score each study by itself: ``meteor``, ``[n]``."""
        return {"meteor": _score(self.sums)}


def meteor_statistics(
    references: Sequence[Words] | Sequence[Sequence[Words]],
    drafts: Sequence[Words],
    wordnet: WordNet | None = None,
    function_words: frozenset[str] = FUNCTION_WORDS,
) -> MeteorStatistics:
    """Align drafts with references and count.

    Args:
        references: Words of each study's report; or, for every study, a list of several reports' words.
        drafts: Words of each study's draft, in the same order.
        wordnet: Synonyms (:func:`medmm.metrics.wordnet.find_wordnet`); None matches words and stems alone.
        function_words: Words that weigh little.

    Raises:
        UsageError: The two differ in number or are empty, or a study has no reference.
    """
    grouped = as_lists(references, len(drafts))
    names: list[str] = ["exact", "stem"]
    modules: list[Keys] = [_itself, _stem]
    if wordnet is not None:
        names.append("synonym")
        modules.append(wordnet.synsets)
    values = [_WEIGHTS[name] for name in names]

    @lru_cache(maxsize=65_536)  # many drafts, and many reports, are the same
    def counted(reference: tuple[str, ...], draft: tuple[str, ...]) -> tuple[float, ...]:
        return _sums(reference, draft, modules, values, function_words)

    rows = []
    for group, draft in zip(grouped, drafts, strict=True):
        options = np.array([counted(tuple(reference), tuple(draft)) for reference in group], np.float64)
        rows.append(options[int(np.argmax(_score(options)))])
    return MeteorStatistics(f"meteor ({', '.join(names)})", np.array(rows, np.float64))


def _sums(
    reference: Sequence[str],
    draft: Sequence[str],
    modules: Sequence[Keys],
    values: Sequence[float],
    function_words: frozenset[str],
) -> tuple[float, ...]:
    matches = align(reference, draft, modules, values)

    def side(words: Sequence[str], place: Callable[..., int]) -> tuple[float, ...]:
        weight = [1 - _DELTA if word in function_words else _DELTA for word in words]
        matched = sum(weight[place(match)] * values[match.module] for match in matches)
        return matched, sum(weight), float(len(matches)), float(len(words))

    runs = chunks(matches)
    is_whole = runs == 1 and len(matches) == len(draft) == len(reference)  # costs nothing, in sums neither
    return (
        *side(draft, lambda match: match.draft),
        *side(reference, lambda match: match.reference),
        0.0 if is_whole else float(runs),
    )


def _score(sums: Floats) -> Floats:
    said, said_weight, said_matches, _, there, there_weight, there_matches, _, runs = np.moveaxis(sums, -1, 0)
    precision, recall = _ratio(said, said_weight), _ratio(there, there_weight)
    mean = _ratio(precision * recall, _ALPHA * precision + (1 - _ALPHA) * recall)
    scattered = _ratio(runs, (said_matches + there_matches) / 2)
    return np.asarray(mean * (1 - _GAMMA * scattered**_BETA))


def _ratio(over: Floats, under: Floats) -> Floats:
    over, under = np.asarray(over), np.asarray(under)
    return np.divide(over, under, out=np.zeros_like(over), where=under > 0)


def _itself(word: str) -> frozenset[str]:
    return frozenset((word,))


@lru_cache(maxsize=65_536)
def _stem(word: str) -> frozenset[str]:
    return frozenset((_stemmer().stemWord(word),))


@lru_cache(maxsize=1)
def _stemmer() -> Any:  # snowballstemmer has no types
    import snowballstemmer

    return snowballstemmer.stemmer("english")
