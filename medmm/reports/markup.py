"""Plain text out of HTML, RTF and XML, and out of bytes whose encoding nobody says.

Nothing of a document runs or is fetched: scripts, styles, pictures and links are left out.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import NamedTuple

from medmm.errors import Reason, ReportError
from medmm.reports.headings import CHINESE

_HTML = re.compile(
    r"<(?:!doctype html|html|body|div|p|br|table|span|b|strong|pre|h[1-6]|ul|ol|font)\b[^<>]{0,400}/?>", re.IGNORECASE
)
_LAYS_OUT = re.compile(r"<(?:html|body|div|p|br|table|h[1-6]|ul|ol|li)\b", re.IGNORECASE)
_RTF = re.compile(r"\s*\{\\rtf")
_BLOCKS = frozenset(
    "address article blockquote body dd div dl dt fieldset figure footer form h1 h2 h3 h4 h5 h6 header hr html"
    " li main nav ol p pre section table tbody td tfoot th thead tr ul".split()
)
_PARAGRAPHS = frozenset("p h1 h2 h3 h4 h5 h6 table ul ol blockquote".split())
_SILENT = frozenset(("script", "style", "head", "title", "object", "template", "noscript", "svg", "math"))
_SPACES = re.compile(r"[ \t\xa0]+")
_BLANK_LINES = re.compile(r"\n(?:[ \t]*\n){2,}")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f]")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
_MOJIBAKE = re.compile("[ÂÃâåäæçèéïã][\x80-¿–—‘-”‚„†-•…‰‹›€™ŒœŠšŸŽžƒˆ˜]")
_NO_CONTROL = dict.fromkeys((0x0B, 0x1C, 0x1A))


class Decoded(NamedTuple):
    """Text of bytes, and whether it was read as another encoding before and had to be repaired."""

    text: str
    repaired: bool


def is_html(text: str) -> bool:
    """Whether a text holds HTML tags that lay text out."""
    return "<" in text and _HTML.search(text) is not None


def is_rtf(text: str) -> bool:
    """Whether a text is an RTF document."""
    return _RTF.match(text) is not None


def plain_text(text: str) -> str:
    """Strip RTF or HTML from a text; any other text comes back as it is.

    Raises:
        ReportError: The RTF is malformed (``Reason.REPORT_UNREADABLE``).
    """
    if is_rtf(text):
        return rtf_text(text)
    return html_text(text) if is_html(text) else text


def html_text(text: str) -> str:
    """Text of an HTML document or fragment: a line a block, an empty line behind a paragraph.

    Lines of a text whose tags lay nothing out (``<b>``) stay as they are: it is plain text with some words in bold.
    """
    reader = _TextOnly(keeps_lines=not _LAYS_OUT.search(text))
    reader.feed(text)
    reader.close()
    lines = (_SPACES.sub(" ", line).strip() for line in "".join(reader.pieces).split("\n"))
    return _BLANK_LINES.sub("\n\n", "\n".join(lines)).strip()


def rtf_text(text: str) -> str:
    """Text of an RTF document.

    Raises:
        ReportError: The RTF is malformed (``Reason.REPORT_UNREADABLE``).
    """
    from striprtf.striprtf import rtf_to_text

    safe = text.replace("{\\field", "\n{\\field")  # the library's search for links would look a whole line ahead
    try:
        plain = rtf_to_text(safe, errors="replace")
        plain = plain.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    except (ValueError, LookupError, TypeError, OverflowError, MemoryError) as error:
        what = "the RTF is malformed"
        raise ReportError(Reason.REPORT_UNREADABLE, what, got=type(error).__name__, expected="RTF 1") from None
    return _BLANK_LINES.sub("\n\n", plain.replace("\xad", "").replace("\xa0", " ")).strip()


def decoded(data: bytes, encoding: str | None = None) -> Decoded:
    """Decode a report's bytes.

    In this order: a byte order mark, ``encoding`` where the source names one and it fits, UTF-8, GB 18030 where that
    yields a Chinese heading, Windows-1252. UTF-8 that was once read as Windows-1252 or Latin-1 and written again is
    repaired where every one of its characters says so.

    Raises:
        ReportError: The bytes are no text (``Reason.REPORT_UNREADABLE``).
    """
    text = _decoded(data, encoding)
    if _CONTROL.search(text.translate(_NO_CONTROL)):
        expected = "text in UTF-8, UTF-16, GB 18030, Windows-1252 or Latin-1"
        what = "the report file is binary"
        raise ReportError(Reason.REPORT_UNREADABLE, what, got="control characters", expected=expected)
    mended = repaired(text)
    return Decoded(mended, mended != text)


def repaired(text: str) -> str:
    """Undo ``OedÃ¨me`` for ``Oedème``: only where all that is not ASCII reads as UTF-8, else ``text`` as it is."""
    if text.isascii() or not _MOJIBAKE.search(text):
        return text
    for encoding in ("cp1252", "latin-1"):
        try:
            return _NOT_ASCII.sub(lambda run: run[0].encode(encoding).decode("utf-8"), text)  # noqa: B023
        except UnicodeError:
            continue
    return text


def _decoded(data: bytes, encoding: str | None) -> str:
    for mark, name in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if data.startswith(mark):
            return data.decode(name, "replace")
    for code in (encoding, "utf-8"):
        try:
            if code is not None:
                return data.decode(code)
        except (UnicodeDecodeError, LookupError):
            continue
    try:
        chinese = data.decode("gb18030")
        if any(heading in chinese for heading in CHINESE if len(heading) > 1):
            return chinese
    except UnicodeDecodeError:
        pass
    try:
        return data.decode("cp1252")
    except UnicodeDecodeError:
        return data.decode("latin-1")


class _TextOnly(HTMLParser):
    """Collects what a reader would see."""

    def __init__(self, keeps_lines: bool) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self._silent: list[str] = []
        self._kept = int(keeps_lines)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Start a line at a block; be silent within scripts and the like."""
        if tag in _SILENT:
            self._silent.append(tag)
        elif tag == "br":
            self.pieces.append("\n")
        elif tag in _BLOCKS:
            self._line(1)
        self._kept += tag == "pre"

    def handle_endtag(self, tag: str) -> None:
        """End a line, and a paragraph with an empty one."""
        if tag in self._silent:
            del self._silent[self._silent.index(tag) :]
        elif tag in _BLOCKS:
            self._line(2 if tag in _PARAGRAPHS else 1)
        self._kept = max(0, self._kept - (tag == "pre"))

    def handle_data(self, data: str) -> None:
        """Keep text; outside of ``pre`` its line ends are spaces."""
        if not self._silent:
            self.pieces.append(data if self._kept else re.sub(r"\s+", " ", data))

    def _line(self, number: int) -> None:
        tail = "".join(self.pieces[-3:])
        if tail.strip(" "):
            self.pieces.append("\n" * max(0, number - (len(tail) - len(tail.rstrip("\n")))))
