"""CheXpert Plus: sections, forms of the images, order of studies, and what is set aside."""

from __future__ import annotations

import csv

import pytest

from medmm.config.schema import DataConfig
from medmm.data.readers import chexpert_plus
from medmm.errors import DataError, Reason
from medmm.types import Rejection, Study

COLUMNS = (
    "path_to_image", "path_to_dcm", "frontal_lateral", "ap_pa", "deid_patient_id", "patient_report_date_order",
    "report", "section_narrative", "section_clinical_history", "section_history", "section_comparison",
    "section_technique", "section_procedure_comments", "section_findings", "section_impression",
    "section_end_of_impression", "section_summary", "section_accession_number", "age", "sex",
)  # fmt: skip


def split(config):
    items = list(chexpert_plus.read(config))
    return [one for one in items if isinstance(one, Study)], [one for one in items if isinstance(one, Rejection)]


@pytest.fixture
def source(layouts, tmp_path):
    """Write rows as the collection's table, with an image each: ``source(rows, kind)``."""

    def write(rows, kind="PNG/{}.png"):
        path = tmp_path / chexpert_plus.TABLE.replace("*", "240401")
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS, restval="")
            writer.writeheader()
            writer.writerows({"section_impression": "Clear.", "sex": "Female", "age": "91.0"} | row for row in rows)
        for row in rows:
            if row["path_to_image"].startswith(("train", "valid")):
                layouts.write_png(tmp_path / "in.png").rename(made(tmp_path / kind.format(row["path_to_image"][:-4])))
        return DataConfig(reader="chexpert-plus", path=tmp_path)

    return write


def made(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def row(patient, study, view="view1_frontal", part="train", **cells):
    path = f"{part}/patient{patient:05d}/study{study}/{view}.jpg"
    return {"path_to_image": path, "deid_patient_id": f"patient{patient:05d}", "frontal_lateral": "Frontal"} | cells


def test_views_of_a_study_need_not_stand_together(source):
    config = source([
        row(1, 2, ap_pa="AP", patient_report_date_order=3), row(2, 1, part="valid", ap_pa="PA"),
        row(1, 2, "view2_lateral", frontal_lateral="Lateral"), row(1, 1, patient_report_date_order="1.0"),
        row(1, 3, patient_report_date_order=2),
    ])  # fmt: skip
    studies, rejected = split(config)
    assert rejected == []
    assert [(study.study_id, study.split, study.priors) for study in studies] == [
        ("patient00001/study2", "train", ("patient00001/study1", "patient00001/study3")),
        ("patient00002/study1", "val", ()),
        ("patient00001/study1", "train", ()),
        ("patient00001/study3", "train", ("patient00001/study1",)),
    ]
    assert [[image.view for image in study.images] for study in studies] == [["AP", "Lateral"], ["PA"], ["Frontal"],
                                                                            ["Frontal"]]  # fmt: skip
    assert {(study.sex, study.age_band, study.days) for study in studies} == {("F", "90+", None)}
    assert len({study.patient_key for study in studies}) == 2


def test_sections_come_from_their_columns(source):
    whole = "NARRATIVE:\nCHEST\n\nFINDINGS: wrongly cut\n"
    config = source([
        row(1, 1, report=whole, section_history="Cough.", section_comparison="None",
            section_findings="Small\neffusion.", section_summary="4"),
        row(1, 2, report=whole, section_impression=""),
        row(1, 3, report="", section_impression=""),
    ])  # fmt: skip
    studies, rejected = split(config)
    sections = ("INDICATION: Cough.", "COMPARISON: None", "FINDINGS: Small\neffusion.", "IMPRESSION: Clear.")
    assert studies[0].report.raw == "\n\n".join(sections)
    assert studies[0].report.sections["findings"].text == "Small\neffusion."
    assert studies[1].report.raw == whole.strip()
    assert studies[2].report is None
    assert [(one.study_id, one.reason) for one in rejected] == [("patient00001/study3", Reason.REPORT_EMPTY)]


@pytest.mark.parametrize("kind", ["{}.png", "{}.jpg", "PNG/{}.png", "DICOM/{}.dcm", "CheXpert-v1.0-small/{}.jpg"])
def test_images_in_any_of_their_forms(source, tmp_path, kind):
    studies, rejected = split(source([row(1, 1), row(2, 1)], kind))
    assert rejected == []
    assert [study.images[0].path for study in studies] == [
        tmp_path / kind.format(f"train/patient{number:05d}/study1/view1_frontal") for number in (1, 2)
    ]
    assert studies[0].images[0].sop_uid == "train/patient00001/study1/view1_frontal.jpg"


def test_what_is_set_aside(source, tmp_path):
    config = source([
        row(1, 1), row(2, 1), row(3, 1, part="other"), {"path_to_image": "../../etc/passwd", "deid_patient_id": "p"},
        row(4, 1, deid_patient_id="patient00009"), row(4, 1, "view2_frontal"), row(5, 1, deid_patient_id=""),
    ])  # fmt: skip
    (tmp_path / "PNG/train/patient00002/study1/view1_frontal.png").unlink()
    studies, rejected = split(config)
    assert [study.study_id for study in studies] == ["patient00001/study1"]
    assert [(one.study_id, one.reason) for one in rejected] == [
        ("row 4", Reason.ROW_INVALID), ("row 7", Reason.ROW_INVALID),
        ("patient00002/study1", Reason.FILE_MISSING), ("patient00002/study1", Reason.REPORT_WITHOUT_IMAGE),
        ("patient00003/study1", Reason.SPLIT_UNKNOWN), ("patient00004/study1", Reason.ROW_INVALID),
    ]  # fmt: skip
    assert not any("patient" in one.detail and "0000" in one.detail for one in rejected)


def test_sources_that_are_none(source, tmp_path):
    config = source([row(1, 1)])
    (tmp_path / "PNG/train/patient00001/study1/view1_frontal.png").unlink()
    with pytest.raises(DataError, match=r"data.image_root.*1 named, none there"):
        split(config)
    table = tmp_path / "df_chexpert_plus_240401.csv"
    table.write_text("path_to_image,report\n")
    with pytest.raises(DataError, match="no such columns"):
        split(config)
    table.unlink()
    with pytest.raises(DataError, match="df_chexpert_plus"):
        split(config)
