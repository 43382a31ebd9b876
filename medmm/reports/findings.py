"""A rule-based labeler of radiology reports that needs nothing but its vocabulary.

Only findings and impression are read (the whole text where a report has neither): an indication's question is no finding.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache

from medmm.reports.modifiers import Size, find_sizes, modifiers_of
from medmm.reports.negation import find_cues, status_of
from medmm.reports.parse import parse_report
from medmm.reports.vocabulary import Match, Vocabulary, load_vocabulary
from medmm.types import Finding, Laterality, Report, Span, Status, TextPart

LABELER_VERSION = "1"
"""Raised whenever the same text may give another label."""

FINDINGS: tuple[str, ...] = tuple(load_vocabulary().findings)
"""Names of all findings that the labeler knows."""

NO_FINDING = "no_finding"

_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?|\d+(?:\.\d+)?|[,;:]")
_READ = frozenset(("findings", "impression"))
_RANK = {Status.PRESENT: 3, Status.UNCERTAIN: 2, Status.ABSENT: 1}
_CACHED_SENTENCES = 32_768


def label_report(report: Report | str) -> dict[str, Finding]:
    """Label the findings that a report mentions.

    Where mentions disagree, present holds over uncertain over absent, and the mention that says most gives side, zone, grade, size and
    span. ``no_finding`` is present when something is said to be normal or absent and nothing but devices is present or uncertain.

    Args:
        report: A report, or its text; an empty text mentions nothing.

    Returns:
        Finding name to what is said; a finding that is not mentioned has no entry. Spans refer to ``report.raw``.
    """
    if isinstance(report, str):
        if not report or report.isspace():
            return {}
        report = parse_report(report)
    labels: dict[str, Finding] = {}
    is_normal: Span | None = None
    for sentence in sentences_read(report):
        said, normal = _read_sentence(sentence.text)
        for name, finding in said:
            span = finding.span
            moved = Span(span.start + sentence.start, span.end + sentence.start) if span else None
            labels[name] = _merge(labels.get(name), replace(finding, span=moved))
        if normal is not None and is_normal is None:
            is_normal = Span(normal.start + sentence.start, normal.end + sentence.start)
    return _with_no_finding(labels, is_normal)


def sentences_read(report: Report) -> Iterable[TextPart]:
    """The sentences that may state findings: those of findings and impression, else those outside any known section."""
    read = [sentence for sentence in report.sentences if sentence.section in _READ]
    return read or [sentence for sentence in report.sentences if sentence.section is None]


@lru_cache(maxsize=_CACHED_SENTENCES)
def _read_sentence(sentence: str) -> tuple[tuple[tuple[str, Finding], ...], Span | None]:
    """Label one sentence; spans count from its start. Reports repeat their sentences, hence the cache."""
    vocabulary = load_vocabulary()
    places = [(match.start(), match.end()) for match in _WORD.finditer(sentence.lower())]
    lowered = sentence.lower()
    words = [vocabulary.normalise(lowered[start:end]) for start, end in places]
    matches = vocabulary.match(words)
    if not matches:
        return (), None
    mentions = _mentions(matches)
    said: list[tuple[str, Finding]] = []
    normal: Span | None = None
    for match in matches:
        if match.entry[0] == "normal":
            span = Span(places[match.start][0], places[match.end - 1][1])
            normal = normal or span
            said.extend((name, Finding(Status.ABSENT, span=span)) for name in vocabulary.normal[match.entry[1]])
    if mentions:
        cues = find_cues(words, matches)
        sizes = find_sizes(sentence)
        for mention in mentions:
            status = status_of(mention, words, cues)
            said.extend(_state(mention, mentions, status, words, matches, places, sizes, vocabulary))
    return tuple(said), normal


def _mentions(matches: list[Match]) -> list[Match]:
    """Findings named, without those whose words are all part of a longer phrase of another finding or of something to ignore."""
    named = [match for match in matches if match.entry[0] in {"finding", "ignored"}]
    kept = []
    for match in named:
        hidden = any(other.words & match.words == match.words and other.words != match.words for other in named)
        if not hidden and match.entry[0] == "finding":
            kept.append(match)
    return kept


def _state(  # noqa: PLR0913 - all that is known of one sentence
    mention: Match,
    mentions: list[Match],
    status: Status,
    words: list[str],
    matches: list[Match],
    places: list[tuple[int, int]],
    sizes: list[Size],
    vocabulary: Vocabulary,
) -> list[tuple[str, Finding]]:
    name = mention.entry[1]
    span = Span(places[mention.start][0], places[mention.end - 1][1])
    entry = vocabulary.findings[name]
    if status is Status.ABSENT:
        finding = Finding(status, span=span)
    else:
        laterality, zone, severity = modifiers_of(mention, mentions, words, matches)
        size_mm = _size_of(span, mentions, places, sizes) if entry.sized else None
        finding = Finding(status, laterality, zone, severity, span, size_mm)
    return [(one, finding) for one in (name, *entry.implies)]


def _size_of(span: Span, mentions: list[Match], places: list[tuple[int, int]], sizes: list[Size]) -> float | None:
    """The size that lies nearer to this mention than to any other."""
    spans = [(places[mention.start][0], places[mention.end - 1][1]) for mention in mentions]
    for size in sizes:
        distances = {(start, end): max(start - size.end, size.start - end) for start, end in spans}
        if distances[span.start, span.end] <= min(distances.values()):
            return size.mm
    return None


def _said(finding: Finding) -> int:
    return sum(value is not None for value in (finding.laterality, finding.zone, finding.severity, finding.size_mm))


def _merge(known: Finding | None, new: Finding) -> Finding:
    if known is None or _RANK[new.status] > _RANK[known.status]:
        return new
    if _RANK[new.status] < _RANK[known.status]:
        return known
    best = new if _said(new) > _said(known) else known
    if {known.laterality, new.laterality} == {Laterality.LEFT, Laterality.RIGHT}:
        return replace(best, laterality=Laterality.BILATERAL)
    return best


def _with_no_finding(labels: dict[str, Finding], normal: Span | None) -> dict[str, Finding]:
    known = load_vocabulary().findings
    for name, finding in labels.items():
        if finding.status is not Status.ABSENT and not known[name].device:
            return {**labels, NO_FINDING: Finding(Status.ABSENT, span=finding.span)}
    absent = next((finding.span for finding in labels.values() if finding.status is Status.ABSENT), None)
    if normal or absent:
        labels[NO_FINDING] = Finding(Status.PRESENT, span=normal or absent)
    return labels
