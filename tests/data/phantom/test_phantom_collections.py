"""Layouts of chest X-ray collections with the phantom's studies: exact names, true pictures, the same bytes again."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
from xml.etree import ElementTree

import cv2
import numpy as np
import pydicom
import pytest

from medmm import registry
from medmm.data.phantom import subject
from medmm.data.phantom.layouts import _material
from medmm.data.phantom.study import make_study
from medmm.pipelines import phantom as stage

NUMBERS, SIZE = (1, 4, 0), 64
IMAGES = {
    "table": "images/000004.png",
    "openi": "NLMCXR_png/CXR5_1_IM-0005-1001.png",
    "openi-csv": "images/images_normalized/5_IM-0005-1001.dcm.png",
    "r2gen": "images/CXR5_IM-0005/0.png",
    "mimic-cxr": "files/p10/p10000000/s50000004/*.dcm",
    "mimic-cxr-jpg": "files/p10/p10000000/s50000004/*.jpg",
    "chexpert-plus": "PNG/valid/patient00001/study2/view1_frontal.png",
    "padchest": "0/*.png",
}
OTHERS = {
    "table": ["studies.csv"],
    "openi": [f"ecgen-radiology/{number + 1}.xml" for number in (0, 1, 4)],
    "openi-csv": ["indiana_projections.csv", "indiana_reports.csv"],
    "r2gen": ["annotation.json"],
    "mimic-cxr": [
        *(f"files/p10/p1000000{patient}/s5000000{study}.txt" for patient, study in ((0, 0), (0, 4), (1, 1))),
        *(f"mimic-cxr-2.0.0-{name}.csv.gz" for name in ("chexpert", "metadata", "negbio", "split")),
    ],
    "chexpert-plus": ["df_chexpert_plus_240401.csv"],
    "padchest": ["PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"],
}
OTHERS["mimic-cxr-jpg"] = OTHERS["mimic-cxr"]
PICTURES = {".png", ".jpg", ".dcm"}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Folder of each layout, written once."""
    root = tmp_path_factory.mktemp("layouts")
    for name in IMAGES:
        registry.resolve("layout", name)(root / name, 0, NUMBERS, SIZE)
    return root


def table(path):
    data = path.read_bytes()
    data = gzip.decompress(data) if path.suffix == ".gz" else data
    return list(csv.DictReader(data.decode().splitlines(keepends=True)))


@pytest.mark.parametrize("layout", IMAGES)
def test_files(layout, written, tmp_path):
    root = written / layout
    paths = [path for path in root.rglob("*") if path.is_file()]
    others = sorted(str(path.relative_to(root)) for path in paths if path.suffix not in PICTURES)
    assert others == OTHERS[layout]
    assert sum(path.suffix in PICTURES for path in paths) == len(NUMBERS)
    registry.resolve("layout", layout)(tmp_path, 0, NUMBERS, SIZE)
    for path in paths:
        again = (tmp_path / path.relative_to(root)).read_bytes()
        assert hashlib.sha256(again).digest() == hashlib.sha256(path.read_bytes()).digest()


@pytest.mark.parametrize("layout", IMAGES)
def test_pictures_are_the_phantoms(layout, written):
    grey = make_study(0, 4, SIZE).grey
    shown = [picture(path) for path in (written / layout).glob(IMAGES[layout])]
    nearest = min(float(np.abs(one - grey).max()) for one in shown)
    depth = {"mimic-cxr-jpg": 0.05, "mimic-cxr": 1 / 4095, "padchest": 1 / 65535}.get(layout, 1 / 255)
    assert nearest <= (depth if layout == "mimic-cxr-jpg" else 0.51 * depth)  # half a step, but for JPEG


def picture(path):
    """Grey values in [0, 1], decoded by other programs than the writers'."""
    if path.suffix != ".dcm":
        pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        return pixels / np.iinfo(pixels.dtype).max
    dataset = pydicom.dcmread(path)
    values = dataset.pixel_array / (2**dataset.BitsStored - 1)
    return 1 - values if dataset.PhotometricInterpretation == "MONOCHROME1" else values


def test_reports_are_the_phantoms(written):
    said = make_study(0, 4, SIZE).report.sections
    root = ElementTree.parse(written / "openi/ecgen-radiology/5.xml").getroot()
    assert {part.get("Label").lower(): part.text or "" for part in root.iter("AbstractText")} == {
        name: said.get(name, "") for name in ("comparison", "indication", "findings", "impression")
    }
    row = table(written / "openi-csv/indiana_reports.csv")[1]
    assert (row["uid"], row["findings"]) == ("5", said["findings"])
    row = table(written / "chexpert-plus/df_chexpert_plus_240401.csv")[1]
    assert (row["section_impression"], row["patient_report_date_order"]) == (said["impression"], "2")
    items = json.loads((written / "r2gen/annotation.json").read_text())
    assert items["val"][0]["report"] == said["findings"]
    text = (written / "mimic-cxr/files/p10/p10000000/s50000004.txt").read_text()
    assert text.lstrip().startswith("FINAL REPORT\n")
    assert said["findings"] in text


def test_tables_of_mimic_cxr(written):
    root = written / "mimic-cxr"
    metadata = table(root / "mimic-cxr-2.0.0-metadata.csv.gz")
    assert ",".join(metadata[0]) == (
        "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,Columns,StudyDate,StudyTime,"
        "ProcedureCodeSequence_CodeMeaning,ViewCodeSequence_CodeMeaning,PatientOrientationCodeSequence_CodeMeaning"
    )
    for row in metadata:
        (path,) = root.rglob(f"{row['dicom_id']}.dcm")
        assert path.parts[-3:-1] == (f"p{row['subject_id']}", f"s{row['study_id']}")
        assert pydicom.dcmread(path, stop_before_pixels=True).StudyDate == row["StudyDate"]
    split = table(root / "mimic-cxr-2.0.0-split.csv.gz")
    assert list(split[0]) == ["dicom_id", "study_id", "subject_id", "split"]
    assert [row["split"] for row in split] == ["train", "validate", "validate"]  # studies 4 and 0 are one patient's
    said = make_study(0, 4, SIZE).report.said
    (labels,) = [row for row in table(root / "mimic-cxr-2.0.0-chexpert.csv.gz") if row["study_id"] == "50000004"]
    cells = {"present": "1.0", "uncertain": "-1.0", "absent": "0.0", "unmentioned": ""}
    assert labels["Pneumothorax"] == cells[said["pneumothorax"]]
    assert labels["Fracture"] == cells[said["rib_fracture"]]


def test_patients_stay_in_one_part():
    parts = _material.parts(0, range(200))
    by_patient = {}
    for number, part in parts.items():
        by_patient.setdefault(subject.visit(0, number).patient, set()).add(part)
    assert all(len(own) == 1 for own in by_patient.values())
    counts = {part: sum(own == {part} for own in by_patient.values()) for part in ("train", "val", "test")}
    assert counts == {"train": 112, "val": 16, "test": 32}


def test_the_stage_writes_a_layout(tmp_path, capsys):
    words = ["--out", str(tmp_path / "out"), "--studies", "2", "data.phantom.size=64"]

    def run(*more):
        with pytest.raises(SystemExit) as ended:
            stage.main([*words, *more])
        said = capsys.readouterr()
        return ended.value.code, said.out + said.err

    assert run("data.phantom.layout=openi-csv")[0] == 0
    assert [row["uid"] for row in table(tmp_path / "out" / "indiana_reports.csv")] == ["1", "2"]
    code, said = run("data.phantom.layout=r2gen")
    assert (code, "the folder is not empty" in said) == (2, True)
    code, said = run("data.phantom.layout=r2gem")
    assert (code, "no layout 'r2gem'" in said) == (2, True)


def test_several_processes_make_the_same_studies():
    numbers = range(40, 40 + 3 * _material._CHUNK)
    made = list(_material.studies(0, numbers, SIZE))
    assert [study.place.study for study in made] == list(numbers)
    for study in made[::5]:
        alone = make_study(0, study.place.study, SIZE)
        assert np.array_equal(alone.grey, study.grey)
        assert alone.report == study.report
