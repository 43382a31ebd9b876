"""DICOM Structured Reports to plain text with headings (PS3.3 A.35 and C.17.3, PS3.16 TID 2000)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from medmm.errors import Reason, ReportError
from medmm.io import elements
from medmm.io.coding import CHARACTER_SET, Code, code_of, encodings_of, text_of
from medmm.io.dataset import open_dataset
from medmm.io.header import SOP_CLASS, STUDY_UID
from medmm.io.report_headings import FINDINGS, HEADINGS, IMPRESSION, heading_of

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

REPORT_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.88.11": "Basic Text SR",
    "1.2.840.10008.5.1.4.1.1.88.22": "Enhanced SR",
    "1.2.840.10008.5.1.4.1.1.88.33": "Comprehensive SR",
    "1.2.840.10008.5.1.4.1.1.88.34": "Comprehensive 3D SR",
    "1.2.840.10008.5.1.4.1.1.88.35": "Extensible SR",
}
"""SOP classes that may hold a radiologist's report, and their names."""
OTHER_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.88.40": "a procedure log",
    "1.2.840.10008.5.1.4.1.1.88.50": "computer-aided detection in mammography",
    "1.2.840.10008.5.1.4.1.1.88.59": "a key object selection: a list of images, not a report",
    "1.2.840.10008.5.1.4.1.1.88.65": "computer-aided detection in the chest",
    "1.2.840.10008.5.1.4.1.1.88.67": "a radiation dose report",
    "1.2.840.10008.5.1.4.1.1.88.68": "a radiopharmaceutical dose report",
    "1.2.840.10008.5.1.4.1.1.88.69": "computer-aided detection in the colon",
    "1.2.840.10008.5.1.4.1.1.88.70": "an implantation plan",
    "1.2.840.10008.5.1.4.1.1.88.76": "an enhanced radiation dose report",
    "1.2.840.10008.5.1.4.1.1.104.1": "an encapsulated PDF: convert it to text first",
    "1.2.840.10008.5.1.4.1.1.104.2": "an encapsulated CDA document: convert it to text first",
}
"""SOP classes that look like reports and hold none, and what they are."""
MEASUREMENTS = "1500"
"""Template of measurement reports (PS3.16 TID 1500): numbers beside images, no radiologist's text."""
_VALUE_TYPE, _CONCEPT, _CONTENT, _RELATION = 0x0040A040, 0x0040A043, 0x0040A730, 0x0040A010
_CONTINUITY, _TEXT_VALUE, _CODE_VALUE = 0x0040A050, 0x0040A160, 0x0040A168
_MEASURED, _NUMBER, _UNITS, _REFERENCED_SOP = 0x0040A300, 0x0040A30A, 0x004008EA, 0x00081199
_COMPLETION, _VERIFICATION, _TEMPLATE, _TEMPLATE_ID = 0x0040A491, 0x0040A493, 0x0040A504, 0x0040DB00
_EVIDENCE, _OTHER_EVIDENCE, _SERIES, _SOP_UID = 0x0040A375, 0x0040A385, 0x00081115, 0x00081155
_TAGS = (
    *(SOP_CLASS, STUDY_UID, CHARACTER_SET, _VALUE_TYPE, _CONCEPT, _CONTENT, _CONTINUITY),
    *(_COMPLETION, _VERIFICATION, _TEMPLATE, _EVIDENCE, _OTHER_EVIDENCE),
)
_CONTEXT = frozenset({"HAS OBS CONTEXT", "HAS CONCEPT MOD", "HAS ACQ CONTEXT"})
"""Relationships to content that says who, whom, how and in which language, but not what was found."""
_PRIVATE = frozenset({"PNAME", "DATETIME", "DATE", "TIME", "UIDREF"})
_DEEPEST = 32
_NO_UNIT = "1"


@dataclass(frozen=True, slots=True)
class StructuredReport:
    """A report out of a DICOM object.

    Attributes:
        text: Sections in the order of the document: a heading in capitals with a colon, its text from the next line
            on, an empty line behind. Without headings it is the text alone.
        title: What the document's title code means, None where not given.
        study_uid: Study that the object belongs to.
        referenced_studies: UIDs of the studies that it is based on.
        referenced_images: SOP Instance UIDs of the objects that it refers to.
        is_complete: Whether Completion Flag is COMPLETE.
        is_verified: Whether Verification Flag is VERIFIED.
        template: Template Identifier of its root, such as ``2000``; None where not given.
    """

    text: str = field(repr=False)
    title: str | None
    study_uid: str | None = field(repr=False)
    referenced_studies: tuple[str, ...] = field(repr=False)
    referenced_images: tuple[str, ...] = field(repr=False)
    is_complete: bool
    is_verified: bool
    template: str | None = None


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of the report, and the heading that it stands under."""

    heading: str | None
    text: str


def read_structured_report(path: str | Path) -> StructuredReport:
    """Read the text of a structured report.

    TEXT, CODE (its meaning) and NUM (value and unit) are taken, with the name of their concept where it is no heading.
    Names of persons, dates, times and UIDs are left out, and so are observers, subjects and other context.

    Raises:
        ImageError: As :func:`medmm.io.dataset.open_dataset`; ``HEADER_INVALID`` where the file is cut short.
        ReportError: ``REPORT_UNREADABLE`` for an object that is no report, the error says what it is;
            ``REPORT_EMPTY`` where the report holds no text.
    """
    dataset = open_dataset(Path(path), _TAGS, with_pixels=False).dataset
    elements.require_whole(dataset, _CONTENT)
    kind = elements.text(dataset, SOP_CLASS) or ""
    if kind not in REPORT_CLASSES:
        got, expected = OTHER_CLASSES.get(kind, "an object of another kind"), ", ".join(REPORT_CLASSES.values())
        what = "the object is no structured report"
        raise ReportError(Reason.REPORT_UNREADABLE, what, where="DICOM object", got=got, expected=expected)
    encodings = encodings_of(dataset)
    images: dict[str, None] = {}
    lines = list(_lines(dataset, None, encodings, images, 0))
    text = _composed(lines)
    if not text:
        raise ReportError(Reason.REPORT_EMPTY, "the structured report holds no text", where=REPORT_CLASSES[kind])
    title = code_of(dataset, _CONCEPT, encodings)
    templates = elements.items(dataset, _TEMPLATE)
    evidence = elements.items(dataset, _EVIDENCE) + elements.items(dataset, _OTHER_EVIDENCE)
    for study in evidence:
        for series in elements.items(study, _SERIES):
            images.update(dict.fromkeys(_uids(series, _REFERENCED_SOP, _SOP_UID)))
    return StructuredReport(
        text=text,
        title=title.meaning if title and title.meaning else None,
        study_uid=elements.text(dataset, STUDY_UID),
        referenced_studies=tuple(dict.fromkeys(uid for one in evidence if (uid := elements.text(one, STUDY_UID)))),
        referenced_images=tuple(images),
        is_complete=elements.text(dataset, _COMPLETION) == "COMPLETE",
        is_verified=elements.text(dataset, _VERIFICATION) == "VERIFIED",
        template=elements.text(templates[0], _TEMPLATE_ID) if templates else None,
    )


def _lines(
    node: Dataset, heading: str | None, encodings: list[str] | None, images: dict[str, None], depth: int
) -> Iterator[_Line]:
    """Lines of all content below ``node``; the objects referred to are added to ``images``."""
    if depth > _DEEPEST:
        raise ReportError(Reason.REPORT_UNREADABLE, "content nested without end", expected=f"{_DEEPEST} levels at most")
    items = [item for item in elements.items(node, _CONTENT) if elements.text(item, _RELATION) not in _CONTEXT]
    is_sentence = bool(depth) and elements.text(node, _CONTINUITY) == "CONTINUOUS"  # PS3.3 C.18.8.1.1
    if is_sentence and (phrases := [text for item in items if (text := _value(item, encodings))]):
        yield _Line(heading, " ".join(phrases))
    for item in items:
        images.update(dict.fromkeys(_uids(item, _REFERENCED_SOP, _SOP_UID)))
        concept, kind = code_of(item, _CONCEPT, encodings), elements.text(item, _VALUE_TYPE)
        own = heading_of(concept)
        below, name = _under(heading, own, kind), None
        if own is None and kind == "CONTAINER" and concept is not None and concept.meaning:
            below, name = heading or concept.meaning.upper(), concept.meaning if heading else None
        if not is_sentence and (text := _value(item, encodings)):
            yield _Line(below, text if own else _named(concept, text, kind))
        inner = list(_lines(item, below, encodings, images, depth + 1))
        if name and inner:
            yield _Line(below, f"{name}:")
        yield from inner


def _under(heading: str | None, own: str | None, kind: str | None) -> str | None:
    """Heading of an item: its own, unless it is a value in a named section.

    TID 2000 calls values *Procedure Description* or *Finding* in the section of earlier studies and in addenda too.
    """
    if own is None or (kind != "CONTAINER" and heading in HEADINGS and (heading, own) != (FINDINGS, IMPRESSION)):
        return heading
    return own


def _named(concept: Code | None, text: str, kind: str | None) -> str:
    """A value behind its concept's name; a text alone is prose that needs none."""
    if concept is None or not concept.meaning or kind == "TEXT":
        return text
    return f"{concept.meaning}: {text}"


def _value(item: Dataset, encodings: list[str] | None) -> str:
    """What a content item says; empty for references, coordinates, and what may identify a person."""
    kind = elements.text(item, _VALUE_TYPE)
    if kind == "TEXT":
        lines = text_of(item, _TEXT_VALUE, encodings).replace("\r\n", "\n").replace("\r", "\n").split("\n")
        return "\n".join(line.rstrip() for line in lines).strip()
    if kind == "CODE":
        code = code_of(item, _CODE_VALUE, encodings)
        return code.meaning if code else ""
    return _measured(item, encodings) if kind == "NUM" else ""


def _measured(item: Dataset, encodings: list[str] | None) -> str:
    """Value and unit of a measurement; UCUM's own symbol where it has one (PS3.16 section 7.2.2)."""
    values = elements.items(item, _MEASURED)
    number = elements.text(values[0], _NUMBER) if values else None
    if not number:
        return ""
    unit = code_of(values[0], _UNITS, encodings)
    if unit is None or unit.value == _NO_UNIT:
        return number
    symbol = unit.meaning if unit.value.startswith(("{", "[")) or not unit.value else unit.value
    return f"{number}{symbol}" if symbol == "%" else f"{number} {symbol}"


def _uids(dataset: Dataset, sequence: int, tag: int) -> list[str]:
    return [uid for item in elements.items(dataset, sequence) if (uid := elements.text(item, tag))]


def _composed(lines: Sequence[_Line]) -> str:
    """Lines under their headings; a heading stands once for the lines that follow each other under it."""
    blocks: list[str] = []
    last: str | None = None
    for line in lines:
        if blocks and line.heading == last:
            blocks[-1] += f"\n{line.text}"
        else:
            blocks.append(f"{line.heading}:\n{line.text}" if line.heading else line.text)
        last = line.heading
    return "\n\n".join(blocks)
