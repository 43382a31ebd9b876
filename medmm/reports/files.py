"""Report files: what a file holds is told by its content, its name does not matter."""

from __future__ import annotations

import re
import stat
from dataclasses import replace
from pathlib import Path

from medmm.errors import Reason, ReportError
from medmm.reports.documents import ReportDocument
from medmm.reports.markup import decoded, html_text, is_html, is_rtf, rtf_text
from medmm.reports.parse import parse_openi_xml, parse_report
from medmm.types import Report

_LARGEST = 256 * 2**20
_LARGEST_TEXT = 16 * 2**20
_XML = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:\?xml|!DOCTYPE(?!\s+html)|!ENTITY|eCitation|!--)", re.IGNORECASE)
_XHTML = re.compile(rb"<html\b", re.IGNORECASE)
_KINDS = "text, HTML, RTF, Open-i's XML, HL7 v2 or FHIR JSON"


def read_reports(path: Path | str, refused: list[ReportError] | None = None) -> list[ReportDocument]:
    """Read every report of a file: plain text, HTML, RTF, Open-i's XML, HL7 v2 (ORU^R01), FHIR JSON.

    Only HL7 and FHIR hold several, and accession numbers. One of several that cannot be read does not lose the others.

    Args:
        path: The file.
        refused: Takes one error for each report of several that cannot be read.

    Raises:
        ReportError: There is no file (``FILE_MISSING``), it has no text (``REPORT_EMPTY``), it is binary or
            malformed, or the
            system refuses to read it (``REPORT_UNREADABLE``), or it is far larger than a report is (``TOO_LARGE``).
    """
    path = Path(path)
    data = _bytes(path)
    if not data.strip():
        raise ReportError(Reason.REPORT_EMPTY, "the report file is empty", expected=_KINDS)
    if data.startswith(b"%PDF") or data.startswith(b"PK\x03\x04"):
        got = "a PDF" if data.startswith(b"%") else "a ZIP or Word document"
        raise ReportError(Reason.REPORT_UNREADABLE, "the report file is no text", got=got, expected=_KINDS)
    from medmm.reports import fhir, hl7

    refused = [] if refused is None else refused
    if hl7.is_hl7(data):
        return hl7.read_hl7(data, refused)
    if (path.suffix.lower() == ".xml" or _XML.match(_narrow(data[:400]))) and not _XHTML.search(data[:1000]):
        return [ReportDocument(parse_openi_xml(data).report)]
    if len(data) > _LARGEST_TEXT and not data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        _refuse(len(data), _LARGEST_TEXT)
    text, was_repaired = decoded(data)
    if fhir.is_fhir(text) or path.suffix.lower() in {".json", ".ndjson"}:
        return fhir.read_fhir(data, refused)
    return [ReportDocument(replace(_of_text(text), repaired=was_repaired))]


def read_report(path: Path | str) -> Report:
    """Read the one report of a file; see :func:`read_reports`.

    Raises:
        ReportError: As :func:`read_reports`; the file holds several (``REPORT_SHARED``).
    """
    refused: list[ReportError] = []
    documents = read_reports(path, refused)
    number = len(documents) + len(refused)
    if number > 1:
        what, got = "the file holds several reports", f"{number} reports"
        raise ReportError(Reason.REPORT_SHARED, what, got=got, expected="one", fix="Pass the file as data.reports.")
    return documents[0].report


def _narrow(start: bytes) -> bytes:
    """ASCII of UTF-16 with a mark, so that XML is known in it too."""
    return start[2:].replace(b"\x00", b"") if start[:2] in {b"\xff\xfe", b"\xfe\xff"} else start


def _of_text(text: str) -> Report:
    if is_rtf(text):
        return replace(parse_report(rtf_text(text)), source_format="rtf")
    if is_html(text):
        return replace(parse_report(html_text(text)), source_format="html")
    return parse_report(text)


def _bytes(path: Path) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for
            what, expected = "the report is no file", "a file"
            raise ReportError(Reason.REPORT_UNREADABLE, what, got="a folder, a pipe or a device", expected=expected)
        if status.st_size > _LARGEST:
            _refuse(status.st_size, _LARGEST)
        return path.read_bytes()
    except FileNotFoundError:
        raise ReportError(Reason.FILE_MISSING, "there is no such report file", expected="a report file") from None
    except OSError as error:
        raise ReportError(Reason.REPORT_UNREADABLE, "the report file cannot be read", got=error.strerror) from None


def _refuse(size: int, limit: int) -> None:
    what = "the report file is larger than any report"
    raise ReportError(Reason.TOO_LARGE, what, got=f"{size} bytes", expected=f"at most {limit}")
