"""Report files and texts to :class:`medmm.types.Report`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from medmm.errors import Reason, ReportError
from medmm.reports.language import language_of
from medmm.reports.sections import find_headings, split_sections, trimmed
from medmm.reports.sentences import split_sentences
from medmm.types import SECTIONS, Report, TextPart

_LABELS = {name.upper(): name for name in SECTIONS}


@dataclass(frozen=True, slots=True)
class OpeniReport:
    """One report of the Indiana University collection, as Open-i publishes it.

    Attributes:
        uid: The ``uId``, such as ``CXR1``.
        report: Its text: the ``AbstractText`` parts, each behind its label.
        image_ids: The ``parentImage`` ids in order, such as ``CXR1_1_IM-0001-3001``.
        mesh_major: Terms that an annotator coded, such as ``Opacity/lung/base/left``.
        mesh_automatic: Terms that a program found.
    """

    uid: str
    report: Report
    image_ids: tuple[str, ...] = ()
    mesh_major: tuple[str, ...] = field(default=())
    mesh_automatic: tuple[str, ...] = field(default=())


def parse_report(text: str) -> Report:
    """Find sections and sentences of a report's text.

    Without headings ``sections`` is empty and the sentences are those of the whole text, each with ``section`` None.

    Raises:
        ReportError: There is no text (``Reason.REPORT_EMPTY``).
    """
    if not text or text.isspace():
        raise ReportError(
            Reason.REPORT_EMPTY, "the report holds no text", fix="Give the report's text, or leave the study out."
        )
    headings = find_headings(text)
    sections, blocks = split_sections(text, headings)
    language = language_of(text, (heading.key for heading in headings))
    return Report(raw=text, sections=sections, sentences=_sentences(blocks), language=language)


def parse_openi_xml(data: bytes) -> OpeniReport:
    """Read an Open-i report.

    ``report.raw`` is ``LABEL: text`` of every part that has text, an empty line between them; all offsets refer to it.

    Raises:
        ReportError: The XML is malformed, declares entities or is no Open-i report (``Reason.REPORT_UNREADABLE``);
            none of its parts has text (``Reason.REPORT_EMPTY``).
    """
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import ParseError, fromstring

    try:
        root = fromstring(data, forbid_dtd=False, forbid_entities=True, forbid_external=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        what = "the XML is refused or malformed"
        got = type(error).__name__
        raise ReportError(Reason.REPORT_UNREADABLE, what, got=got, expected="an Open-i report") from None
    uid = root.find(".//uId")
    parts = root.findall(".//AbstractText")
    if uid is None or not uid.get("id"):
        what, got = "the XML has no uId", f"<{root.tag}>"
        raise ReportError(Reason.REPORT_UNREADABLE, what, got=got, expected="an Open-i report (<eCitation>)")
    pairs = [(str(part.get("Label") or "").strip().upper(), "".join(part.itertext()).strip()) for part in parts]
    return OpeniReport(
        uid=str(uid.get("id")),
        report=_compose([(label, text) for label, text in pairs if text]),
        image_ids=tuple(str(image.get("id")) for image in root.iter("parentImage") if image.get("id")),
        mesh_major=tuple(term.text.strip() for term in root.iterfind(".//MeSH/major") if term.text),
        mesh_automatic=tuple(term.text.strip() for term in root.iterfind(".//MeSH/automatic") if term.text),
    )


def compose_report(parts: Iterable[tuple[str, str]], source_format: str) -> Report:
    """Make a report of sections that the source keeps apart, such as the columns of a table.

    ``report.raw`` is ``LABEL: text`` of every part that has text, an empty line between them; all offsets refer to it.

    Args:
        parts: Labels in capitals (``FINDINGS``, ...; one that is no section's name is kept as text alone) and texts.
        source_format: What the parts were read from.

    Raises:
        ReportError: None of the parts has text (``Reason.REPORT_EMPTY``).
    """
    pairs = [(label, text.strip()) for label, text in parts]
    return replace(_compose([(label, text) for label, text in pairs if text]), source_format=source_format)


def read_report(path: Path | str) -> Report:
    """Read the one report of a file: see :func:`medmm.reports.files.read_report`.

    Raises:
        ReportError: There is no file (``FILE_MISSING``), it has no text (``REPORT_EMPTY``), it is binary or
            malformed, or the
            system refuses to read it (``REPORT_UNREADABLE``), it is too large (``TOO_LARGE``), or holds several
            reports (``REPORT_SHARED``).
    """
    from medmm.reports import files

    return files.read_report(path)


def _compose(pairs: list[tuple[str, str]]) -> Report:
    if not pairs:
        raise ReportError(
            Reason.REPORT_EMPTY, "none of the report's parts holds text", expected="an AbstractText with text"
        )
    raw = ""
    sections: dict[str, TextPart] = {}
    blocks: list[TextPart] = []
    for label, text in pairs:
        raw += ("\n\n" if raw else "") + (f"{label}: " if label else "")
        start = len(raw)
        raw += text
        name = _LABELS.get(label)
        block = trimmed(raw, start, len(raw), name)
        if block is not None:
            blocks.append(block)
            if name:
                sections.setdefault(name, block)
    return Report(raw=raw, sections=sections, sentences=_sentences(blocks), source_format="openi_xml")


def _sentences(blocks: list[TextPart]) -> tuple[TextPart, ...]:
    return tuple(sentence for block in blocks for sentence in split_sentences(block))
