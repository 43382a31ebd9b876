"""HL7 v2 observation messages (ORU^R01, HL7 2.5.1 chapters 2 and 7) to reports.

A message holds groups of an OBR (the order: its accession number) and the OBX segments below it (the text). Files may
be a message, several one after the other, framed as on the wire (MLLP), or batches (FHS, BHS).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from medmm.errors import Reason, ReportError
from medmm.reports.documents import ReportDocument
from medmm.reports.headings import SECTION_OF, key_of
from medmm.reports.markup import decoded, plain_text
from medmm.reports.parse import parse_report
from medmm.reports.sections import find_headings

_START = re.compile(rb"(?:\xef\xbb\xbf)?[\s\x0b]*(?:MSH|FHS|BHS)[^A-Za-z0-9\s]")
_DELIMITERS = r"|^~\&"  # those that a damaged MSH leaves out
_TEXTS = frozenset(("TX", "FT", "ST", "CE", "CWE", "CF", ""))
_TAKEN_BACK = frozenset("DWX")  # OBX-11, table 0085: deleted, wrong, not obtained
_READABLE = frozenset(("text", "txt", "plain", "html", "rtf"))
_CODED = frozenset(("CE", "CWE", "CF"))
_BODY = ""
_SECTION_CODES = {
    "IMP": "IMPRESSION", "GDT": _BODY, "TCM": "TECHNIQUE", "ADT": "ADDENDUM", "REC": "RECOMMENDATION",
    "HIS": "INDICATION", "CMP": "COMPARISON", "BDY": _BODY,
    "59776-5": "FINDINGS", "18782-3": "FINDINGS", "19005-8": "IMPRESSION", "55110-1": "IMPRESSION", "11329-0":
    "INDICATION",
    "18785-6": "INDICATION", "55752-0": "INDICATION", "55115-0": "INDICATION", "55111-9": "TECHNIQUE", "18834-2":
    "COMPARISON",
    "55114-3": "COMPARISON", "18783-1": "RECOMMENDATION", "55107-7": "ADDENDUM",
}  # fmt: skip
"""Suffixes of OBX-3 (HL7 2.3 chapter 7.2.4.2) and LOINC codes to headings."""
_STATUS = {"F": "final", "C": "corrected", "P": "preliminary", "R": "preliminary", "X": "cancelled", "A": "preliminary"}
"""HL7 table 0123."""
_CHARSETS = {
    "ASCII": "ascii", "UNICODE UTF-8": "utf-8", "UTF-8": "utf-8", "UTF8": "utf-8", "8859/1": "cp1252", "8859/2":
    "iso8859-2",
    "8859/5": "iso8859-5", "8859/7": "iso8859-7", "8859/9": "iso8859-9", "8859/15": "iso8859-15", "GB 18030-2000":
    "gb18030",
    "ISO IR87": "iso2022_jp", "BIG-5": "big5", "KS X 1001": "euc_kr",
}  # fmt: skip
"""HL7 table 0211, to Python's names."""
_ESCAPED = re.compile(r"\\(\.?[A-Za-z]+[+-]?[0-9A-Fa-f]*)\\")
_LAYOUT = {".br": "\n", ".sp": "\n", ".ce": "\n", ".in": "", ".ti": "", ".fi": "", ".nf": "", ".sk": " "}
_HEX_BYTES = re.compile(r"(?:[0-9A-Fa-f]{2})+")


@dataclass
class _Order:
    """An OBR and its texts, each with the heading that its code stands for."""

    accession: str | None = None
    status: str = ""
    study_uid: str | None = field(default=None, repr=False)
    texts: list[tuple[str, str]] = field(default_factory=list, repr=False)
    error: ReportError | None = None


def is_hl7(data: bytes) -> bool:
    """Whether bytes start as an HL7 v2 message or batch does."""
    return _START.match(data[:64]) is not None


def read_hl7(data: bytes, refused: list[ReportError] | None = None) -> list[ReportDocument]:
    """Read the reports of an HL7 v2 file: one for each OBR that has text below it.

    The accession number is OBR-18, else OBR-3 (the filler's order number), else OBR-2. A segment that starts with no
    segment's
    name belongs to the text before it: senders break lines within OBX-5. Messages that are no ORU or MDM are left out.

    Args:
        data: The file's bytes.
        refused: Takes one error for each report of several that cannot be read.

    Raises:
        ReportError: There is no such message (``REPORT_UNREADABLE``); none holds text (``REPORT_EMPTY``).
    """
    if not is_hl7(data):
        what = "the file is no HL7 v2 message"
        raise ReportError(Reason.REPORT_UNREADABLE, what, expected="a file that starts with MSH, FHS or BHS")
    text, was_repaired = decoded(data.replace(b"\x1c", b"\r").replace(b"\x0b", b"\r"), _charset(data))
    refused = [] if refused is None else refused
    found: list[ReportDocument] = []
    kinds = set()
    for segments in _messages(text):
        kind = _field(segments[0], 9)[:3]
        kinds.add(kind)
        if kind in {"ORU", "MDM", "ORR", ""}:
            found.extend(_documents(segments, was_repaired, refused))
    if not found and refused:
        raise refused[0]
    if not found:
        if kinds and not kinds & {"ORU", "MDM", ""}:
            what = "the HL7 messages are no results"
            raise ReportError(Reason.REPORT_UNREADABLE, what, expected="ORU^R01")
        raise ReportError(Reason.REPORT_EMPTY, "no OBX segment of the HL7 message holds text", expected="TX, FT or ST")
    return found


def unescaped(text: str, delimiters: str = r"|^~\&") -> str:
    r"""Replace escape sequences (chapter 2.7): ``\F\ \S\ \T\ \R\ \E\``, ``\Xdd..\``, ``\.br\`` and other layout.

    Args:
        text: The value of a field.
        delimiters: Field separator and encoding characters, MSH-1 and MSH-2.
    """
    escape = delimiters[3] if len(delimiters) > 3 else "\\"  # noqa: PLR2004
    if escape not in text:
        return text
    if escape != "\\":
        text = text.replace(escape, "\\")
    field_mark, component, repetition = delimiters[0], delimiters[1:2], delimiters[2:3]
    plain = {"F": field_mark, "S": component, "R": repetition, "E": "\\", "T": delimiters[4:5] or "&", "H": "", "N": ""}

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name in plain:
            return plain[name]
        if name[0] == "X" and _HEX_BYTES.fullmatch(name[1:]):
            return decoded_hex(bytes.fromhex(name[1:]))
        if name[0] == ".":
            return _LAYOUT.get(name[:3].lower(), "") * (_count(name[3:]) if name[:3].lower() in {".sp", ".sk"} else 1)
        return "" if name[0] in "CMZ" and len(name) > 1 else match[0]

    return _ESCAPED.sub(value, text)


def decoded_hex(data: bytes) -> str:
    r"""Text of ``\X0D0A\``: line ends as ``\n``, other control characters dropped."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(letter for letter in text if letter >= " " or letter in "\n\t")


def _count(text: str) -> int:
    return min(int(text[:4]), 20) if text.isdecimal() and text.isascii() else 1


def _charset(data: bytes) -> str | None:
    """Encoding of MSH-18."""
    line = data[data.find(b"MSH") :][:2000].splitlines()[0].decode("latin-1") if b"MSH" in data else ""
    name = (line.split(line[3]) if len(line) > 4 else [])[17:18]  # noqa: PLR2004
    return _CHARSETS.get(name[0].split(line[5:6] or "~")[0].strip().upper()) if name else None


def _messages(text: str) -> Iterator[list[str]]:
    text = text.strip("\r\n\t ")
    segments: list[str] = []
    for segment in re.split(rf"[\r\n]+(?=[A-Z][A-Z0-9]{{2}}(?:{re.escape(text[3:4])}|[\r\n]|$))", text):
        name = segment[:3]
        if name == "MSH":
            if segments:
                yield segments
            segments = [segment]
        elif segments and name not in {"FHS", "BHS", "BTS", "FTS"}:
            segments.append(segment)
    if segments:
        yield segments


def _documents(segments: list[str], repaired: bool, refused: list[ReportError]) -> Iterator[ReportDocument]:
    """Reports of a message; ``repaired`` is the whole file, of which ASCII was right before."""
    head = segments[0]
    mark = head[3:4] or "|"
    delimiters = mark + head[4:8].split(mark)[0]
    delimiters += _DELIMITERS[len(delimiters) :]
    patient: str | None = None
    orders: list[_Order] = []
    for segment in segments[1:]:
        fields = segment.split(mark)
        if segment.startswith("PID"):
            patient = _first(fields, 3, delimiters) or _first(fields, 2, delimiters) or None
        elif segment.startswith(("OBR", "TXA")):
            orders.append(_order(fields, delimiters))
        elif segment.startswith("OBX"):
            if not orders:
                orders.append(_Order())
            try:
                _add_text(orders[-1], fields, delimiters)
            except ReportError as error:
                orders[-1].error = error
    for order in orders:
        if order.error is not None:
            refused.append(order.error)
            continue
        text = _composed(order.texts)
        if text.strip():
            mended = repaired and not text.isascii()
            report = replace(parse_report(text), source_format="hl7", repaired=mended)
            yield ReportDocument(
                report, order.accession, patient, order.study_uid, _STATUS.get(order.status, "unknown")
            )


def _order(fields: list[str], delimiters: str) -> _Order:
    if fields[0] == "TXA":
        number = _first(fields, 15, delimiters) or _first(fields, 14, delimiters)
        return _Order(number or None)
    number = _first(fields, 18, delimiters) or _first(fields, 3, delimiters) or _first(fields, 2, delimiters)
    return _Order(number or None, _first(fields, 25, delimiters))


def _add_text(order: _Order, fields: list[str], delimiters: str) -> None:
    kind, value = _at(fields, 2), _at(fields, 5)
    code = _at(fields, 3)
    identifier = code.split(delimiters[1:2])[0]
    if kind == "HD" or identifier in {"110180", "113014"}:
        order.study_uid = value.split(delimiters[1:2])[0] or order.study_uid
        return
    if value.strip() in {"", '""'} or _at(fields, 11) in _TAKEN_BACK:
        return
    if kind == "ED":
        text = _attached(value.split(delimiters[1:2]))
    elif kind in _TEXTS:
        lines = value.split(delimiters[2:3]) if delimiters[2:3] else [value]
        if kind in _CODED:
            lines = [(line.split(delimiters[1:2]) + [""])[1] or line.split(delimiters[1:2])[0] for line in lines]
        text = plain_text("\n".join(unescaped(line, delimiters) for line in lines))
    else:
        text = ""
    if text:  # a segment without a code goes on with the one before
        before = order.texts[-1][0] if order.texts and not code else _BODY
        order.texts.append((_heading(code, delimiters) or before, text))


def _attached(components: list[str]) -> str:
    """Text of encapsulated data (chapter 2.A.24): empty where it is of another kind, such as a PDF."""
    _, kind, subtype, encoding, data = (*components, *[""] * 5)[:5]
    if encoding.lower() != "base64" or not ({kind.lower(), subtype.lower()} & _READABLE):
        return ""
    try:
        content = base64.b64decode("".join(data.split()), validate=True)
    except ValueError:
        return ""
    return plain_text(decoded(content).text)


def _heading(code: str, delimiters: str) -> str:
    """Heading that OBX-3 stands for: by its suffix, its LOINC code, or its words; empty for none."""
    components = code.split(delimiters[1:2])
    suffix = components[0].split("&")[-1].strip() if "&" in components[0] else ""
    for part in (suffix, *(component.strip() for component in components)):
        if part in _SECTION_CODES:
            return _SECTION_CODES[part]
    for component in components[:2]:
        section = SECTION_OF.get(key_of(component))
        if section:
            return section.upper()
    return ""


def _composed(texts: list[tuple[str, str]]) -> str:
    """Texts below their headings; a heading that the text has already is not written again.

    What stands under no heading goes first, as the findings where others have headings and it has none itself.
    """
    groups: dict[str, list[str]] = {}
    for heading, text in sorted(texts, key=lambda one: one[0] != _BODY):
        groups.setdefault(heading, []).append(text)
    if len(groups) > 1 and _BODY in groups and not any(one.names for one in find_headings("\n".join(groups[_BODY]))):
        groups = {"FINDINGS": [*groups.pop(_BODY), *groups.pop("FINDINGS", [])], **groups}
    parts = []
    for heading, lines in groups.items():
        body = "\n".join(lines)
        own = find_headings(body)[:1]
        has_own = (
            bool(own) and not body[: own[0].start].strip() and heading.lower() in (own[0].names or (heading.lower(),))
        )
        parts.append(body if heading == _BODY or has_own else f"{heading}:\n{body}")
    return "\n\n".join(parts)


def _field(segment: str, number: int) -> str:
    """A field of MSH, whose first field is its separator."""
    fields = segment.split(segment[3:4]) if len(segment) > 3 else []  # noqa: PLR2004
    return _at(fields, number - 1)


def _at(fields: list[str], number: int) -> str:
    return fields[number] if number < len(fields) else ""


def _first(fields: list[str], number: int, delimiters: str) -> str:
    """First component of the first repetition; two double quotes say that there is none."""
    value = _at(fields, number).split(delimiters[2:3] or "~")[0].split(delimiters[1:2] or "^")[0]
    value = unescaped(value.split(delimiters[4:5] or "&")[0], delimiters).strip()
    return "" if value == '""' else value
