"""FHIR R4 DiagnosticReport resources, alone or in a Bundle, to reports (https://hl7.org/fhir/R4/diagnosticreport.html).

JSON is read and nothing of it is resolved outside of the file: contained and bundled resources are looked up, links
are not.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from medmm.errors import Reason, ReportError
from medmm.reports.documents import ReportDocument
from medmm.reports.markup import Decoded, decoded, html_text, plain_text
from medmm.reports.parse import parse_report
from medmm.reports.sections import find_headings

_STATUS = {
    "registered": "preliminary", "partial": "preliminary", "preliminary": "preliminary", "final": "final",
    "amended": "corrected", "corrected": "corrected", "appended": "corrected", "cancelled": "cancelled",
    "entered-in-error": "cancelled",
}  # fmt: skip
_READABLE = ("text/plain", "text/html", "application/xhtml+xml", "text/rtf", "application/rtf", "text/richtext")
_RADIOLOGY = frozenset(("RAD", "RX", "CT", "NMR", "CUS", "NMS", "VUS", "LP29684-5", "18748-4", "394914008"))
_LABORATORY = frozenset(
    ("LAB", "HM", "CH", "MB", "SR", "PAT", "CP", "GE", "IMM", "TX", "BLB", "MCB", "VR", "TOX", "26436-6")
)
_STUDY_UID = "urn:dicom:uid"
_DEEPEST = 200


def is_fhir(text: str) -> bool:
    """Whether a text looks like a FHIR resource in JSON."""
    return text.lstrip("\ufeff \t\r\n").startswith("{") and '"resourceType"' in text[:100_000]


def read_fhir(data: bytes, refused: list[ReportError] | None = None) -> list[ReportDocument]:
    """Read the diagnostic reports of a resource, a Bundle or NDJSON; those of laboratories are left out.

    The text is ``presentedForm`` where it is plain text, HTML or RTF, further forms where they have sections that it
    lacks, else the narrative ``text.div``; ``conclusion`` is added as the impression where the text has
    none. The accession number is the identifier of type ``ACSN``, of the report or of its order or study.

    Args:
        data: The file's bytes.
        refused: Takes one error for each report of several that cannot be read.

    Raises:
        ReportError: It is no JSON, nests too deep, or holds no DiagnosticReport (``REPORT_UNREADABLE``); none of them
            holds
            text (``REPORT_EMPTY``).
    """
    parsed, was_repaired = _parsed(data)
    resources = list(_resources(parsed))
    by_reference = {name: one for one in resources for name in _names(one)} | _by_full_url(resources)
    reports = [one for one in resources if one.get("resourceType") == "DiagnosticReport"]
    if not reports:
        got = ", ".join(sorted({str(one.get("resourceType"))[:40] for one in resources})) or "no resource"
        what = "the JSON holds no diagnostic report"
        raise ReportError(Reason.REPORT_UNREADABLE, what, got=got, expected="a FHIR R4 DiagnosticReport or Bundle")
    wanted = [one for one in reports if not _is_laboratory(one)]
    errors: list[ReportError] = [] if refused is None else refused
    found = [document for one in wanted for document in _documents(one, by_reference, was_repaired, errors)]
    if not found and errors:
        raise errors[0]
    if not found:
        expected = "presentedForm as text, HTML or RTF, a narrative, or a conclusion"
        raise ReportError(Reason.REPORT_EMPTY, "no diagnostic report of the JSON holds text", expected=expected)
    return found


def _parsed(data: bytes) -> tuple[list[Any], bool]:
    """The JSON values, and whether their text had to be repaired."""
    text, was_repaired = decoded(data)
    try:
        return [json.loads(text)], was_repaired
    except RecursionError:
        pass
    except ValueError:
        try:
            lines = [json.loads(line) for line in text.splitlines() if line.strip()]
        except (ValueError, RecursionError):
            lines = []
        if len(lines) > 1:
            return lines, was_repaired
    raise ReportError(Reason.REPORT_UNREADABLE, "the JSON is malformed", expected="a FHIR R4 resource") from None


def _resources(parsed: Sequence[Any]) -> Iterator[Mapping[str, Any]]:
    """Every resource, those within bundles and contained ones too."""
    waiting = [(one, 0) for one in reversed(parsed)]
    while waiting:
        one, depth = waiting.pop()
        if not isinstance(one, Mapping) or depth > _DEEPEST:
            continue
        inner = [entry.get("resource") for entry in _maps(one.get("entry"))] + _maps(one.get("contained"))
        waiting += [(found, depth + 1) for found in reversed(inner)]
        yield one


def _by_full_url(resources: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Resources of bundles by ``entry.fullUrl``, which references name where they have no id: ``urn:uuid:…``."""
    entries = [entry for one in resources for entry in _maps(one.get("entry"))]
    named = [(entry.get("fullUrl"), entry.get("resource")) for entry in entries]
    return {url: one for url, one in named if isinstance(url, str) and isinstance(one, Mapping)}


def _names(resource: Mapping[str, Any]) -> list[str]:
    name = resource.get("id")
    return [f"{resource.get('resourceType')}/{name}", f"#{name}"] if isinstance(name, str) else []


def _documents(
    report: Mapping[str, Any], others: Mapping[str, Mapping[str, Any]], json_repaired: bool, refused: list[ReportError]
) -> Iterator[ReportDocument]:
    try:
        yield from _document(report, others, json_repaired)
    except ReportError as error:
        refused.append(error)


def _document(
    report: Mapping[str, Any], others: Mapping[str, Mapping[str, Any]], json_repaired: bool
) -> Iterator[ReportDocument]:
    text, form_repaired = _text(report)
    if not text.strip():
        return
    linked = [found for key in ("basedOn", "imagingStudy", "study") for found in _linked(report.get(key), others)]
    numbers = [_identifier(one, "ACSN") for one in (report, *linked)] + [
        _logical(report, key) for key in ("basedOn", "imagingStudy")
    ]
    mended = form_repaired or (json_repaired and not text.isascii())
    patient = next(_linked([report.get("subject")], others), None)
    status = _STATUS.get(str(report.get("status")), "unknown")
    yield ReportDocument(
        replace(parse_report(text), source_format="fhir", repaired=mended),
        next(filter(None, numbers), None),
        _patient_id(patient, report.get("subject")),
        next(filter(None, (_study_uid(one) for one in (report, *linked))), None),
        status,
    )


def _text(report: Mapping[str, Any]) -> Decoded:
    """Text of a report, and whether an attachment's had to be repaired."""
    text, was_repaired = _presented(report)
    narrative = report.get("text")
    if not text and isinstance(narrative, Mapping) and isinstance(narrative.get("div"), str):
        text = html_text(narrative["div"])
    conclusion = report.get("conclusion")
    codes = [] if isinstance(conclusion, str) and conclusion.strip() else _maps(report.get("conclusionCode"))
    said = plain_text(conclusion) if isinstance(conclusion, str) else "; ".join(filter(None, map(_meaning, codes)))
    headings = find_headings(text)
    if not said.strip() or any("impression" in heading.names for heading in headings):
        return Decoded(text, was_repaired)
    if " ".join(said.split()) in " ".join(text.split()):
        return Decoded(text, was_repaired)  # said already, under no heading or another's
    impression = said if any("impression" in one.names for one in find_headings(said)) else f"IMPRESSION: {said}"
    return Decoded(f"{text}\n\n{impression}" if text else impression, was_repaired)


def _presented(report: Mapping[str, Any]) -> Decoded:
    """The first attachment that can be read, and of further ones those with a section that is still missing."""
    text, was_repaired, known = "", False, set[str]()
    unread: ReportError | None = None
    for form in _maps(report.get("presentedForm")):
        try:
            more, repaired = _attachment(form)
        except ReportError as error:
            unread = error
            continue
        names = {name for heading in find_headings(more) for name in heading.names}
        if more.strip() and (not text or names - known):
            text = f"{text}\n\n{more}" if text else more
            was_repaired, known = was_repaired or repaired, known | names
    if unread is not None and not text and not any(report.get(key) for key in ("conclusion", "conclusionCode", "text")):
        raise unread
    return Decoded(text, was_repaired)


def _attachment(form: Mapping[str, Any]) -> Decoded:
    """Text of an attachment; empty where it is of another kind, such as a PDF, or only a link."""
    kind, _, rest = str(form.get("contentType", "")).partition(";")
    data = form.get("data")
    if kind.strip().lower() not in _READABLE or not isinstance(data, str):
        return Decoded("", False)
    try:
        content = base64.b64decode("".join(data.split()), validate=True)
    except (binascii.Error, ValueError):
        return Decoded("", False)
    charset = rest.partition("charset=")[2].strip(' "') or None
    text, was_repaired = decoded(content, charset)
    return Decoded(html_text(text) if "html" in kind else plain_text(text), was_repaired)


def _is_laboratory(report: Mapping[str, Any]) -> bool:
    codes = {
        str(coding.get("code")) for concept in _maps(report.get("category")) for coding in _maps(concept.get("coding"))
    }
    return bool(codes & _LABORATORY) and not codes & _RADIOLOGY


def _linked(references: object, others: Mapping[str, Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for one in _maps(references):
        name = one.get("reference")
        if isinstance(name, str):
            found = others.get(name) or others.get("/".join(name.split("/")[-2:]))
            if found is not None:
                yield found


def _logical(report: Mapping[str, Any], key: str) -> str | None:
    """Accession number of a reference that holds an identifier instead of a link."""
    return next(
        (
            found
            for one in _maps(report.get(key))
            if (found := _identifier({"identifier": [one.get("identifier")]}, "ACSN"))
        ),
        None,
    )


def _identifier(resource: Mapping[str, Any], kind: str) -> str | None:
    for one in _maps(resource.get("identifier")):
        concept = one.get("type")
        codings = _maps(concept.get("coding")) if isinstance(concept, Mapping) else []
        if isinstance(one.get("value"), str) and any(coding.get("code") == kind for coding in codings):
            return str(one["value"]).strip() or None
    return None


def _study_uid(resource: Mapping[str, Any]) -> str | None:
    for one in _maps(resource.get("identifier")):
        value = str(one.get("value", ""))
        if one.get("system") == _STUDY_UID and value.startswith("urn:oid:"):
            return value.removeprefix("urn:oid:")
    return None


def _patient_id(patient: Mapping[str, Any] | None, subject: object) -> str | None:
    logical = {"identifier": [subject.get("identifier")]} if isinstance(subject, Mapping) else {}
    for resource in (patient or {}, logical):
        found = _identifier(resource, "MR") or next(
            (str(one["value"]) for one in _maps(resource.get("identifier")) if isinstance(one.get("value"), str)), None
        )
        if found:
            return found
    return None


def _meaning(concept: Mapping[str, Any]) -> str:
    text = concept.get("text")
    if isinstance(text, str):
        return text
    return next((str(coding["display"]) for coding in _maps(concept.get("coding")) if coding.get("display")), "")


def _maps(value: object) -> list[Mapping[str, Any]]:
    """The JSON objects of a list; one object stands for a list of one."""
    items = value if isinstance(value, list) else [value]
    return [item for item in items if isinstance(item, Mapping)]
