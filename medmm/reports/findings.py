"""A rule-based labeler of radiology reports that needs nothing but its vocabulary.

Only findings and impression are read, or what stands under no heading where a report has neither: an indication's
question is no finding.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

from medmm.reports.merging import (
    NO_FINDING,  # noqa: F401  whoever reads findings takes it from here
    merged,
    moved,
    with_no_finding,
)
from medmm.reports.modifiers import Size, change_of, find_sizes, modifiers_of
from medmm.reports.negation import find_cues, side_left, status_of
from medmm.reports.parse import parse_report
from medmm.reports.vocabulary import Match, Vocabulary, core_findings, load_vocabulary
from medmm.reports.vocabulary_file import vocabulary_text
from medmm.types import Change, Finding, Laterality, Report, Span, Status, TextPart

LABELER_VERSION = "3"
"""Raised whenever the same text and vocabulary may give another label."""

FINDINGS: tuple[str, ...] = tuple(load_vocabulary().findings)
"""Names of all findings that the packaged vocabulary knows."""

CORE_FINDINGS = core_findings()
"""Those that models are trained on by default: a wider vocabulary must not change what a model learns."""

_WORD = re.compile(
    r"w/o\b|s/p\b|r/o\b|[a-z]+(?:'[a-z]+)?|\d+(?:\.\d+)?|[,;:/&=]|\(-\)|\?(?=\s{0,3}[a-z])|(?<=\s)[-–—](?=\s)"
)
_SAID_AS = {
    "/": "or", "&": "and", "w/o": "without", "(-)": "no", "?": "questionable", "=": ":", "-": ":", "–": ":", "—": ":",
}  # fmt: skip
_READ = frozenset(("findings", "impression"))
_CACHED_SENTENCES = 32_768
_LONGEST_SENTENCE = 1_000


class RuleLabeler:
    """Reads findings by the phrases and cues of a vocabulary.

    Args:
        vocabulary: A user's file that is merged over the packaged vocabulary; None for the packaged one alone.

    Raises:
        ConfigError: The file cannot be read, or has problems; all are listed, each with its line.
    """

    name = "rules"

    def __init__(self, vocabulary: Path | None = None) -> None:
        self._vocabulary = load_vocabulary(vocabulary)
        self._read = lru_cache(maxsize=_CACHED_SENTENCES)(partial(_read_sentence, self._vocabulary))

    @property
    def version(self) -> str:
        """The rules' version and the vocabulary's digest: equal versions give equal labels."""
        return f"{LABELER_VERSION}+{self._vocabulary.digest}"

    @property
    def own_vocabulary(self) -> str | None:
        """The user's part of the vocabulary as a file that gives the same labels, None where there is none."""
        own = self._vocabulary.own
        return None if own is None else vocabulary_text(own)

    @property
    def findings(self) -> tuple[str, ...]:
        """Names of all findings that it can label."""
        return tuple(self._vocabulary.findings)

    def label(self, report: Report | str) -> dict[str, Finding]:
        """Label the findings that a report mentions; see :func:`label_report`."""
        if isinstance(report, str):
            if not report or report.isspace():
                return {}
            report = parse_report(report)
        labels: dict[str, Finding] = {}
        is_normal: Span | None = None
        for sentence in _pieces(sentences_read(report)):
            said, normal = self._read(sentence.text)
            for name, finding in said:
                labels[name] = merged(labels.get(name), moved(finding, sentence.start))
            if normal is not None and is_normal is None:
                is_normal = Span(normal.start + sentence.start, normal.end + sentence.start)
        return with_no_finding(labels, is_normal, self._vocabulary)

    def label_all(self, reports: Sequence[Report | str]) -> list[dict[str, Finding]]:
        """Label many reports, in their order."""
        return [self.label(report) for report in reports]


@lru_cache(maxsize=8)
def rule_labeler(vocabulary: Path | None = None) -> RuleLabeler:
    """The labeler of a vocabulary; the same one at every call."""
    return RuleLabeler(vocabulary)


def labeler_version(vocabulary: Path | None = None) -> str:
    """What labels depend on besides the text: the rules' version and the digest of the vocabulary in use."""
    return rule_labeler(vocabulary).version


def label_report(report: Report | str) -> dict[str, Finding]:
    """Label the findings that a report mentions, by the packaged vocabulary.

    Where mentions disagree, present holds over uncertain over absent, and the mention that says most gives side, zone,
    grade, size and span. ``no_finding`` is present when something is said to be normal or absent and nothing but
    devices is present or uncertain.

    Args:
        report: A report, or its text; an empty text mentions nothing.

    Returns:
        Finding name to what is said; a finding that is not mentioned has no entry. Spans refer to ``report.raw``.
    """
    return rule_labeler().label(report)


def sentences_read(report: Report) -> Iterable[TextPart]:
    """The sentences that may state findings.

    Those of findings and impression; of a report without findings also what stands under no heading before the
    impression, but behind an indication; else what stands outside any known section, else an addendum.
    """
    said = report.sentences
    read = [sentence for sentence in said if sentence.section in _READ]
    if read and all(sentence.section == "impression" for sentence in read):
        return [*_without_heading(said), *read]
    for section in (None, "addendum"):
        read = read or [sentence for sentence in said if sentence.section == section]
    return read


def _without_heading(sentences: Sequence[TextPart]) -> Iterator[TextPart]:
    """Sentences under no heading before the impression, save those that may go on with an indication."""
    last = None
    for sentence in sentences:
        if sentence.section == "impression":
            return
        if sentence.section is None and last != "indication":
            yield sentence
        last = sentence.section or last


def _pieces(sentences: Iterable[TextPart]) -> Iterator[TextPart]:
    """Cut what no full stop ends into pieces, at a comma or else a space: work grows with a sentence's square."""
    for sentence in sentences:
        text, start = sentence.text, 0
        while len(text) - start > _LONGEST_SENTENCE:
            last = start + _LONGEST_SENTENCE
            end = max(text.rfind(mark, start + 1, last) for mark in ",;\n")
            end = end if end > 0 else text.rfind(" ", start + 1, last)
            end = end if end > 0 else last
            yield TextPart(text[start:end], sentence.start + start, sentence.start + end, sentence.section)
            start = end
        yield sentence if not start else TextPart(text[start:], sentence.start + start, sentence.end, sentence.section)


@dataclass(frozen=True, slots=True)
class _Sentence:
    """A sentence as the labeler sees it.

    Attributes:
        words: Normalised words.
        places: Each word's characters ``[start, end)``.
        matches: Every phrase found.
        mentions: Those that name a finding.
        sizes: Lengths found.
    """

    words: list[str]
    places: list[tuple[int, int]]
    matches: list[Match]
    mentions: list[Match]
    sizes: list[Size]

    def span(self, match: Match) -> Span:
        return Span(self.places[match.start][0], self.places[match.end - 1][1])


def _read_sentence(vocabulary: Vocabulary, text: str) -> tuple[tuple[tuple[str, Finding], ...], Span | None]:
    """Label one sentence; spans count from its start. Reports repeat their sentences, hence a cache around it."""
    found = list(_WORD.finditer(_lowered(text)))
    words = [vocabulary.normalise(_SAID_AS.get(match[0], match[0])) for match in found]
    matches = vocabulary.match(words)
    if not matches:
        return (), None
    places = [match.span() for match in found]
    sentence = _Sentence(words, places, matches, _mentions(matches, vocabulary), find_sizes(text))
    said: list[tuple[str, Finding]] = []
    normal: Span | None = None
    for match in matches:
        if match.entry[0] == "normal":
            span = sentence.span(match)
            normal = normal or span
            said.extend((name, Finding(Status.ABSENT, span=span)) for name in vocabulary.normal[match.entry[1]])
    if sentence.mentions:
        cues = find_cues(words, matches)
        is_question = text.rstrip().endswith("?")
        core = [match for match in sentence.mentions if vocabulary.findings[match.entry[1]].core]
        beside_core = replace(sentence, mentions=core)
        for mention in sentence.mentions:
            status = status_of(mention, words, cues)
            if status is Status.UNMENTIONED:
                continue
            if is_question and status is Status.PRESENT:
                status = Status.UNCERTAIN
            side = None
            if status is Status.ABSENT and cues.persists:
                side = side_left(mention, sentence.mentions, words, cues)
                status = Status.PRESENT if side else status
            known = vocabulary.findings[mention.entry[1]]
            finding = _state(beside_core if known.core else sentence, mention, status, known.sized)
            if side:
                finding = replace(finding, laterality=Laterality(side))
            said.extend((name, finding) for name in (mention.entry[1], *known.implies))
    return tuple(said), normal


def _lowered(text: str) -> str:
    """Lower case of the same length, so that offsets hold (``İ`` in lower case is two characters)."""
    lowered = text.lower()
    if len(lowered) == len(text):
        return lowered
    return "".join(one.lower() if len(one.lower()) == 1 else one for one in text)


def _mentions(matches: list[Match], vocabulary: Vocabulary) -> list[Match]:
    """Findings named, without those that are part of a longer phrase, be it another finding or something to ignore.

    A finding outside the core hides none of the core.
    """
    named = [match for match in matches if match.entry[0] in {"finding", "ignored"}]
    if not named:
        return named
    known = vocabulary.findings
    core = [match for match in named if match.entry[0] == "ignored" or known[match.entry[1]].core]
    return [
        match
        for match in named
        if match.entry[0] == "finding"
        and not any(
            other.words & match.words == match.words != other.words
            for other in (core if known[match.entry[1]].core else named)
        )
    ]


def _state(sentence: _Sentence, mention: Match, status: Status, sized: bool) -> Finding:
    span = sentence.span(mention)
    change = change_of(mention, sentence.mentions, sentence.words, sentence.matches)
    if status is Status.ABSENT:
        return Finding(status, span=span, change=change if change is Change.RESOLVED else None)
    laterality, zone, severity = modifiers_of(mention, sentence.mentions, sentence.words, sentence.matches)
    size_mm = _size_of(sentence, span) if sized else None
    change = None if change is Change.RESOLVED else change
    return Finding(status, laterality, zone, severity, span, size_mm, change=change)


def _size_of(sentence: _Sentence, span: Span) -> float | None:
    """The size that lies nearer to the mention at ``span`` than to any other."""
    spans = [sentence.span(mention) for mention in sentence.mentions]
    for size in sentence.sizes:
        distances = {one: max(one.start - size.end, size.start - one.end) for one in spans}
        if distances[span] <= min(distances.values()):
            return size.mm
    return None
