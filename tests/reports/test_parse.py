"""Reports from text, files and Open-i's XML; what cannot be read is refused with its reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from medmm.errors import Reason, ReportError
from medmm.reports.parse import parse_openi_xml, parse_report, read_report

XML = """<?xml version="1.0" encoding="utf-8"?>
<eCitation><uId id="CXR7"/><MedlineCitation><Article><Abstract>
<AbstractText Label="COMPARISON"/>
<AbstractText Label="INDICATION">INDICATION: cough &amp; fever</AbstractText>
<AbstractText Label="FINDINGS">Small left effusion. No pneumothorax.</AbstractText>
<AbstractText Label="IMPRESSION">Left effusion.</AbstractText>
</Abstract></Article></MedlineCitation>
<MeSH><major>Pleural Effusion/left</major><automatic>Effusion</automatic></MeSH>
<parentImage id="CXR7_IM-1-1001"/><parentImage id="CXR7_IM-1-2001"/></eCitation>"""


def reason_of(error: pytest.ExceptionInfo[ReportError]) -> Reason:
    return error.value.reason


def test_parse_report_keeps_offsets() -> None:
    report = parse_report("INDICATION: rule out effusion.\nFINDINGS: Clear. No effusion.\nIMPRESSION: 1. Normal.")
    assert list(report.sections) == ["indication", "findings", "impression"]
    assert [(s.section, s.text) for s in report.sentences] == [
        ("indication", "rule out effusion."),
        ("findings", "Clear."),
        ("findings", "No effusion."),
        ("impression", "Normal."),
    ]
    assert all(report.raw[part.start : part.end] == part.text for part in report.sentences)


@pytest.mark.parametrize("text", ["", " \n\t "])
def test_empty_text_is_refused(text: str) -> None:
    with pytest.raises(ReportError) as error:
        parse_report(text)
    assert reason_of(error) is Reason.REPORT_EMPTY


def test_openi_xml() -> None:
    openi = parse_openi_xml(XML.encode())
    assert openi.uid == "CXR7"
    assert openi.image_ids == ("CXR7_IM-1-1001", "CXR7_IM-1-2001")
    assert openi.mesh_major == ("Pleural Effusion/left",)
    assert openi.mesh_automatic == ("Effusion",)
    report = openi.report
    assert report.source_format == "openi_xml"
    assert {name: part.text for name, part in report.sections.items()} == {
        "indication": "INDICATION: cough & fever",
        "findings": "Small left effusion. No pneumothorax.",
        "impression": "Left effusion.",
    }
    assert all(report.raw[part.start : part.end] == part.text for part in report.sections.values())
    assert report.raw.startswith("INDICATION: INDICATION: cough & fever\n\nFINDINGS: Small")


@pytest.mark.parametrize(
    "data",
    [
        XML.encode()[:-40],
        b"\x89PNG\r\n\x1a\n\x00\x00",
        b"<html><body>FINDINGS: clear</body></html>",
        b'<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/hostname">]><eCitation><uId id="CXR1"/>&e;</eCitation>',
        b'<!DOCTYPE a [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;">]><eCitation><uId id="CXR1"/>&b;</eCitation>',
    ],
    ids=["truncated", "binary", "not openi", "external entity", "entity expansion"],
)
def test_unreadable_xml_is_refused(data: bytes) -> None:
    with pytest.raises(ReportError) as error:
        parse_openi_xml(data)
    assert reason_of(error) is Reason.REPORT_UNREADABLE


def test_openi_xml_without_text_is_empty() -> None:
    with pytest.raises(ReportError) as error:
        parse_openi_xml(b'<eCitation><uId id="CXR1"/><AbstractText Label="FINDINGS"> </AbstractText></eCitation>')
    assert reason_of(error) is Reason.REPORT_EMPTY


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1"])
def test_read_report_encodings(tmp_path: Path, encoding: str) -> None:
    text = "FINDINGS: Oedème à gauche.\nIMPRESSION: Déjà vu."
    path = tmp_path / "report.txt"
    path.write_bytes(text.encode(encoding))
    assert read_report(path).raw == text


def test_read_report_files(tmp_path: Path) -> None:
    xml = tmp_path / "1.XML"
    xml.write_text(XML)
    assert read_report(xml) == parse_openi_xml(XML.encode()).report
    for name, data, reason in [
        ("empty.txt", b"", Reason.REPORT_EMPTY),
        ("empty.xml", b"\n", Reason.REPORT_EMPTY),
        ("binary.txt", b"\x00\x01\x02 effusion", Reason.REPORT_UNREADABLE),
        ("broken.xml", b"<eCitation>", Reason.REPORT_UNREADABLE),
    ]:
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ReportError) as error:
            read_report(tmp_path / name)
        assert reason_of(error) is reason, name
        assert str(tmp_path) not in str(error.value)
    with pytest.raises(ReportError) as error:
        read_report(tmp_path / "none.txt")
    assert reason_of(error) is Reason.FILE_MISSING
