"""A folder of DICOM studies: grouping, whose report it is, and what is set aside."""

from __future__ import annotations

import os
import re
import shutil

import pytest

from medmm.config.schema import DataConfig
from medmm.data.readers import dicom
from medmm.errors import DataError, Reason
from medmm.types import Laterality, Rejection, Study


def split(config):
    items = list(dicom.read(config))
    return [one for one in items if isinstance(one, Study)], [one for one in items if isinstance(one, Rejection)]


def reports(studies):
    return {study.study_id: study.report and study.report.raw for study in studies}


def at(root, **settings):
    return DataConfig(reader="dicom", path=root, **settings)


def test_header_becomes_a_study(layouts, tmp_path):
    layouts.write_dicom(tmp_path / "x", study="1.2.3", ImageLaterality="L")
    (study,), rejected = split(at(tmp_path))
    assert rejected == []
    assert (study.study_id, study.sex, study.age_band, study.device, study.report) == (
        "1.2.3",
        "F",
        "60-69",
        "Maker One",
        None,
    )
    (image,) = study.images
    assert (image.path, image.sop_uid, image.series_uid) == (tmp_path / "x", "1.2.3.9.1", "1.2.3.5")
    assert (image.modality, image.view, image.laterality) == ("DX", "PA", Laterality.LEFT)
    assert (image.rows, image.columns, image.frames, image.spacing_mm) == (16, 12, 1, (0.5, 0.25))


def test_files_of_a_study_belong_together_wherever_they_lie(layouts, tmp_path):
    layouts.write_dicom(tmp_path / "a" / "1.dcm", study="1.1", number=1)
    layouts.write_dicom(tmp_path / "a" / "2.dcm", study="1.2", number=1)
    layouts.write_dicom(tmp_path / "b" / "3.dcm", study="1.1", number=2)
    studies, _ = split(at(tmp_path))
    assert {study.study_id: [image.sop_uid for image in study.images] for study in studies} == {
        "1.1": ["1.1.9.1", "1.1.9.2"],
        "1.2": ["1.2.9.1"],
    }


def test_without_a_study_uid_the_series_counts_and_without_any_the_file(layouts, tmp_path):
    for number in (1, 2):
        layouts.write_dicom(tmp_path / f"{number}.dcm", study="1.1", number=number, StudyInstanceUID=None)
    layouts.write_dicom(tmp_path / "in" / "3.dcm", study="1.2", StudyInstanceUID=None, SeriesInstanceUID=None)
    for number in (3, 4):
        layouts.write_dicom(tmp_path / "ct" / f"{number}", study="1.3", number=number, StudyInstanceUID=None,
                            SeriesInstanceUID=None, Modality="CT")  # fmt: skip
    studies, _ = split(at(tmp_path))
    assert {study.study_id: len(study.images) for study in studies} == {"1.1.5": 2, "in/3.dcm": 1, "ct": 2}


def test_time_is_kept_as_days_and_earlier_studies(layouts, tmp_path):
    layouts.dicom(tmp_path)
    studies, _ = split(at(tmp_path))
    found = {study.study_id: (study.days, study.priors) for study in studies}
    assert found["1.2.3.1"] == (0, ())
    assert found["1.2.3.5"] == (1461, ("1.2.3.1",))  # 2020-01-31 to 2024-01-31
    assert found["1.2.3.2"] == (0, ())


def test_report_in_the_studys_folder(layouts, tmp_path):
    config = layouts.dicom(tmp_path)
    studies, rejected = split(config)
    texts = [re.sub("</?b>", "", text) for text in layouts.REPORTS]  # tags are no part of a report
    assert reports(studies) == {f"1.2.3.{number + 1}": texts[number % 4] for number in range(5)}
    assert rejected == []


def test_report_above_series_folders_and_by_stem_and_by_name(layouts, tmp_path):
    layouts.write_dicom(tmp_path / "above" / "series1" / "1.dcm", study="1.1")
    (tmp_path / "above" / "report.txt").write_text("Above.")
    for name, study in (("a", "1.2"), ("b", "1.3")):
        layouts.write_dicom(tmp_path / "shared" / f"{name}.dcm", study=study)
        (tmp_path / "shared" / f"{name}.txt").write_text(f"By stem {name}.")
    layouts.write_dicom(tmp_path / "dicoms" / "S4" / "1.dcm", study="1.4")
    layouts.write_dicom(tmp_path / "dicoms" / "S5" / "1.dcm", study="1.5", AccessionNumber="ACC5")
    layouts.write_dicom(tmp_path / "dicoms" / "S6" / "1.dcm", study="1.6")
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "S4.txt").write_text("By folder.")
    (tmp_path / "reports" / "ACC5.txt").write_text("By accession.")
    (tmp_path / "reports" / "1.6.xml").write_bytes(layouts.openi_xml("CXR6", [], "By UID.", None))
    studies, rejected = split(at(tmp_path))
    assert reports(studies) == {
        "1.1": "Above.", "1.2": "By stem a.", "1.3": "By stem b.", "1.4": "By folder.", "1.5": "By accession.",
        "1.6": "COMPARISON: None.\n\nFINDINGS: By UID.",
    }  # fmt: skip
    assert rejected == []


def test_report_of_several_studies_and_report_of_none(layouts, tmp_path):
    for name, study in (("a", "1.2"), ("b", "1.3")):
        layouts.write_dicom(tmp_path / "both" / f"{name}.dcm", study=study)
    (tmp_path / "both" / "report.txt").write_text("Whose?")
    (tmp_path / "lost").mkdir()
    (tmp_path / "lost" / "report.txt").write_text("Nobody's.")
    (tmp_path / "README.txt").write_text("About this folder.")
    studies, rejected = split(at(tmp_path))
    assert reports(studies) == {"1.2": None, "1.3": None}
    assert {(one.path.parent.name, one.reason) for one in rejected} == {
        ("both", Reason.REPORT_SHARED),
        ("lost", Reason.REPORT_WITHOUT_IMAGE),
    }


def test_one_study_has_one_report(layouts, tmp_path):
    layouts.write_dicom(tmp_path / "s" / "1.dcm", study="1.1")
    (tmp_path / "s" / "a.txt").write_text("First.")
    (tmp_path / "s" / "a.xml").write_bytes(layouts.openi_xml("CXR1", [], "First as XML.", None))
    (tmp_path / "s" / "b.txt").write_text("Second.")
    studies, rejected = split(at(tmp_path))
    assert reports(studies) == {"1.1": "First."}
    assert [(one.reason, one.path.name) for one in rejected] == [(Reason.REPORT_SURPLUS, "b.txt")]


def test_report_files_without_use(layouts, tmp_path):
    for number, data in enumerate([b"", b" \n", b"\x00\x01binary", b"<eCitation><broken"]):
        layouts.write_dicom(tmp_path / f"{number}" / "1.dcm", study=f"1.{number}")
        (tmp_path / f"{number}" / ("r.xml" if data.startswith(b"<") else "r.txt")).write_bytes(data)
    studies, rejected = split(at(tmp_path))
    assert set(reports(studies).values()) == {None}
    assert [(one.study_id, one.reason) for one in rejected] == [
        ("1.0", Reason.REPORT_EMPTY), ("1.1", Reason.REPORT_EMPTY),
        ("1.2", Reason.REPORT_UNREADABLE), ("1.3", Reason.REPORT_UNREADABLE),
    ]  # fmt: skip


def test_table_of_reports_is_joined_by_accession_and_wins(layouts, tmp_path):
    for number in range(1, 5):
        accession = "A3" if number == 4 else f"A{number}"
        layouts.write_dicom(tmp_path / "d" / f"{number}" / "1.dcm", study=f"1.{number}", AccessionNumber=accession)
    (tmp_path / "d" / "1" / "r.txt").write_text("From the file.")
    rows = [
        {"acc": "A1", "text": "From the table."}, {"acc": "A2", "text": ""}, {"acc": "A3", "text": "Two studies'."},
        {"acc": "A9", "text": "No study's."}, {"acc": "A1", "text": "Again."},
    ]  # fmt: skip
    path = layouts.write_csv(tmp_path / "reports.csv", rows)
    studies, rejected = split(at(tmp_path / "d", reports=path, accession_column="acc", report_column="text"))
    assert reports(studies) == {"1.1": "From the table.", "1.2": None, "1.3": None, "1.4": None}
    assert [(one.study_id, one.reason) for one in rejected] == [
        ("1.2", Reason.REPORT_EMPTY), ("A3", Reason.REPORT_SHARED), ("A9", Reason.REPORT_WITHOUT_IMAGE),
        ("1.1", Reason.REPORT_SURPLUS),
    ]  # fmt: skip
    assert [one.path for one in rejected if one.reason is Reason.REPORT_SURPLUS] == [None]  # the row, not the file


def test_beside_a_table_of_reports_text_files_are_no_reports(layouts, tmp_path):
    for number in (1, 2, 3):
        layouts.write_dicom(tmp_path / f"{number}" / "1.dcm", study=f"1.{number}", AccessionNumber=f"A{number}")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("No study's.")
    (tmp_path / "all.txt").write_text("Several studies'.")
    (tmp_path / "2" / "protocol.xml").write_text("<broken")
    (tmp_path / "3" / "protocol.txt").write_text("kV 120")
    (tmp_path / "3" / "r.txt").write_text("IMPRESSION: Named by the table.")
    rows = [{"accession": "A1", "report": "Normal."}, {"accession": "A3", "report": "3/r.txt"}]
    path = layouts.write_csv(tmp_path.parent / "reports.csv", rows)
    studies, rejected = split(at(tmp_path, reports=path))
    assert reports(studies) == {"1.1": "Normal.", "1.2": None, "1.3": "IMPRESSION: Named by the table."}
    assert rejected == []


def test_table_of_reports_may_name_files(layouts, tmp_path):
    layouts.write_dicom(tmp_path / "d" / "1.dcm", study="1.1")
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "one.txt").write_text("IMPRESSION: Normal.")
    path = layouts.write_csv(tmp_path / "reports.csv", [{"accession": "A1", "report": "texts/one.txt"}])
    studies, _ = split(at(tmp_path / "d", reports=path))
    assert reports(studies) == {"1.1": "IMPRESSION: Normal."}


def test_wrong_columns_of_the_table_of_reports(layouts, tmp_path):
    layouts.write_dicom(tmp_path / "1.dcm", study="1.1")
    path = layouts.write_csv(tmp_path / "reports.csv", [{"Number": "A1", "Text": "x"}])
    with pytest.raises(
        DataError,
        match="data.accession_column=accession, data.report_column=report; expected one of the columns Number, Text",
    ):
        dicom.read(at(tmp_path, reports=path))
    with pytest.raises(DataError, match=r"data.reports.*no such file"):
        dicom.read(at(tmp_path, reports=tmp_path / "gone.csv"))


def test_broken_files_are_set_aside_and_others_passed_over(layouts, tmp_path):
    whole = layouts.write_dicom(tmp_path / "whole.dcm", study="1.1").read_bytes()
    (tmp_path / "empty.dcm").write_bytes(b"")
    (tmp_path / "text.dcm").write_text("not what the name says")
    (tmp_path / "noise").write_bytes(bytes(range(256)) * 4)
    (tmp_path / "list.csv").write_text("a,b\n1,2\n")
    (tmp_path / ".hidden.dcm").write_bytes(whole)
    (tmp_path / "photo.png").write_bytes(whole)  # DICOM in spite of its name, and a copy of the same image
    layouts.write_dicom(tmp_path / "sr.dcm", study="1.1", number=5, Modality="SR")
    studies, rejected = split(at(tmp_path))
    assert [image.path.name for image in studies[0].images] == ["photo.png"]
    assert {one.path.name: one.reason for one in rejected} == {
        "empty.dcm": Reason.FILE_EMPTY, "text.dcm": Reason.FILE_UNREADABLE, "noise": Reason.NOT_AN_IMAGE,
        "list.csv": Reason.NOT_AN_IMAGE, "sr.dcm": Reason.NO_PIXELS, "whole.dcm": Reason.IMAGE_DUPLICATE,
    }  # fmt: skip


def test_segmentations_are_masks_and_companions_are_no_failures(layouts, tmp_path):
    layouts.write_dicom(tmp_path / "ct.dcm", study="1.1", Modality="CT")
    for number, (name, modality) in enumerate(
        (("b.dcm", "SEG"), ("a.dcm", "SEG"), ("rt.dcm", "RTSTRUCT"), ("pr.dcm", "PR"), ("plan.dcm", "RTPLAN")), 2
    ):
        layouts.write_dicom(tmp_path / name, study="1.1", number=number, Modality=modality)
    layouts.write_dicom(tmp_path / "alone.dcm", study="1.9", Modality="SEG")
    (study,), rejected = split(at(tmp_path))
    assert [image.path.name for image in study.images] == ["ct.dcm"]
    assert {name: path.name for name, path in study.masks.items()} == {
        "segmentation": "a.dcm", "segmentation_2": "b.dcm", "structure_set": "rt.dcm",
    }  # fmt: skip
    assert {one.path.name: one.reason for one in rejected} == dict.fromkeys(
        ("pr.dcm", "plan.dcm", "alone.dcm"), Reason.NOT_AN_IMAGE
    )


def test_a_report_older_than_its_image_says_so(layouts, tmp_path):
    for number, line in ((1, "Report date: 2020-01-29"), (2, "Signed: 2020-02-02"), (3, "FINDINGS 2019-01-01")):
        folder = tmp_path / str(number)
        layouts.write_dicom(folder / "1.dcm", study=f"1.{number}", StudyDate="20200131")
        (folder / "report.txt").write_text(f"{line}\nFINDINGS: Clear.")
    studies, _ = split(at(tmp_path))
    assert [study.report.days_after for study in studies] == [-2, 2, None]


def test_the_reports_table_may_say_their_day(layouts, tmp_path):
    layouts.write_dicom(tmp_path / "in" / "1.dcm", study="1.1", StudyDate="20200131", AccessionNumber="A1")
    rows = [{"accession": "A1", "report": "FINDINGS: Clear.", "made": "2020-01-30 08:15"}]
    table = layouts.write_csv(tmp_path / "reports.csv", rows)
    (study,), _ = split(at(tmp_path / "in", reports=table, report_date_column="made"))
    assert study.report.days_after == -1
    with pytest.raises(DataError, match="report_date_column"):
        dicom.read(at(tmp_path / "in", reports=table, report_date_column="day"))


def test_linked_folders_are_read_once(layouts, tmp_path):
    layouts.write_dicom(tmp_path / "elsewhere" / "1.dcm", study="1.2")
    layouts.write_dicom(tmp_path / "in" / "own" / "1.dcm", study="1.1")
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in" / "again").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in" / "own" / "round").symlink_to(tmp_path / "in")
    studies, rejected = split(at(tmp_path / "in"))
    assert sorted((one.study_id, len(one.images)) for one in studies) == [("1.1", 1), ("1.2", 1)]
    assert rejected == []


@pytest.mark.timeout(20)
def test_a_pipe_is_not_waited_for(layouts, tmp_path):
    layouts.write_dicom(tmp_path / "1.dcm", study="1.1")
    for name in ("pipe", "pipe.dcm", "pipe.txt", "pipe.csv", "pipe.json"):
        os.mkfifo(tmp_path / name)
    (study,), rejected = split(at(tmp_path))
    assert [image.path.name for image in study.images] == ["1.dcm"]
    assert {"pipe", "pipe.dcm", "pipe.txt"} <= {one.path.name for one in rejected}


def test_study_of_two_patients(layouts, tmp_path):
    layouts.write_dicom(tmp_path / "1.dcm", study="1.1", number=1, patient="DOE")
    layouts.write_dicom(tmp_path / "2.dcm", study="1.1", number=2, patient="ROE")
    studies, rejected = split(at(tmp_path))
    assert studies == []
    assert [(one.study_id, one.reason) for one in rejected] == [("1.1", Reason.HEADER_INVALID)]


def test_study_without_patient_is_one_of_its_own(layouts, tmp_path):
    for study in ("1.1", "1.2"):
        layouts.write_dicom(tmp_path / f"{study}.dcm", study=study, patient="")
    studies, _ = split(at(tmp_path))
    assert len({study.patient_key for study in studies}) == 2


def test_an_image_without_patient_is_its_studys(layouts, tmp_path):
    for name, patient in (("a", "P6"), ("b", "")):
        layouts.write_dicom(tmp_path / f"{name}.dcm", study="1.6", patient=patient)
    studies, rejected = split(at(tmp_path))
    assert ([len(study.images) for study in studies], rejected) == ([2], [])


def test_name_that_is_no_text_is_set_aside(layouts, tmp_path):
    good = layouts.write_dicom(tmp_path / "good.dcm", study="1.1")
    shutil.copy(good, os.fsencode(tmp_path) + b"/M\xfcller.dcm")
    studies, rejected = split(at(tmp_path))
    assert len(studies[0].images) == 1
    assert [(one.reason, one.tag[:6]) for one in rejected] == [(Reason.FILE_UNREADABLE, "study#")]


@pytest.mark.parametrize("files", [[], ["a.png", "b.png", "notes.txt"], [".hidden"]])
def test_folder_without_dicom(tmp_path, files):
    for name in files:
        (tmp_path / name).write_text("x")
    with pytest.raises(DataError, match="folder is empty" if not files else "no DICOM image") as caught:
        list(dicom.read(at(tmp_path)))
    if "a.png" in files:
        assert "2 x .png" in str(caught.value)


def test_a_file_is_no_folder(layouts, tmp_path):
    with pytest.raises(DataError, match="not a folder"):
        dicom.read(at(layouts.write_dicom(tmp_path / "1.dcm", study="1.1")))


@pytest.mark.shared
def test_shared_dicom_files_all_end_as_image_or_reason(shared):
    studies, rejected = split(at(shared / "dicom"))
    files = [path for path in (shared / "dicom").rglob("*") if path.is_file()]
    images = [path for study in studies for image in study.images for path in image.slices or (image.path,)]
    assert len(images) == len(set(images))
    assert sorted(images + [one.path for one in rejected]) == sorted(files)
    series = [study for study in studies if any("ct_series" in str(image.path) for image in study.images)]
    (volume,) = [image for study in series for image in study.images]
    assert sorted(volume.slices) == sorted((shared / "dicom" / "ct_series").iterdir())
