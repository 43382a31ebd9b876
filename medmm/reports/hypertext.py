"""Plain text out of HTML, in one pass, so that no markup takes longer than its length.

The standard library's parser looks ahead from every tag that nothing closes, and refuses some declarations.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import NamedTuple

_LAYS_OUT = re.compile(r"<(?:html|body|div|p|br|table|h[1-6]|ul|ol|li)\b", re.IGNORECASE)
_QUOTED = r"\"[^\"]{0,300}\"|'[^']{0,300}'"  # an attribute's value may hold >
_TAG = re.compile(rf"<(?P<end>/?)(?P<name>[a-zA-Z][^\s/<>]{{0,40}})(?:(?:[^<>\"']++|{_QUOTED}){{0,20}}+>|[^<>]*+>)")
_SPECIAL = re.compile(r"<!--|<!\[CDATA\[|<[!?](?=[a-zA-Z\[])")
_INTERNAL = re.compile(r"<!doctype[^<>\[]{0,300}\[", re.IGNORECASE)
_ENDS = {"<!--": "-->", "<![CDATA[": "]]>"}
_RAW = frozenset(("script", "style"))
_NESTS = frozenset(("object", "template", "noscript", "svg", "math"))
_SILENT = _RAW | _NESTS | {"head", "title"}
_BLOCKS = frozenset(
    "address article blockquote body dd div dl dt fieldset figure footer form h1 h2 h3 h4 h5 h6 header hr html"
    " li main nav ol p pre section table tbody td tfoot th thead tr ul".split()
)
_PARAGRAPHS = frozenset("p h1 h2 h3 h4 h5 h6 table ul ol blockquote".split())
_SPACES = re.compile(r"[ \t\xa0]+")
_BLANK_LINES = re.compile(r"\n(?:[ \t]*\n){2,}")
_LONG_REFERENCE = re.compile(r"&#(?:x[0-9a-f]{7}|\d{8})[0-9a-f]*;?", re.IGNORECASE)


class _Piece(NamedTuple):
    """Text, or a tag by its name: ``p`` opens, ``/p`` closes."""

    kind: str
    value: str


def html_text(text: str) -> str:
    """Text of an HTML document or fragment: a line a block, an empty line behind a paragraph.

    Lines of a text whose tags lay nothing out (``<b>``) stay as they are: it is plain text with some words in bold.
    A tag that nothing closes is text.
    """
    reader = _Lines(keeps_lines=not _LAYS_OUT.search(text))
    for piece in _pieces(text):
        reader.add(piece)
    lines = (_SPACES.sub(" ", line).strip() for line in "".join(reader.pieces).split("\n"))
    return _BLANK_LINES.sub("\n\n", "\n".join(lines)).strip()


def unescaped_html(text: str) -> str:
    """Replace character references; numbers beyond Unicode by U+FFFD, however long they are."""
    return html.unescape(_LONG_REFERENCE.sub("\ufffd", text)) if "&" in text else text


def _pieces(text: str) -> Iterator[_Piece]:
    """Tags, and the text between them; comments, declarations and the content of scripts are left out."""
    lowered = _ascii_lowered(text)
    done = at = 0
    endless: set[str] = set()
    while (at := text.find("<", at)) >= 0:
        special, tag = _SPECIAL.match(text, at), _TAG.match(text, at)
        opening = special[0] if special else ""
        if tag is not None:
            end, inside = tag.end(), ""
        elif opening and opening not in endless:
            end, inside = _special(text, at, opening)
        else:
            end, inside = -1, ""
        if end < 0:  # nothing ends it: it is text
            endless.add(opening)
            at += 1
            continue
        yield _Piece("text", unescaped_html(text[done:at]))
        if inside:
            yield _Piece("text", inside)
        if tag is not None:
            name = tag["name"].lower()
            yield _Piece("tag", tag["end"] + name)
            if name in _RAW and not tag["end"]:
                stop = lowered.find(f"</{name}", end)
                end = stop if stop >= 0 else len(text)
        done = at = end
    yield _Piece("text", unescaped_html(text[done:]))


def _special(text: str, at: int, opening: str) -> tuple[int, str]:
    """Where a comment, a declaration or ``CDATA`` ends, -1 for nowhere, and the text in it."""
    ending = _ENDS.get(opening, ">")
    if opening == "<!" and _INTERNAL.match(text, at):
        ending = "]>"
    stop = text.find(ending, at + len(opening))
    if stop < 0:
        return -1, ""
    return stop + len(ending), text[at + len(opening) : stop] if opening == "<![CDATA[" else ""


def _ascii_lowered(text: str) -> str:
    """``text`` with ASCII letters in lower case, of the same length."""
    return text.translate({upper: upper + 32 for upper in range(65, 91)}) if "<" in text else text


class _Lines:
    """Collects what a reader would see."""

    def __init__(self, keeps_lines: bool) -> None:
        self.pieces: list[str] = []
        self._kept = int(keeps_lines)
        self._silent = ""
        self._depth = 0

    def add(self, piece: _Piece) -> None:
        """Keep text; outside of ``pre`` its line ends are spaces."""
        if piece.kind == "tag":
            self._tag(piece.value.removeprefix("/"), piece.value.startswith("/"))
        elif piece.value and not self._silent:
            self.pieces.append(piece.value if self._kept else re.sub(r"\s+", " ", piece.value))

    def _tag(self, name: str, closes: bool) -> None:
        if self._silent:
            if name == "body" and self._silent in {"head", "title"}:  # it ends a head that nothing closes
                self._silent = ""
            elif name == self._silent and (closes or name in _NESTS):
                self._depth += -1 if closes else 1
                self._silent = name if self._depth > 0 else ""
                return
        elif name in _SILENT and not closes:
            self._silent, self._depth = name, 1
        self._kept = max(0, self._kept + (-1 if closes else 1) * (name == "pre"))
        if not self._silent and name == "br":
            self.pieces.append("\n")
        elif not self._silent and name in _BLOCKS:
            self._line(2 if closes and name in _PARAGRAPHS else 1)

    def _line(self, number: int) -> None:
        tail = "".join(self.pieces[-3:])
        if tail.strip(" "):
            self.pieces.append("\n" * max(0, number - (len(tail) - len(tail.rstrip("\n")))))
