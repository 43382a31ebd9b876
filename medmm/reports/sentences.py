"""Text to sentences, with offsets, where full stops end them and where only line ends do.

Radiologists list findings a line each, often without full stops and in capitals or small letters alone, and their
systems wrap long lines; which of both a line end is follows from what would have fitted on the line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from medmm.reports.sections import with_line_ends
from medmm.types import TextPart

_ANSWER = r"(?<=\?)\s{1,3}(?i:none|no|negative|nil|absent|yes|present)\b[ ]?(?:[.,;\n]|$)"  # belongs to its question
_ASIDE = r"(?<=\s\?)\s[a-z]"  # opacity ? pneumonia
_GERMAN_DATE = r"(?<=\d\.)\s(?:Jan|Feb|Mär|Apr|Mai|Jun|Jul|Aug|Sep|Okt|Nov|Dez)[a-zä]*\.?\s\d{4}\b"  # 3. März 2021
_ITEM = r"(?:\(?\d{1,2}[.)、](?!\d)|\(?[a-h]\)|[a-h]\.(?=[ \t])|[-*•–—·▪](?=[ \t]))"
_SENTENCE_END = re.compile(
    rf"(?<![.!?])[.!?]+[)\"']*(?=\s|$)(?!{_ANSWER}|{_ASIDE})(?!{_GERMAN_DATE})"
    r"|(?<=[a-z)])[.!?](?=[A-Z])"  # a full stop that lost its space: "apex.There"
    r"|[。！？；]+"
    r"|\n[ \t]*\n\s*"  # an empty line
    rf"|\n(?=[ \t]*{_ITEM})"  # a list item
    r"|(?<![,])\n(?=[ \t]*[A-Z](?!XXX)[a-z]*\b)"  # a line that starts like a sentence
)
_MARKER = re.compile(
    r"(?:[-*•–—·▪][ \t]+|\(?(?:\d{1,2}|[a-h](?=\)))(?:[.)](?:\s+|(?=[A-Z])|(?<=\)))|、)|[a-h]\.[ \t]+)+"
)
_FIRST_ITEM = re.compile(r"\s*\(?[1a]\)\s?[^\W\d]")
_INLINE_ITEM = re.compile(r"(?<=[\s.;,])\(?(?:\d{1,2}|[a-h])\)\s?(?=[^\W\d])")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:dr|mr|mrs|ms|vs|e\.g|i\.e|approx|st|fig|prof|resp|incl|no(?=\.\s*\d)"
    r"|ca|bzw|z\.\s?b|d\.\s?h|evtl|ggf|li|sog|inkl|sra|dra|aprox|cf)\.$",
    re.IGNORECASE,
)
_BARE_NUMBER = re.compile(r"\(?(?:\d{1,2}|[a-h])[.)、]")
_LINE_END = re.compile(r"(?<=[^\s,:;.!?(/-])[ \t]{0,20}\n[ \t]{0,20}(?=[^\W\d_])")
_SUBHEADING = re.compile(r"[A-Z][A-Za-z]{2,20}(?:[ /&]{1,3}[A-Za-z]{2,20}){0,4}[ ]?:")
_HANGING = re.compile(
    r"\b(?:no|not|without|of|the|a|an|and|or|with|in|on|at|to|for|from|by|as|than|is|are|was|were|has|have|been|be|may|could"
    r"|left|right|bilateral|small|large|moderate|mild|severe|minimal|tiny|trace|marked|slight|subtle|pleural|focal|acute"
    r"|chronic|pulmonary|lower|upper|middle|new|old|stable|unchanged|possible|probable|likely|this|that|there|its|any"
    r"|definite|significant|interval|increased|decreased|evidence|x{4})$",
    re.IGNORECASE,
)
_CARRIES_ON = re.compile(
    r"(?:and|or|nor|of|in|on|at|with|without|is|are|was|were|has|have|to|from|by|for|than|as|which|that|seen|noted|but"
    r"|present|identified|demonstrated|suggesting|suggestive|consistent|compatible|measuring|due|within|x{4})\b",
    re.IGNORECASE,
)
_NARROWEST_PAGE = 45


def split_sentences(block: TextPart) -> list[TextPart]:
    """Split a block into sentences; offsets stay those of the whole text, list markers such as ``1.`` are left out."""
    text = with_line_ends(block.text)
    sentences: list[TextPart] = []
    start = _skip_marker(text, 0)
    for found, end in _ends(text):
        if end <= start:
            continue
        if text[found] == "." and _ABBREVIATION.search(text, max(start, end - 9), end):
            continue
        _append(sentences, block, start, end)
        start = _skip_marker(text, end)
    _append(sentences, block, start, len(text))
    return sentences


def _ends(text: str) -> Iterator[tuple[int, int]]:
    """Characters ``[start, end)`` that end a sentence each, in order."""
    ends = [match.span() for match in _SENTENCE_END.finditer(text)]
    more: list[int] = []
    if ")" in text and _FIRST_ITEM.match(text):
        more += [match.start() for match in _INLINE_ITEM.finditer(text)]
    if "\n" in text:
        more += _statements(text)
    yield from sorted([*ends, *((place, place) for place in more if place)]) if more else ends


def _statements(text: str) -> list[int]:
    """Starts of the lines that begin a statement although no capital says so, or nothing but capitals.

    A text is wrapped where the next word would not have fitted on the line; the first line has lost its heading.
    """
    width = max(map(len, text.split("\n")))
    lines = []
    for match in _LINE_END.finditer(text):
        first, place = text.rfind("\n", 0, match.start()) + 1, match.end()
        line, word = text[first : match.start()], text[place : place + 40].split(None, 1)[0]
        lines.append((place, line, word, bool(first) and len(line) + 1 + len(word) <= width))
    is_list = not re.search(r"[.;](?:\s|$)", text)
    is_list = is_list and (width <= _NARROWEST_PAGE or any(had_room for *_, had_room in lines))
    return [
        place
        for place, line, word, had_room in lines
        if _SUBHEADING.match(text, place)
        or (
            (is_list or (had_room and line.isupper() and word.isupper()))
            and not _HANGING.search(line[-15:])
            and not _CARRIES_ON.match(word)
        )
    ]


def _skip_marker(text: str, start: int) -> int:
    while start < len(text) and text[start].isspace():
        start += 1
    match = _MARKER.match(text, start)
    return match.end() if match else start


def _append(sentences: list[TextPart], block: TextPart, start: int, end: int) -> None:
    piece = block.text[start:end]
    stripped = piece.strip()
    if not stripped or _BARE_NUMBER.fullmatch(stripped) or not any(character.isalnum() for character in stripped):
        return
    begin = block.start + start + piece.index(stripped[0])
    sentences.append(TextPart(stripped, begin, begin + len(stripped), block.section))
