"""PadChest: lists as literals, labels with their places, Spanish reports, and what is set aside."""

from __future__ import annotations

import csv
import gzip

import pytest

from medmm.config.schema import DataConfig
from medmm.data.readers import padchest
from medmm.data.readers._padchest_labels import findings_of, list_of_texts, mentions_by_sentence, mentions_of
from medmm.errors import DataError, Reason
from medmm.reports.findings import FINDINGS
from medmm.types import Finding, Laterality, Rejection, Status, Study, Zone

PRESENT, ABSENT = Status.PRESENT, Status.ABSENT
COLUMNS = ("", "ImageID", "ImageDir", "StudyDate_DICOM", "StudyID", "PatientID", "PatientBirth", "PatientSex_DICOM",
           "Projection", "Modality_DICOM", "Manufacturer_DICOM", "Report", "Labels", "Localizations",
           "LabelsLocalizationsBySentence")  # fmt: skip
NAME = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"


def split(config):
    items = list(padchest.read(config))
    return [one for one in items if isinstance(one, Study)], [one for one in items if isinstance(one, Rejection)]


def row(number, study=None, **cells):
    return {
        "ImageID": f"{number}_a.png", "ImageDir": number % 3, "StudyID": study or f"9{number}", "PatientID": "77",
        "StudyDate_DICOM": "20140101", "PatientBirth": "1943.0", "PatientSex_DICOM": "M", "Projection": "PA",
        "Report": "cardiomegali . derram pleural .", "Labels": "['cardiomegaly']", "Localizations": "[]",
    } | cells  # fmt: skip


@pytest.fixture
def source(layouts, tmp_path):
    """Write rows as the collection's table, with an image each: ``source(rows, flat)``."""

    def write(rows, flat=False):
        with (tmp_path / NAME).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS, restval="")
            writer.writeheader()
            writer.writerows(rows)
        for one in rows:
            if "/" not in one["ImageID"]:
                layouts.write_png(tmp_path / ("." if flat else str(one["ImageDir"])) / one["ImageID"])
        return DataConfig(reader="padchest", path=tmp_path)

    return write


def test_studies(source):
    rows = [row(1, "s1"), row(2, "s2", StudyDate_DICOM="20140301"), row(3, "s1", Projection="L")]
    (first, second), rejected = split(source(rows))
    assert rejected == []
    assert [(image.sop_uid, image.view, image.path.parent.name) for image in first.images] == [
        ("1_a.png", "PA", "1"), ("3_a.png", "L", "0")
    ]  # fmt: skip
    assert (first.sex, first.age_band, first.days, first.priors) == ("M", "70-79", 0, ())
    assert (second.days, second.priors) == (59, ("s1",))
    assert (first.report.language, first.report.sections) == ("es", {})
    assert [one.text for one in first.report.sentences] == ["cardiomegali .", "derram pleural ."]
    assert first.findings == {"cardiomegaly": Finding(PRESENT), "no_finding": Finding(ABSENT)}


def test_a_flat_folder_and_a_compressed_table(source, tmp_path):
    config = source([row(1), row(2)], flat=True)
    studies, _ = split(config)
    assert [study.images[0].path.parent for study in studies] == [tmp_path, tmp_path]
    (tmp_path / f"{NAME}.gz").write_bytes(gzip.compress((tmp_path / NAME).read_bytes()))
    (tmp_path / NAME).unlink()
    assert split(config)[0] == studies


def test_labels_with_their_places():
    sentences = [
        ["pleural effusion", "loc left", "loc basal", "pneumothorax", "loc apical", "loc right"],
        ["pleural effusion", "loc right", "loc basal"],
        ["nodule", "loc upper lobe", "loc left"],
        ["nodule", "loc lower lobe", "loc left"],
        ["kyphosis", "loc dorsal vertebrae"],
        ["loc left"],
    ]
    assert findings_of(mentions_by_sentence(sentences)) == {
        "pleural_effusion": Finding(PRESENT, Laterality.BILATERAL, Zone.BASAL),
        "pneumothorax": Finding(PRESENT, Laterality.RIGHT, Zone.APICAL),
        "nodule": Finding(PRESENT, Laterality.LEFT),  # two zones: none is kept
        "no_finding": Finding(ABSENT),
    }


def test_places_without_sentences_count_for_a_lone_label():
    assert findings_of(mentions_of(["nodule"], ["loc right upper lobe"])) == {
        "nodule": Finding(PRESENT, Laterality.RIGHT, Zone.UPPER), "no_finding": Finding(ABSENT)
    }  # fmt: skip
    assert findings_of(mentions_of(["nodule", "mass"], ["loc right"]))["nodule"] == Finding(PRESENT)


def test_names_of_the_labels():
    def names(*labels):
        found = findings_of([(label, ()) for label in labels])
        return {name: str(one.status) for name, one in found.items()}

    assert names("normal") == {"no_finding": "present"}
    assert names("normal", "unchanged") == {"no_finding": "present"}
    assert names("unchanged") == names() == {}
    assert names("pacemaker") == {"pacemaker": "present", "support_devices": "present"}
    assert names("normal", "nsg tube") == {"support_devices": "present", "no_finding": "present"}
    assert names("callus rib fracture") == {"rib_fracture": "present", "fracture": "present", "no_finding": "absent"}
    assert names("hydropneumothorax").keys() == {"pleural_effusion", "pneumothorax", "no_finding"}
    assert names("subcutaneous emphysema") == names("pseudonodule") == {"no_finding": "absent"}
    from medmm.data.readers import _padchest_labels as table

    assert {name for names in table._LABELS for name in names} <= set(FINDINGS)
    assert len(table._NAMES_OF) == sum(map(len, table._LABELS.values()))  # no label twice


@pytest.mark.parametrize(
    "cell", ["['a'", "__import__('os').abort()", "['a', 1]", "'a'", "{'a': 1}", "[" * 5000, "['a'] * 9", "x" * 70_000]
)
def test_no_list_is_guessed(cell):
    with pytest.raises(ValueError, match=r"."):
        list_of_texts(cell)


def test_what_is_set_aside(source, tmp_path):
    rows = [
        row(1), row(2, Labels="['cardiomegaly'"), row(3, LabelsLocalizationsBySentence="['a']"),
        row(4, ImageID="../../etc/passwd"), row(5, Projection="EXCLUDE"), row(6, PatientID=""), row(7, Report="None"),
        row(8), row(9, "x"), row(10, "x", PatientID="78"),
    ]  # fmt: skip
    config = source(rows)
    (tmp_path / "2" / "8_a.png").unlink()
    studies, rejected = split(config)
    assert [(study.study_id, study.report is None) for study in studies] == [("91", False), ("97", True)]
    assert [(one.study_id, one.reason) for one in rejected] == [
        *((f"row {number}", Reason.ROW_INVALID) for number in (2, 3, 4, 5, 6)),
        ("97", Reason.REPORT_EMPTY), ("98", Reason.FILE_MISSING), ("98", Reason.REPORT_WITHOUT_IMAGE),
        ("x", Reason.ROW_INVALID),
    ]  # fmt: skip
    assert rejected[0].detail == "row 2: Labels is no list of texts"


def test_sources_that_are_none(source, tmp_path):
    config = source([row(1)])
    (tmp_path / "1" / "1_a.png").unlink()
    with pytest.raises(DataError, match=r"data.image_root.*1 named, none there"):
        split(config)
    (tmp_path / NAME).write_text("ImageID,Report\n")
    with pytest.raises(DataError, match="no such columns"):
        split(config)
    (tmp_path / NAME).unlink()
    with pytest.raises(DataError, match="PADCHEST_"):
        split(config)
