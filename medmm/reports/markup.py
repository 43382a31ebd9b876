"""Plain text out of HTML, RTF and XML, and out of bytes whose encoding nobody says.

Nothing of a document runs or is fetched: scripts, styles, pictures and links are left out.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from medmm.errors import Reason, ReportError
from medmm.reports.headings import CHINESE
from medmm.reports.hypertext import html_text

_HTML = re.compile(
    r"<(?:!doctype html|html|body|div|p|br|table|span|b|strong|pre|h[1-6]|ul|ol|font)\b[^<>]{0,400}/?>|<!\[CDATA\[",
    re.IGNORECASE,
)
_RTF = re.compile(r"\s*\{\\rtf")
_BLANK_LINES = re.compile(r"\n(?:[ \t]*\n){2,}")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f]")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
_MOJIBAKE = re.compile("[ÂÃâåäæçèéïã][\x80-¿–—‘-”‚„†-•…‰‹›€™ŒœŠšŸŽžƒˆ˜]")
_MOST_ACCENTS, _JUDGED = 0.3, 8
"""Share of bytes above 127 in a text that may still be Windows-1252, and the bytes that it takes to say so."""
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
    start = data[:100_000]
    if len(data) >= _JUDGED and sum(byte >= 0x80 for byte in start) > _MOST_ACCENTS * len(start):  # noqa: PLR2004
        what, got = "the encoding of the report is not known", "bytes of no Western language"
        raise ReportError(Reason.REPORT_UNREADABLE, what, got=got, expected="UTF-8, UTF-16 or GB 18030")
    try:
        return data.decode("cp1252")
    except UnicodeDecodeError:
        return data.decode("latin-1")
