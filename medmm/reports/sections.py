"""Headings to sections and text to sentences, all with character offsets into the text as it came.

A heading is a known name (``HEADINGS``) that opens a line or a sentence and is followed by a colon or a dash, stands
alone on its line, or is written in capitals. Anatomical subheadings (``LUNGS:``) do not end a section.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from medmm.types import TextPart

HEADINGS: dict[str, str] = {
    "indication": "indication",
    "indications": "indication",
    "clinical indication": "indication",
    "indication for exam": "indication",
    "indication for study": "indication",
    "history": "indication",
    "clinical history": "indication",
    "patient history": "indication",
    "clinical information": "indication",
    "clinical data": "indication",
    "clinical details": "indication",
    "clinical question": "indication",
    "clinical statement": "indication",
    "reason for exam": "indication",
    "reason for examination": "indication",
    "reason for study": "indication",
    "reason": "indication",
    "hx": "indication",
    "technique": "technique",
    "procedure": "technique",
    "exam": "technique",
    "examination": "technique",
    "exam type": "technique",
    "type of exam": "technique",
    "study": "technique",
    "views": "technique",
    "protocol": "technique",
    "comparison": "comparison",
    "comparisons": "comparison",
    "comparison study": "comparison",
    "comparison studies": "comparison",
    "comparison exam": "comparison",
    "prior": "comparison",
    "priors": "comparison",
    "prior studies": "comparison",
    "findings": "findings",
    "finding": "findings",
    "radiographic findings": "findings",
    "report": "findings",
    "description": "findings",
    "observations": "findings",
    "interpretation": "findings",
    "impression": "impression",
    "impressions": "impression",
    "conclusion": "impression",
    "conclusions": "impression",
    "opinion": "impression",
    "summary": "impression",
    "diagnosis": "impression",
    "assessment": "impression",
}
"""Heading in lower case to section; what hospitals write in English."""

CLOSERS = frozenset(
    (
        "addendum", "recommendation", "recommendations", "notification", "communication", "signed", "signed by",
        "electronically signed", "electronically signed by", "dictated by", "dictated", "transcribed by",
        "transcribed", "interpreted by", "radiologist", "attending", "resident", "physician", "referring physician",
        "ordering physician", "date", "date of exam", "date of service", "time", "name", "patient", "patient name",
        "mrn", "dob", "accession", "accession number", "addenda",
    )
)  # fmt: skip
"""Headings that end a section and open none."""

# Headings without colon or dash when in capitals; longer lists would take words out of sentences.
_BARE = (
    "indication", "clinical indication", "history", "clinical history", "technique", "procedure", "examination",
    "exam", "comparison", "findings", "impression", "conclusion", "opinion", "reason for exam",
    "reason for examination", "recommendation", "recommendations", "addendum",
)  # fmt: skip

_NAMES = "|".join(
    re.escape(name).replace(r"\ ", "[ ]+") for name in sorted({*HEADINGS, *CLOSERS}, key=len, reverse=True)
)
_JOIN = r"[ ]*(?:/|&|,|\band\b|\+)[ ]*"
_NAMED = rf"(?P<name>(?:{_NAMES})(?:{_JOIN}(?:{_NAMES}))*)"
_AT_LINE_START = re.compile(
    rf"^[ \t]*(?:[#>=]+[ \t]*)?[*_]{{0,3}}(?:\d{{1,2}}[.)][ ]+)?{_NAMED}"
    r"(?P<note>[ ]*\([^()\n]{0,60}\))?[*_]{0,3}[ \t]*"
    r"(?P<mark>[:：][*_]{0,3}|[-–—=]+(?=\s|$)|\.?[ \t]*$|(?=[ \t]))",
    re.IGNORECASE | re.MULTILINE,
)
_BEFORE_COLON = re.compile(rf"(?:(?<=[.!?;*\s])|^){_NAMED}[*_]{{0,3}}[ ]?$", re.IGNORECASE)
_WIDEST_HEADING = 60

_SENTENCE_END = re.compile(
    r"[.!?]+[)\"']*(?=\s|$)"  # a full stop before white space
    r"|(?<=[a-z)])[.!?](?=[A-Z])"  # a full stop that lost its space: "apex.There"
    r"|\n[ \t]*\n\s*"  # an empty line
    r"|\n(?=[ \t]*(?:\d{1,2}[.)]|[-*•])[ \t])"  # a list item
    r"|(?<![,])\n(?=[ \t]*[A-Z](?!XXX)[a-z]*\b)"  # a line that starts like a sentence
)
_MARKER = re.compile(r"(?:[-*•][ \t]+|\(?\d{1,2}[.)](?:\s+|(?=[A-Z])))+")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:dr|mr|mrs|ms|vs|e\.g|i\.e|approx|st|fig|prof|resp|incl|no(?=\.\s*\d))\.$", re.IGNORECASE
)
_BARE_NUMBER = re.compile(r"\(?\d{1,2}[.)]")


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading in a text.

    Attributes:
        names: Sections that it opens; empty for a heading that only ends the one before.
        start: Offset of its first character.
        end: Offset behind its colon.
    """

    names: tuple[str, ...]
    start: int
    end: int


def find_headings(text: str) -> list[Heading]:
    """Find the headings of ``text``, in order; they do not overlap."""
    found = {heading.start: heading for heading in _headings_before_colons(text)}
    found.update((heading.start, heading) for heading in _headings_at_line_starts(text))
    headings: list[Heading] = []
    for start in sorted(found):
        if not headings or start >= headings[-1].end:
            headings.append(found[start])
    return headings


def split_sections(text: str) -> tuple[dict[str, TextPart], list[TextPart]]:
    """Split ``text`` at its headings.

    Returns:
        The sections by name (the first that is not empty where a heading comes twice; ``FINDINGS AND IMPRESSION``
        stands under both), and every block of text in order, with ``section`` None before the first heading and after
        a heading such as ``SIGNED BY``. Without any heading there is no section, and one block.
    """
    headings = find_headings(text)
    sections: dict[str, TextPart] = {}
    blocks: list[TextPart] = []
    starts = [(0, ())] + [(heading.end, heading.names) for heading in headings]
    stops = [heading.start for heading in headings] + [len(text)]
    for (start, names), stop in zip(starts, stops, strict=True):
        block = trimmed(text, start, stop, names[0] if names else None)
        if block is None:
            continue
        blocks.append(block)
        for name in names:
            sections.setdefault(name, TextPart(block.text, block.start, block.end, name))
    return sections, blocks


def split_sentences(block: TextPart) -> list[TextPart]:
    """Split a block into sentences; offsets stay those of the whole text, list markers such as ``1.`` are left out."""
    text = block.text
    sentences: list[TextPart] = []
    start = _skip_marker(text, 0)
    for match in _SENTENCE_END.finditer(text):
        end = match.end()
        if end <= start:
            continue
        if match.group()[0] == "." and _ABBREVIATION.search(text, max(start, end - 9), end):
            continue
        _append(sentences, block, start, end)
        start = _skip_marker(text, end)
    _append(sentences, block, start, len(text))
    return sentences


def trimmed(text: str, start: int, end: int, section: str | None) -> TextPart | None:
    """Cut ``text[start:end]`` without the white space at its ends; None when nothing is left."""
    piece = text[start:end]
    stripped = piece.strip()
    if not stripped:
        return None
    begin = start + piece.index(stripped[0])
    return TextPart(stripped, begin, begin + len(stripped), section)


def _headings_at_line_starts(text: str) -> Iterator[Heading]:
    for match in _AT_LINE_START.finditer(text):
        mark, name = match["mark"], match["name"]
        if not mark.strip() and text[match.end() :].partition("\n")[0].strip() and not _is_bare(name):
            continue  # a word at the start of a line of prose
        yield Heading(_section_names(name), match.start(), match.end())


def _headings_before_colons(text: str) -> Iterator[Heading]:
    colon = text.find(":")
    while colon >= 0:
        line = max(text.rfind("\n", 0, colon) + 1, colon - _WIDEST_HEADING)
        match = _BEFORE_COLON.search(text[line:colon])
        if match:
            start = line + match.start("name")
            before = text[line:start].rstrip(" *_#")
            if match["name"].isupper() or not before or before[-1] in ".!?":
                yield Heading(_section_names(match["name"]), start, colon + 1)
        colon = text.find(":", colon + 1)


def _is_bare(name: str) -> bool:
    return name.isupper() and all(part in _BARE for part in _parts(name))


def _parts(name: str) -> list[str]:
    return [
        " ".join(part.split()).lower()
        for part in re.split(r"/|&|,|\+|\band\b", name, flags=re.IGNORECASE)
        if part.strip()
    ]


def _section_names(name: str) -> tuple[str, ...]:
    names = [HEADINGS[part] for part in _parts(name) if part in HEADINGS]
    if "findings" in names or "impression" in names:
        names = [one for one in names if one in {"findings", "impression"}]
    return tuple(dict.fromkeys(names)) if len(names) > 1 and "findings" in names else tuple(names[:1])


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
