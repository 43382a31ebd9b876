"""Reports of phantom studies as DICOM documents: Basic Text SR, and Enhanced SR after template TID 2000."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medmm.data.phantom.files import uid
from medmm.data.phantom.objects import TIME, item_of, reference, started

if TYPE_CHECKING:
    from pydicom import Dataset

BASIC_TEXT, ENHANCED = "1.2.840.10008.5.1.4.1.1.88.11", "1.2.840.10008.5.1.4.1.1.88.22"
_TITLE = ("18748-4", "LN", "Diagnostic Imaging Report")
_SECTIONS = {
    "indication": (("18785-6", "LN", "Indications for Procedure"), ("121060", "DCM", "History")),
    "technique": (("55111-9", "LN", "Current Procedure Descriptions"), ("121065", "DCM", "Procedure Description")),
    "comparison": (("55114-3", "LN", "Prior Procedure Descriptions"), ("121065", "DCM", "Procedure Description")),
    "findings": (("59776-5", "LN", "Findings"), ("121071", "DCM", "Finding")),
    "impression": (("19005-8", "LN", "Impressions"), ("121073", "DCM", "Impression")),
}
"""Section to the code of its container (PS3.16 CID 7001) and of the texts in it (CID 7002)."""
_OLDER = {
    "findings": ("121070", "DCM", "Findings"),
    "impression": ("121072", "DCM", "Impressions"),
    "indication": ("121109", "DCM", "Indications for Procedure"),
}
"""Codes of containers that DICOM has retired in favour of LOINC's, and that most objects in use have."""


def write_basic_text(path: Path, image: Dataset, sections: Mapping[str, str], seed: int, number: int) -> None:
    """Write a report as a Basic Text SR: a container a section, each with one text.

    Args:
        path: The file.
        image: The image that the report is about.
        sections: Section name to text, in the order of the document.
        seed: The phantom's.
        number: The study's, from which the UIDs follow.
    """
    document = _document(image, BASIC_TEXT, uid(seed, number, "basic text"), uid(seed, number, "basic text series"))
    document.ContentSequence = [
        _container(_SECTIONS[name][0], [_text(_SECTIONS[name][1], body)]) for name, body in sections.items()
    ]
    document.save_as(path, enforce_file_format=True)


def write_imaging_report(path: Path, image: Dataset, sections: Mapping[str, str], seed: int, number: int) -> None:
    """Write a report as an Enhanced SR after TID 2000: language and observer first, then a text a sentence.

    Arguments as :func:`write_basic_text`. The findings are inferred from the image.
    """
    document = _document(image, ENHANCED, uid(seed, number, "enhanced"), uid(seed, number, "enhanced series"))
    document.ContentTemplateSequence = [item_of(MappingResource="DCMR", TemplateIdentifier="2000")]
    content = [
        _content("HAS CONCEPT MOD", "CODE", ("121049", "DCM", "Language of Content Item and Descendants"),
                 ConceptCodeSequence=[_code(("eng", "RFC5646", "English"))]),
        _content("HAS OBS CONTEXT", "PNAME", ("121008", "DCM", "Person Observer Name"),
                 PersonName="Phantom^Radiologist"),
    ]  # fmt: skip
    for name, body in sections.items():
        outer, inner = _OLDER.get(name, _SECTIONS[name][0]), _SECTIONS[name][1]
        texts = [_text(inner, sentence) for sentence in _sentences(body)]
        if name == "findings" and texts:
            texts[0].ContentSequence = [
                _content("INFERRED FROM", "IMAGE", ("121080", "DCM", "Best illustration of finding"),
                         ReferencedSOPSequence=[reference(image)])
            ]  # fmt: skip
        content.append(_container(outer, texts))
    document.ContentSequence = content
    document.save_as(path, enforce_file_format=True)


def _document(image: Dataset, sop_class: str, sop_uid: str, series_uid: str) -> Dataset:
    document = started(image, sop_class, "SR", sop_uid)
    document.SeriesInstanceUID, document.SeriesNumber = series_uid, 102
    document.ContentDate, document.ContentTime = document.StudyDate, TIME
    document.ValueType, document.ContinuityOfContent = "CONTAINER", "SEPARATE"
    document.ConceptNameCodeSequence = [_code(_TITLE)]
    document.CompletionFlag, document.VerificationFlag = "COMPLETE", "VERIFIED"
    document.VerifyingObserverSequence = [
        item_of(
            VerifyingObserverName="Phantom^Radiologist",
            VerifyingOrganization="Phantom Imaging",
            VerificationDateTime=f"{document.StudyDate}{TIME}",
            VerifyingObserverIdentificationCodeSequence=[],
        )
    ]
    series = item_of(SeriesInstanceUID=image.SeriesInstanceUID, ReferencedSOPSequence=[reference(image)])
    document.CurrentRequestedProcedureEvidenceSequence = [
        item_of(StudyInstanceUID=image.StudyInstanceUID, ReferencedSeriesSequence=[series])
    ]
    document.PerformedProcedureCodeSequence, document.ReferencedPerformedProcedureStepSequence = [], []
    return document


def _container(concept: tuple[str, str, str], content: list[Dataset]) -> Dataset:
    item = _content("CONTAINS", "CONTAINER", concept, ContinuityOfContent="SEPARATE")
    item.ContentSequence = content
    return item


def _text(concept: tuple[str, str, str], text: str) -> Dataset:
    return _content("CONTAINS", "TEXT", concept, TextValue=text)


def _content(relation: str, kind: str, concept: tuple[str, str, str], **values: Any) -> Dataset:
    return item_of(RelationshipType=relation, ValueType=kind, ConceptNameCodeSequence=[_code(concept)], **values)


def _code(concept: tuple[str, str, str]) -> Dataset:
    return item_of(CodeValue=concept[0], CodingSchemeDesignator=concept[1], CodeMeaning=concept[2])


def _sentences(text: str) -> list[str]:
    """Cut behind full stops that a space follows; put together with line breaks, no word is lost."""
    lines = text.replace(". ", ".\n").split("\n")
    return [line.strip() for line in lines if line.strip()]
