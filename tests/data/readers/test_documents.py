"""Structured reports among the images of a folder."""

from __future__ import annotations

import pydicom

from medmm.config.schema import DataConfig
from medmm.data.phantom.documents import write_basic_text, write_imaging_report
from medmm.data.readers import dicom
from medmm.errors import Reason
from medmm.types import Rejection, Study

FIRST = {"findings": "Clear lungs. Normal heart.", "impression": "Normal."}
SECOND = {"findings": "Opacity.", "impression": "Pneumonia."}


def split(root, **settings):
    items = list(dicom.read(DataConfig(reader="dicom", path=root, **settings)))
    studies = {one.study_id: one for one in items if isinstance(one, Study)}
    return studies, [one for one in items if isinstance(one, Rejection)]


def image(layouts, path, study):
    layouts.write_dicom(path, study=study)
    return pydicom.dcmread(path)


def change(path, **elements):
    dataset = pydicom.dcmread(path)
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path)


def test_a_structured_report_is_the_report_of_its_study_wherever_it_lies(layouts, tmp_path):
    one, two = image(layouts, tmp_path / "z" / "1.dcm", "1.1"), image(layouts, tmp_path / "z" / "2.dcm", "1.2")
    (tmp_path / "a").mkdir()
    write_basic_text(tmp_path / "a" / "x.dcm", one, FIRST, 0, 1)
    write_imaging_report(tmp_path / "z" / "y", two, FIRST, 0, 2)
    studies, rejected = split(tmp_path)
    assert rejected == []
    assert {name: (study.report.source_format, len(study.images)) for name, study in studies.items()} == {
        "1.1": ("dicom_sr", 1),
        "1.2": ("dicom_sr", 1),
    }
    parts = {name: part.text for name, part in studies["1.1"].report.sections.items()}
    assert parts == {"findings": "Clear lungs. Normal heart.", "impression": "Normal."}
    report = studies["1.2"].report
    assert [one.text for one in report.sentences] == ["Clear lungs.", "Normal heart.", "Normal."]
    for part in (*report.sections.values(), *report.sentences):
        assert report.raw[part.start : part.end] == part.text


def test_text_and_table_go_first(layouts, tmp_path):
    source = image(layouts, tmp_path / "a" / "1.dcm", "1.1")
    write_basic_text(tmp_path / "a" / "sr.dcm", source, FIRST, 0, 1)
    (tmp_path / "a" / "report.txt").write_text("Beside.")
    studies, rejected = split(tmp_path)
    assert studies["1.1"].report.raw == "Beside."
    assert [(one.reason, one.path.name) for one in rejected] == [(Reason.REPORT_SURPLUS, "sr.dcm")]


def test_of_several_documents_the_verified_one_counts(layouts, tmp_path):
    source = image(layouts, tmp_path / "1.dcm", "1.1")
    for name, sections, complete, verified in (
        ("a.dcm", SECOND, "PARTIAL", "UNVERIFIED"),
        ("b.dcm", SECOND, "COMPLETE", "UNVERIFIED"),
        ("c.dcm", FIRST, "COMPLETE", "VERIFIED"),
    ):
        write_basic_text(tmp_path / name, source, sections, 0, 1)
        change(tmp_path / name, CompletionFlag=complete, VerificationFlag=verified)
    studies, rejected = split(tmp_path)
    assert studies["1.1"].report.sections["impression"].text == "Normal."
    assert [(one.reason, one.path.name) for one in rejected] == [
        (Reason.REPORT_SURPLUS, "b.dcm"),
        (Reason.REPORT_SURPLUS, "a.dcm"),
    ]


def test_documents_without_use_are_named(layouts, tmp_path):
    source = image(layouts, tmp_path / "1.dcm", "1.1")
    other = image(layouts, tmp_path / "other.dcm", "1.2")
    (tmp_path / "other.dcm").unlink()
    for name in ("empty.dcm", "measured.dcm", "keys.dcm", "pdf.dcm", "broken.dcm"):
        write_basic_text(tmp_path / name, source, FIRST, 0, 1)
    write_basic_text(tmp_path / "lost.dcm", other, FIRST, 0, 2)
    change(tmp_path / "empty.dcm", ContentSequence=[])
    template = pydicom.Dataset()
    template.TemplateIdentifier = "1500"
    change(tmp_path / "measured.dcm", ContentTemplateSequence=[template])
    change(tmp_path / "keys.dcm", SOPClassUID="1.2.840.10008.5.1.4.1.1.88.59", Modality="KO")
    change(tmp_path / "pdf.dcm", SOPClassUID="1.2.840.10008.5.1.4.1.1.104.1", Modality="DOC")
    data = (tmp_path / "broken.dcm").read_bytes()
    (tmp_path / "broken.dcm").write_bytes(data[: data.index(b"VERIFIED")])
    studies, rejected = split(tmp_path)
    assert studies["1.1"].report is None
    found = {one.path.name: (one.study_id, one.reason) for one in rejected}
    assert found == {
        "empty.dcm": ("1.1", Reason.REPORT_EMPTY),
        "measured.dcm": ("1.1", Reason.REPORT_EMPTY),
        "keys.dcm": ("1.1", Reason.NOT_AN_IMAGE),
        "pdf.dcm": ("1.1", Reason.NO_PIXELS),
        "broken.dcm": ("1.1", Reason.REPORT_EMPTY),
        "lost.dcm": ("1.2", Reason.REPORT_WITHOUT_IMAGE),
    }
    details = {one.path.name: one.detail for one in rejected}
    assert "key object selection" in details["keys.dcm"]
    assert "encapsulated PDF" in details["pdf.dcm"]
