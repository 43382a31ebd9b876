"""Headings to sections and text to sentences, all with character offsets into the text as it came.

A heading is a name of :mod:`medmm.reports.headings` that opens a line or a sentence and is followed by a colon or a
dash, stands alone on its line, or is written in capitals. Anatomical subheadings (``LUNGS:``) do not end a section.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from medmm.reports.headings import (
    ADDENDUM,
    BARE,
    CHINESE,
    LONGEST,
    SUBHEADINGS,
    key_of,
    key_parts,
    sections_named,
)
from medmm.types import TextPart

_LINE = re.compile(
    r"^[ \t]*+(?:[#>=]++[ \t]*+)?[*_【\[<]{0,3}(?:(?:\d{1,2}|[IVX]{1,4})[.)、][ \t]*+)?"
    rf"(?P<name>[^\W\d_][^:：\n*_【】\[\]()（）]{{0,{LONGEST}}}?)"
    r"(?P<note>[ ]{0,4}[(（][^()（）\n]{0,60}[)）])?(?P<close>[*_】\]>]{0,3})"
    r"(?:[ \t]*+(?P<mark>[:：]{1,2}[*_】\]]{0,3}|[-–—=]++(?=\s|$)|(?:\.[ \t]*+)?$)|(?<=】))",
    re.MULTILINE,
)
_CAPITALS = r"[A-ZÀ-ÖØ-Þ]"
_BARE_LINE = re.compile(
    rf"(?:^[ \t]*|(?<=[.!?])[ \t]{{1,4}})(?:\d{{1,2}}[.)][ ]+)?"
    rf"(?P<run>{_CAPITALS}{{4,20}}\b(?:(?:[ ]{{1,3}}|[ ]{{0,2}}[/&,+][ ]{{0,2}}){_CAPITALS}{{2,20}}\b){{0,5}})"
    r"(?=[ \t]+[^\s:：])",
    re.MULTILINE,
)
_PROSE_WORDS = "of|are|is|was|were|consistent|suggest|suggestive|compatible|with|in|to|from|which|that|may"
_PROSE = re.compile(rf"\s*(?:{_PROSE_WORDS}|{_PROSE_WORDS.upper()})\b")
_COLON = re.compile("[:：]")
_INLINE = frozenset(("indication", "comparison", "technique", "findings", "impression", "conclusion"))
"""Headings that need no full stop before them where they have a capital and a colon."""
_RULE = re.compile(r"[ \t]*\n?[ \t]*(?:[-=*~]{3,}|_{5,})[ \t]*(?=\n)")  # ___ stands for a word that was taken out
_SENTENCE_STOPS = ".!?;。！？；"
_WIDEST_HEADING = 70
_MOST_WORDS = 6
_SUBHEADING = re.compile(r"^[ \t]*[*_]{0,3}(?P<name>[^\W\d_][\w /&]{3,40})[*_]{0,3}[:：]", re.MULTILINE)
_PARAGRAPH = re.compile(r"(?<=\S)[ \t]*\n[ \t]*\n")
_ENDS = re.compile(r"\\\.br\\")


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading in a text.

    Attributes:
        names: Sections that it opens; empty for a heading that only ends the one before.
        start: Offset of its first character.
        end: Offset behind its colon.
        key: Its words, as headings are looked up; empty where words are missing and the layout says it.
    """

    names: tuple[str, ...]
    start: int
    end: int
    key: str = ""


def find_headings(text: str) -> list[Heading]:
    """Find the headings of ``text``, in order; they do not overlap."""
    text = with_line_ends(text)
    found = {heading.start: heading for heading in _headings_before_colons(text)}
    found.update((heading.start, heading) for heading in _headings_in_capitals(text))
    found.update((heading.start, heading) for heading in _headings_at_line_starts(text))
    headings: list[Heading] = []
    for start in sorted(found):
        if not headings or start >= headings[-1].end:
            headings.append(found[start])
    return headings


def split_sections(text: str, headings: list[Heading] | None = None) -> tuple[dict[str, TextPart], list[TextPart]]:
    """Split ``text`` at its headings.

    Args:
        text: A report.
        headings: Its headings, where :func:`find_headings` has found them already.

    Returns:
        The sections by name (the first that is not empty where a heading comes twice; ``FINDINGS AND IMPRESSION``
        stands under both), and every block of text in order, with ``section`` None before the first heading and after
        a heading such as ``SIGNED BY``, ``addendum`` for what amends the report. Without any heading there is no
        section, and one block.
    """
    lines = with_line_ends(text)
    headings = _with_unspoken(lines, find_headings(lines) if headings is None else headings)
    headings = _without_preliminary(_with_addenda(headings))
    sections: dict[str, TextPart] = {}
    blocks: list[TextPart] = []
    starts: list[tuple[int, tuple[str, ...]]] = [(0, ()), *((heading.end, heading.names) for heading in headings)]
    stops = [heading.start for heading in headings] + [len(text)]
    for (start, names), stop in zip(starts, stops, strict=True):
        rule = _RULE.match(lines, start) if names else None
        start = rule.end() if rule else start  # noqa: PLW2901  a line drawn below the heading
        block = trimmed(lines, start, stop, names[0] if names else None)
        if block is None:
            continue
        words = text[block.start : block.end]
        blocks.append(TextPart(words, block.start, block.end, block.section))
        for name in names:
            if name != ADDENDUM:
                sections.setdefault(name, TextPart(words, block.start, block.end, name))
    return sections, blocks


def with_line_ends(text: str) -> str:
    r"""``text`` with every kind of line end as ``\n``, offsets as they were.

    Carriage returns, form feeds and HL7's ``\.br\`` end lines, and so does ``~`` in a text that has no other.
    """
    if "\r" in text:
        text = text.replace("\r\n", " \n").replace("\r", "\n")
    if "\\.br\\" in text:
        text = _ENDS.sub("    \n", text)
    if "~" in text and "\n" not in text:
        text = text.replace("~", "\n")
    if not text.isascii() or "\f" in text or "\v" in text:
        text = text.translate(_ODD_LINE_ENDS)
    return text


_ODD_LINE_ENDS = dict.fromkeys((0x0B, 0x0C, 0x85, 0x2028, 0x2029), "\n")


def trimmed(text: str, start: int, end: int, section: str | None) -> TextPart | None:
    """Cut ``text[start:end]`` without the white space at its ends; None when nothing is left."""
    piece = text[start:end]
    stripped = piece.strip()
    if not stripped:
        return None
    begin = start + piece.index(stripped[0])
    return TextPart(stripped, begin, begin + len(stripped), section)


def _headings_at_line_starts(text: str) -> Iterator[Heading]:
    for match in _LINE.finditer(text):
        name, mark = match["name"].rstrip(), match["mark"] or ""
        names = sections_named(name)
        if names is None or ("】" in match["close"]) != ("【" in match[0]):
            continue
        if mark.startswith((":", "：")) or match["close"] or _opens(text, match, name):
            yield Heading(names, match.start(), match.end(), key_of(name))


def _opens(text: str, match: re.Match[str], name: str) -> bool:
    """Whether a name without a colon is a heading, rather than words at the start of a wrapped line of prose."""
    before = text[max(0, match.start() - _WIDEST_HEADING) : match.start()].rstrip(" \t")[-2:]
    if not before or before == "\n\n" or before.rstrip()[-1:] in _SENTENCE_STOPS + ":：":
        return True
    return name.isupper() or (name[0].isupper() and key_of(name) in BARE and not (match["mark"] or "").startswith("."))


def _headings_in_capitals(text: str) -> Iterator[Heading]:
    """Headings such as ``IMPRESSION No acute disease.``, without any mark."""
    for match in _BARE_LINE.finditer(text):
        words = list(re.finditer(r"[^\s/&,+]+", match["run"]))
        at_line_start = match.start() == 0 or text[match.start() - 1] == "\n"
        for last in reversed(words):
            name = match["run"][: last.end()]
            end = match.start("run") + last.end()
            if not all(part in BARE for part in key_parts(name)) or _PROSE.match(text, end):
                continue
            following = text[end : end + 40].split(maxsplit=1)
            is_prose_behind = bool(following) and not (following[0].isupper() and following[0].isalpha())
            names = sections_named(name)
            if names is not None and (at_line_start or is_prose_behind):
                yield Heading(names, match.start("run"), end, key_of(name))
                break


def _headings_before_colons(text: str) -> Iterator[Heading]:
    for match in _COLON.finditer(text):
        colon = match.start()
        line = max(text.rfind("\n", max(0, colon - _WIDEST_HEADING), colon) + 1, colon - _WIDEST_HEADING)
        found = _name_at_end(text[line:colon])
        if found is None:
            continue
        start, names, key = line + found[0], found[1], found[2]
        before = text[line:start].rstrip(" \t*_#")
        is_spoken = text[start].isupper() and key in _INLINE
        if text[start:colon].isupper() or is_spoken or not before or before[-1] in _SENTENCE_STOPS:
            yield Heading(names, start, colon + 1, key)


def _name_at_end(line: str) -> tuple[int, tuple[str, ...], str] | None:
    """Where the longest heading that ends ``line`` starts, and which sections it opens."""
    line = line.rstrip(" *_")
    if line and line[-1] >= "一":
        lowered = line.lower()
        found = next((name for name in CHINESE if lowered.endswith(name)), None)
        return None if found is None else (len(line) - len(found), sections_named(found) or (), found)
    starts = [match.start() for match in re.finditer(r"(?:(?<=[.!?;*\s])|^)(?=[^\W\d_])", line)][-_MOST_WORDS:]
    for start in starts:
        names = sections_named(line[start:])
        if names is not None:
            return start, names, key_of(line[start:])
    return None


def _with_unspoken(text: str, headings: list[Heading]) -> list[Heading]:
    """Add where findings begin and end in reports that have no heading for them.

    Lines such as ``LUNGS: clear`` are findings by what they name. A paragraph behind the first one of indication,
    technique or comparison may be anything, and so belongs to no section.
    """
    if any("findings" in heading.names for heading in headings):
        return headings
    if ":" in text or "：" in text:
        subs = [match.start() for match in _SUBHEADING.finditer(text) if key_of(match["name"]) in SUBHEADINGS]
        if len(subs) > 1 or (subs and any("impression" in heading.names for heading in headings)):
            place = sum(heading.start <= subs[0] for heading in headings)
            if (
                place == 0
                or not headings[place - 1].names
                or headings[place - 1].names[0] in {"technique", "comparison"}
            ):
                return [*headings[:place], Heading(("findings",), subs[0], subs[0]), *headings[place:]]
    added: list[Heading] = []
    stops = [*(heading.start for heading in headings), len(text)][1:]
    for heading, stop in zip(headings, stops, strict=True):
        added.append(heading)
        if heading.names and heading.names[0] in {"indication", "technique", "comparison"}:
            end = _PARAGRAPH.search(text, heading.end + 1, stop)
            if end and text[heading.end : end.start()].strip() and text[end.end() : stop].strip():
                added.append(Heading((), end.end(), end.end()))
    return added


def _without_preliminary(headings: Sequence[Heading]) -> list[Heading]:
    """Take a preliminary part for no section where a later one of the same section replaces it."""
    kept = []
    for place, heading in enumerate(headings):
        is_replaced = heading.key.startswith("preliminary") and any(
            heading.names == later.names for later in headings[place + 1 :]
        )
        kept.append(replace(heading, names=()) if is_replaced else heading)
    return kept


def _with_addenda(headings: Sequence[Heading]) -> list[Heading]:
    """Leave an addendum's own headings within it: those behind it, or those before ``ORIGINAL REPORT``."""
    if not any(heading.names == (ADDENDUM,) for heading in headings):
        return list(headings)
    originals = [heading.start for heading in headings if heading.key == "original report"]
    is_inside = has_read = False
    kept = []
    for heading in headings:
        if heading.names == (ADDENDUM,):
            is_inside = has_read or any(start > heading.start for start in originals)
        elif heading.key == "original report":
            is_inside = False
        elif is_inside and heading.names:
            continue
        has_read = has_read or "findings" in heading.names or "impression" in heading.names
        kept.append(heading)
    return kept
