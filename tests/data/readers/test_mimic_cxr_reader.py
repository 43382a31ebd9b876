"""MIMIC-CXR: folders with and without the tables, DICOM and JPEG, and what is set aside."""

from __future__ import annotations

import gzip
import random

import pydicom
import pytest

from medmm.config.schema import DataConfig
from medmm.data.readers import mimic_cxr
from medmm.data.readers._chexpert import observed
from medmm.errors import DataError, Reason
from medmm.reports.parse import parse_report
from medmm.types import Finding, Rejection, Status, Study

TEXT = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 INDICATION:  ___F with new onset of cough  // eval for pneumonia

 COMPARISON:  ___

 FINDINGS:

 PA and lateral views are provided.  There is a small left pleural effusion.  No
 pneumothorax.

 IMPRESSION:

 Small left effusion.
"""


def split(config):
    items = list(mimic_cxr.read(config))
    return [one for one in items if isinstance(one, Study)], [one for one in items if isinstance(one, Rejection)]


def rewrite(path, change):
    """Change the lines of a compressed table."""
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    path.write_bytes(gzip.compress("\n".join(change(lines)).encode() + b"\n"))


def table(root, name):
    return root / f"mimic-cxr-2.0.0-{name}.csv.gz"


def place(root, number):
    (folder,) = root.glob(f"files/p10/*/s5000000{number}")
    return folder


def test_the_tables_are_used(layouts, tmp_path):
    studies, rejected = split(layouts.mimic_cxr(tmp_path))
    assert rejected == []
    assert {study.study_id: study.split for study in studies} == {
        "s50000000": "train", "s50000001": "val", "s50000002": "test", "s50000003": "train", "s50000004": "train"
    }  # fmt: skip
    for study in studies:
        (image,) = study.images
        header = pydicom.dcmread(image.path, stop_before_pixels=True)
        assert (image.view, image.rows, image.columns) == (header.ViewPosition, header.Rows, header.Columns)
        assert image.sop_uid == image.path.stem
    keys = {study.study_id: study.patient_key for study in studies}
    assert len(set(keys.values())) == 4
    again = [study for study in studies if study.priors]
    assert [(study.study_id, study.priors, study.days > 0) for study in again] == [
        ("s50000004", ("s50000000",), True)
    ]  # as the phantom's first block of five has it
    assert keys["s50000004"] == keys["s50000000"]


def test_the_labels_of_the_report(layouts, tmp_path):
    config = layouts.mimic_cxr(tmp_path)
    rewrite(
        table(tmp_path, "chexpert"),
        lambda lines: [lines[0], "1,50000000" + ",1.0,0.0,-1.0,,,,,,,,,,,", *lines[2:4], "1,50000003,2" + "," * 13],
    )
    studies, rejected = split(config)
    found = {study.study_id: study.findings for study in studies}
    assert found["s50000000"] == {
        "atelectasis": Finding(Status.PRESENT),
        "cardiomegaly": Finding(Status.ABSENT),
        "consolidation": Finding(Status.UNCERTAIN),
    }
    assert found["s50000003"] == found["s50000004"] == {}
    assert [(one.study_id, one.reason) for one in rejected] == [("labels row 4", Reason.ROW_INVALID)]
    table(tmp_path, "chexpert").unlink()
    studies, _ = split(config)
    assert all("no_finding" in study.findings or len(study.findings) > 1 for study in studies)  # NegBio's


def test_names_of_the_observations():
    row = {"Lung Opacity": "1.0", "Pleural Other": "1", "Fracture": "-1", "Support Devices": "", "No Finding": "0"}
    assert {name: str(one.status) for name, one in observed(row).items()} == {
        "opacity": "present", "pleural_other": "present", "fracture": "uncertain", "no_finding": "absent"
    }  # fmt: skip
    assert observed({"Edema": "yes"}) is None


def test_folders_alone(layouts, tmp_path):
    whole, _ = split(layouts.mimic_cxr(tmp_path / "whole"))
    bare, rejected = split(layouts.mimic_cxr_bare(tmp_path / "bare"))
    assert rejected == []
    assert [(one.study_id, one.report, one.days, one.priors) for one in bare] == [
        (one.study_id, one.report, one.days, one.priors) for one in whole
    ]  # days and views come from the DICOM headers then
    assert [one.images[0].view for one in bare] == [one.images[0].view for one in whole]
    assert {(one.split, len(one.findings)) for one in bare} == {(None, 0)}
    below, _ = split(DataConfig(reader="mimic-cxr", path=tmp_path / "bare" / "files"))
    assert below == bare


def test_images_in_a_tree_of_their_own(layouts, tmp_path):
    config = layouts.mimic_cxr(tmp_path / "texts")
    before, _ = split(layouts.mimic_cxr_jpg(tmp_path / "jpg"))
    for path in (tmp_path / "texts").rglob("*.dcm"):
        path.unlink()
    for path in [*(tmp_path / "jpg").rglob("*.txt"), *(tmp_path / "texts").glob("*.gz")]:
        path.unlink()
    studies, rejected = split(config.model_copy(update={"image_root": tmp_path / "jpg"}))
    assert rejected == []
    assert studies == before
    assert {image.path.suffix for study in studies for image in study.images} == {".jpg"}


def test_what_is_set_aside(layouts, tmp_path):
    config = layouts.mimic_cxr(tmp_path)
    extra = "aaaaaaaa-bbbbbbbb-cccccccc-dddddddd-eeeeeeee"
    more = [f"{extra},10000001,50000001,CHEST,LL,10,10,20000101,1,,,", "x,1,59999999" + "," * 9, ",,"]
    rewrite(table(tmp_path, "metadata"), lambda lines: lines + more)
    rewrite(table(tmp_path, "split"), lambda lines: [line for line in lines if "50000003" not in line])
    place(tmp_path, 0).with_suffix(".txt").unlink()
    for path in place(tmp_path, 2).iterdir():
        path.unlink()
    place(tmp_path, 4).with_suffix(".txt").write_text(" \n")
    studies, rejected = split(config)
    assert [(one.study_id, one.report is None) for one in studies] == [
        ("s50000000", True), ("s50000004", True), ("s50000001", False)
    ]  # fmt: skip
    assert [(one.study_id, one.reason) for one in rejected] == [
        ("metadata row 8", Reason.ROW_INVALID),
        ("s50000000", Reason.FILE_MISSING),
        ("s50000004", Reason.REPORT_EMPTY),
        ("s50000001", Reason.FILE_MISSING),
        ("s50000002", Reason.REPORT_WITHOUT_IMAGE),
        ("s50000003", Reason.SPLIT_UNKNOWN),
        ("s59999999", Reason.FILE_MISSING),
    ]
    assert rejected[1].path == place(tmp_path, 0).with_suffix(".txt")
    assert rejected[3].path == place(tmp_path, 1) / f"{extra}.dcm"


def test_a_broken_header_where_no_table_helps(layouts, tmp_path):
    config = layouts.mimic_cxr_bare(tmp_path)
    (image,) = place(tmp_path, 1).iterdir()
    image.write_bytes(image.read_bytes()[:200])
    studies, rejected = split(config)
    assert "s50000001" not in {study.study_id for study in studies}
    assert [(one.study_id, one.path) for one in rejected] == [
        ("s50000001", image), ("s50000001", place(tmp_path, 1).with_suffix(".txt"))
    ]  # fmt: skip
    assert rejected[0].reason in {Reason.FILE_UNREADABLE, Reason.HEADER_INVALID, Reason.NO_PIXELS}
    assert rejected[1].reason is Reason.REPORT_WITHOUT_IMAGE


def test_the_order_of_the_rows_does_not_matter(layouts, tmp_path):
    config = layouts.mimic_cxr(tmp_path)
    before = split(config)
    for name in ("metadata", "split", "chexpert"):
        rewrite(table(tmp_path, name), lambda lines: [lines[0], *random.Random(1).sample(lines[1:], len(lines) - 1)])
    assert split(config) == before


def test_sources_that_are_none(layouts, tmp_path):
    config = layouts.mimic_cxr(tmp_path / "a")
    for path in (tmp_path / "a").rglob("*.dcm"):
        path.unlink()
    with pytest.raises(DataError, match="no study has an image.*data.image_root"):
        split(config)
    with pytest.raises(DataError, match="is a file"):
        split(config.model_copy(update={"path": table(tmp_path / "a", "split")}))
    rewrite(table(tmp_path / "a", "split"), lambda lines: ["dicom_id,study_id,part", *lines[1:]])
    with pytest.raises(DataError, match="no such column"):
        split(config)
    whole = table(tmp_path / "a", "metadata").read_bytes()
    for broken in (whole[: len(whole) // 2], whole[:40] + bytes(40) + whole[80:], b"no gzip"):
        table(tmp_path / "a", "metadata").write_bytes(broken)
        with pytest.raises(DataError, match="the table cannot be read"):
            split(config)


def test_a_report_as_the_collection_words_it(layouts, tmp_path):
    config = layouts.mimic_cxr(tmp_path)
    place(tmp_path, 0).with_suffix(".txt").write_text(TEXT)
    studies, _ = split(config)
    report = studies[0].report
    assert report == parse_report(TEXT)
    assert {name: part.text.split()[:2] for name, part in report.sections.items()} == {
        "technique": ["CHEST", "(PA"], "indication": ["___F", "with"], "comparison": ["___"],
        "findings": ["PA", "and"], "impression": ["Small", "left"],
    }  # fmt: skip
