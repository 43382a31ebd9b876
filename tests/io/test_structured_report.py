"""Structured reports to text: sections, values, what stays out, and other objects."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from medmm.errors import ImageError, Reason, ReportError
from medmm.io.report_headings import HEADINGS
from medmm.io.structured_report import read_structured_report
from medmm.reports.headings import SECTION_OF, key_of
from medmm.reports.parse import parse_report
from medmm.reports.sections import find_headings

SECTIONS = ("indication", "technique", "comparison", "findings", "impression")


def item(**values):
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def code(value, meaning, scheme="DCM"):
    return item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def content(kind, concept=None, inside=(), relation="CONTAINS", **values):
    made = item(RelationshipType=relation, ValueType=kind, **values)
    if concept is not None:
        made.ConceptNameCodeSequence = [concept]
    if inside:
        made.ContentSequence = list(inside)
    return made


def text(words, concept=None, inside=(), **more):
    return content("TEXT", concept, inside, TextValue=words, **more)


def section(value, meaning, *inside, scheme="DCM", continuity="SEPARATE"):
    return content("CONTAINER", code(value, meaning, scheme), inside, ContinuityOfContent=continuity)


def number(value, unit, concept):
    measured = item(NumericValue=value, MeasurementUnitsCodeSequence=[unit])
    return content("NUM", concept, MeasuredValueSequence=[measured])


@pytest.fixture
def write_report(tmp_path):
    """Return ``write(content items, **elements) -> path``."""

    def write(*items, sop_class="1.2.840.10008.5.1.4.1.1.88.22", syntax=ExplicitVRLittleEndian, **elements):
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, generate_uid()
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.Modality = "1.2.3", "1.2.3.1", "SR"
        dataset.PatientName = "Secret^Name"
        dataset.ValueType, dataset.ContinuityOfContent = "CONTAINER", "SEPARATE"
        dataset.ConceptNameCodeSequence = [code("18748-4", "Diagnostic Imaging Report", "LN")]
        dataset.CompletionFlag, dataset.VerificationFlag = "COMPLETE", "VERIFIED"
        dataset.ContentSequence = list(items)
        for keyword, value in elements.items():
            setattr(dataset, keyword, value)
        dataset.save_as(tmp_path / "sr.dcm", enforce_file_format=True)
        return tmp_path / "sr.dcm"

    return write


def test_sections_in_the_order_of_the_document(write_report):
    path = write_report(
        section("121072", "Impressions", text("Pneumonia.", code("121073", "Impression"))),
        section("121060", "History", text("Cough.", code("121060", "History"))),
        section("121070", "Findings", text("Opacity at the left base.", code("121071", "Finding")),
                text("No effusion.", code("121071", "Finding"))),
    )  # fmt: skip
    found = read_structured_report(path)
    assert found.text == (
        "IMPRESSION:\nPneumonia.\n\nINDICATION:\nCough.\n\nFINDINGS:\nOpacity at the left base.\nNo effusion."
    )
    assert (found.title, found.study_uid, found.template) == ("Diagnostic Imaging Report", "1.2.3", None)
    sections = parse_report(found.text).sections
    assert {name: part.text for name, part in sections.items()} == {
        "impression": "Pneumonia.",
        "indication": "Cough.",
        "findings": "Opacity at the left base.\nNo effusion.",
    }


@pytest.mark.parametrize(
    ("value", "meaning", "scheme", "name"),
    [
        ("121062", "Request", "DCM", "indication"),
        ("121109", "Indications for Procedure", "DCM", "indication"),
        ("121110", "Patient Presentation", "DCM", "indication"),
        ("18785-6", "Indications for Procedure", "LN", "indication"),
        ("55752-0", "Clinical Information", "LN", "indication"),
        ("121064", "Current Procedure Descriptions", "DCM", "technique"),
        ("55111-9", "Current Procedure Descriptions", "LN", "technique"),
        ("18834-2", "Previous Findings", "LN", "comparison"),
        ("121068", "Previous Findings", "DCM", "comparison"),
        ("121066", "Prior Procedure Descriptions", "DCM", "comparison"),
        ("59776-5", "Findings", "LN", "findings"),
        ("121070", "Findings", "DCM", "findings"),
        ("19005-8", "Impressions", "LN", "impression"),
        ("121076", "Conclusions", "DCM", "impression"),
        ("55112-7", "Summary", "LN", "impression"),
        ("LOCAL1", "IMPRESSION", "99LOCAL", "impression"),
        ("LOCAL2", "Clinical history", "99LOCAL", "indication"),
    ],
)
def test_concepts_become_the_sections_that_reports_know(write_report, value, meaning, scheme, name):
    path = write_report(
        section("X", "Some section", text("Other words.")),
        section(value, meaning, text("These words.", code("121071", "Finding")), scheme=scheme),
    )
    parsed = parse_report(read_structured_report(path).text)
    assert {one: part.text for one, part in parsed.sections.items()} == {name: "These words."}


@pytest.mark.parametrize("heading", sorted(HEADINGS))
def test_every_heading_is_one_that_the_parser_knows(heading):
    (found,) = find_headings(f"{heading}:\nwords")
    section = SECTION_OF[key_of(heading)]
    assert found.names == (() if section is None else (section,))


def test_values_are_flattened_and_private_ones_left_out(write_report):
    millimetre = code("mm", "millimeter", "UCUM")
    context = "HAS OBS CONTEXT"
    path = write_report(
        content("PNAME", code("121008", "Person Observer Name"), relation=context, PersonName="Secret^Reader"),
        text("Secret ward", code("121009", "Person Observer's Organization"), relation=context),
        content("CODE", code("121049", "Language"), relation="HAS CONCEPT MOD",
                ConceptCodeSequence=[code("eng", "English", "RFC5646")]),
        section("121070", "Findings",
                content("CODE", code("121071", "Finding"),
                        ConceptCodeSequence=[code("27925004", "Nodule", "SCT")],
                        inside=[number("12.5", millimetre, code("81827009", "Diameter", "SCT")),
                                content("CODE", code("272741003", "Laterality", "SCT"), relation="HAS CONCEPT MOD",
                                        ConceptCodeSequence=[code("7771000", "Left", "SCT")])]),
                number("35", code("%", "percent", "UCUM"), code("1", "Stenosis")),
                number("3", code("1", "no units", "UCUM"), code("2", "Count")),
                number("4", code("{nodules}", "nodules", "UCUM"), code("3", "Number")),
                content("DATETIME", code("4", "Seen"), DateTime="20200102030405"),
                content("DATE", code("4", "Seen"), Date="20200102"),
                content("TIME", code("4", "Seen"), Time="030405"),
                content("UIDREF", code("5", "Tracking"), UID="1.2.3.4.5"),
                content("PNAME", code("6", "Told to"), PersonName="Secret^Doctor"),
                content("SCOORD", code("7", "Outline"), GraphicType="POINT", GraphicData=[1.0, 2.0])),
    )  # fmt: skip
    assert read_structured_report(path).text == (
        "FINDINGS:\nNodule\nDiameter: 12.5 mm\nStenosis: 35%\nCount: 3\nNumber: 4 nodules"
    )


def test_phrases_of_a_continuous_container_are_one_sentence(write_report):
    millimetre = code("mm", "millimeter", "UCUM")
    path = write_report(
        section("121070", "Findings", text("A nodule of"), number("8", millimetre, code("1", "Diameter")),
                text("is seen."), continuity="CONTINUOUS"),
    )  # fmt: skip
    assert read_structured_report(path).text == "FINDINGS:\nA nodule of 8 mm is seen."


def test_containers_in_containers(write_report):
    path = write_report(
        section("121070", "Findings",
                section("39607008", "Lungs", text("Clear.", code("121071", "Finding")), scheme="SCT"),
                section("1", "Nothing here", section("2", "Nor here")),
                section("80891009", "Heart", text("Normal."), scheme="SCT"),
                text("Normal chest.", code("121073", "Impression"))),
        section("121066", "Prior Procedure Descriptions",
                text("Radiograph of last year.", code("121065", "Procedure Description"))),
        section("121078", "Addendum", text("Telephoned.", code("121071", "Finding"))),
    )  # fmt: skip
    assert read_structured_report(path).text == (
        "FINDINGS:\nLungs:\nClear.\nHeart:\nNormal.\n\nIMPRESSION:\nNormal chest.\n\n"
        "COMPARISON:\nRadiograph of last year.\n\nADDENDUM:\nTelephoned."
    )


def test_plain_text_with_its_own_headings(write_report):
    words = "FINDINGS: Clear lungs.\r\nIMPRESSION: Normal.\r\n"
    for items in ([text(words)], [section("X", "Report text", text(words, code("Y", "Body")))]):
        found = read_structured_report(write_report(*items, sop_class="1.2.840.10008.5.1.4.1.1.88.11"))
        assert found.text.endswith("FINDINGS: Clear lungs.\nIMPRESSION: Normal.")
        assert parse_report(found.text).sections["impression"].text == "Normal."


@pytest.mark.parametrize(
    ("charset", "words"),
    [
        ("ISO_IR 192", "Verschattung rechts, Größe 3 cm; 肺炎。"),
        ("ISO_IR 100", "Größe: unverändert \\ kleiner"),
        ("ISO_IR 144", "Без изменений"),
        (["", "ISO 2022 IR 87"], "肺炎の疑い\r\n胸水なし"),
        ("GB18030", "双肺纹理清晰"),
    ],
)
def test_character_sets(write_report, charset, words):
    path = write_report(section("121070", "Findings", text(words)), SpecificCharacterSet=charset)
    assert read_structured_report(path).text == "FINDINGS:\n" + words.replace("\r\n", "\n")


def test_text_in_utf8_that_no_character_set_announces(write_report):
    path = write_report(section("121070", "Findings", text("placeholder")), SpecificCharacterSet="ISO_IR 192")
    unnamed = path.read_bytes().replace(b"ISO_IR 192", b"          ")
    path.write_bytes(unnamed.replace(b"placeholder", "Größe x x".encode()))
    assert read_structured_report(path).text == "FINDINGS:\nGröße x x"


def test_references_and_flags(write_report):
    image = item(ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.1.1", ReferencedSOPInstanceUID="1.2.3.7")
    evidence = item(StudyInstanceUID="1.2.5", ReferencedSeriesSequence=[
        item(SeriesInstanceUID="1.2.6", ReferencedSOPSequence=[
            item(ReferencedSOPClassUID="1.2", ReferencedSOPInstanceUID="1.2.8")])])  # fmt: skip
    path = write_report(
        section("121070", "Findings",
                text("Clear.", inside=[content("IMAGE", relation="INFERRED FROM", ReferencedSOPSequence=[image])])),
        CurrentRequestedProcedureEvidenceSequence=[evidence],
        CompletionFlag="PARTIAL", VerificationFlag="UNVERIFIED",
        ContentTemplateSequence=[item(MappingResource="DCMR", TemplateIdentifier="2000")],
    )  # fmt: skip
    found = read_structured_report(path)
    assert (found.referenced_studies, found.referenced_images) == (("1.2.5",), ("1.2.3.7", "1.2.8"))
    assert (found.is_complete, found.is_verified, found.template) == (False, False, "2000")
    assert "Clear" not in repr(found)
    assert "1.2.3" not in repr(found)


@pytest.mark.parametrize(
    ("sop_class", "words"),
    [
        ("1.2.840.10008.5.1.4.1.1.88.59", "key object"),
        ("1.2.840.10008.5.1.4.1.1.104.1", "encapsulated PDF"),
        ("1.2.840.10008.5.1.4.1.1.88.67", "radiation dose"),
        ("1.2.840.10008.5.1.4.1.1.88.50", "computer-aided detection"),
        ("1.2.840.10008.5.1.4.1.1.2", "another kind"),
    ],
)
def test_other_objects_are_refused_by_name(write_report, sop_class, words):
    with pytest.raises(ReportError, match=words) as refused:
        read_structured_report(write_report(text("Words."), sop_class=sop_class))
    assert refused.value.reason is Reason.REPORT_UNREADABLE


def test_a_report_without_text_is_refused(write_report):
    with pytest.raises(ReportError) as refused:
        read_structured_report(write_report(section("121070", "Findings"), text(" \r\n ")))
    assert refused.value.reason is Reason.REPORT_EMPTY


def test_content_without_end_is_refused(write_report):
    nested = text("Deep.")
    for _ in range(60):
        nested = section("X", "Again", nested)
    with pytest.raises(ReportError) as refused:
        read_structured_report(write_report(nested))
    assert refused.value.reason is Reason.REPORT_UNREADABLE


@pytest.mark.parametrize("lengths", ["given", "undefined"])
def test_half_a_report_is_none(write_report, tmp_path, lengths):
    findings = section("121070", "Findings", text("Opacity."), text("No effusion."))
    if lengths == "undefined":
        findings["ContentSequence"].is_undefined_length = True
    path = write_report(findings, section("121072", "Impressions", text("Pneumonia.")))
    dataset = pydicom.dcmread(path)
    dataset["ContentSequence"].is_undefined_length = lengths == "undefined"
    dataset.save_as(path)
    data = path.read_bytes()
    assert read_structured_report(path).text == "FINDINGS:\nOpacity.\nNo effusion.\n\nIMPRESSION:\nPneumonia."
    for length in range(300, len(data), 3):
        (tmp_path / "cut.dcm").write_bytes(data[:length])
        with pytest.raises((ImageError, ReportError)):
            read_structured_report(tmp_path / "cut.dcm")


@pytest.mark.slow
def test_mutants_are_read_or_refused(write_report, tmp_path):
    data = write_report(
        section("121070", "Findings", text("Opacity.", code("121071", "Finding")), text("Größe.")),
        section("121072", "Impressions", number("8", code("mm", "millimeter", "UCUM"), code("1", "Diameter"))),
        SpecificCharacterSet="ISO_IR 192",
    ).read_bytes()
    rng, refusals = np.random.default_rng(0), 0
    for count in range(400):
        mutant = bytearray(data[: rng.integers(200, len(data))] if count % 3 == 0 else data)
        for _ in range(int(rng.integers(1, 12))):
            mutant[rng.integers(132, len(mutant))] = rng.integers(0, 256)
        (tmp_path / "m.dcm").write_bytes(mutant)
        try:
            read_structured_report(tmp_path / "m.dcm")
        except (ImageError, ReportError):
            refusals += 1
    assert refusals > 50


@pytest.mark.skipif(shutil.which("dsrdump") is None, reason="dcmtk's dsrdump is not installed")
def test_dcmtk_reads_the_same_texts(write_report):
    path = write_report(
        section("121070", "Findings", text("Opacity at the left base.", code("121071", "Finding"))),
        section("121072", "Impressions", text("Pneumonia.", code("121073", "Impression"))),
        PatientID="", PatientBirthDate="", PatientSex="", StudyDate="", StudyTime="", AccessionNumber="",
        ReferringPhysicianName="", StudyID="", SeriesNumber=1, InstanceNumber=1, ContentDate="20200101",
        ContentTime="120000", PerformedProcedureCodeSequence=[], ReferencedPerformedProcedureStepSequence=[],
        VerificationFlag="UNVERIFIED", Manufacturer="",
    )  # fmt: skip
    told = subprocess.run(["dsrdump", "+Pl", str(path)], capture_output=True, text=True, check=True).stdout
    lines = read_structured_report(path).text.replace("\n\n", "\n").split("\n")
    assert lines == ["FINDINGS:", "Opacity at the left base.", "IMPRESSION:", "Pneumonia."]
    for line in lines[1::2]:
        assert f'="{line}">' in told


@pytest.mark.shared
def test_shared_reports(shared: Path):
    folder = shared / "dicom" / "odd"
    found = read_structured_report(folder / "test-SR.dcm")
    assert (found.title, found.is_complete, found.is_verified) == ("Diagnosis", True, True)
    lines = found.text.split("\n")
    assert lines[:4] == ["A mass of 3 cm was detected.", "A mass of", "Diameter: 3 cm", "was detected."]
    assert lines[4:7] == ["Sample Text", "A", "B"]
    assert "§" in found.text
    expected = pydicom.dcmread(folder / "test-SR.dcm").ContentSequence[1].ContentSequence[0].TextValue
    assert expected == "A mass of"
    for name in ("reportsi.dcm", "reportsi_with_empty_number_tags.dcm"):
        found = read_structured_report(folder / name)
        assert found.text == "SECTION HEADING:\nEnter text"
        assert not found.is_verified
    for name in ("rtstruct.dcm", "CT_small.dcm", "liver.dcm", "color-pl.dcm"):
        with pytest.raises(ReportError) as refused:
            read_structured_report(folder / name)
        assert refused.value.reason is Reason.REPORT_UNREADABLE
