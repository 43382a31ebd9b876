"""Sets with lateral views or CT scans as files: read back with nibabel, SimpleITK and pydicom."""

from __future__ import annotations

import json
from dataclasses import replace

import cv2
import nibabel as nib
import numpy as np
import pandas as pd
import pydicom
import pytest
from pydantic import ValidationError

import medmm
from medmm.config.schema import DataConfig
from medmm.config.sources import PhantomConfig
from medmm.data.phantom import cached, generate, subject
from medmm.data.phantom.ct import LABELS, make_volume
from medmm.data.phantom.files import form, stored_values
from medmm.data.phantom.options import Options
from medmm.data.phantom.study import make_study, report_on
from medmm.data.readers.phantom import read
from medmm.errors import UsageError
from medmm.types import Study

SEED, SIZE, SHAPE = 21, 64, (24, 40, 48)
LATERAL = Options(lateral=0.9)
NIFTI = Options("ct", volume_shape=SHAPE)
DICOM = Options("ct", volume_shape=SHAPE, volume_format="dicom")
STUDIES = {"lateral": 10, "nifti": 5, "dicom": 2}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("sets")
    options = {"lateral": LATERAL, "nifti": NIFTI, "dicom": DICOM}
    return {
        name: generate(root / name, STUDIES[name], SEED, SIZE, workers=1, options=how) for name, how in options.items()
    }


def scan_of(number):
    return make_volume(SEED, number, SHAPE)


def test_a_lateral_view_is_written_beside_the_frontal_one(folders):
    folder, seen = folders["lateral"], 0
    for number in range(STUDIES["lateral"]):
        study, place = make_study(SEED, number, SIZE, LATERAL.lateral), folder / f"{number:06d}"
        assert (place / "lateral.dcm").is_file() == (study.lateral is not None)
        frontal = pydicom.dcmread(place / "image.dcm")
        usual = stored_values(make_study(SEED, number, SIZE).grey, form(SEED, number))
        np.testing.assert_array_equal(frontal.pixel_array, usual)
        if study.lateral is None:
            continue
        seen += 1
        side = pydicom.dcmread(place / "lateral.dcm")
        np.testing.assert_array_equal(side.pixel_array, stored_values(study.lateral.grey, form(SEED, number)))
        assert side.ViewPosition == "LL"
        assert side.PatientOrientation == ["P", "F"]
        assert side.StudyInstanceUID == frontal.StudyInstanceUID
        assert side.PatientID == frontal.PatientID
        assert side.SeriesInstanceUID != frontal.SeriesInstanceUID
        assert side.SOPInstanceUID != frontal.SOPInstanceUID
        assert float(side.ImagerPixelSpacing[0]) == pytest.approx(study.lateral.view.spacing_mm, abs=1e-4)
    assert 3 <= seen < STUDIES["lateral"]


def test_truth_names_the_masks_of_the_lateral_view(folders):
    truth = pd.read_parquet(folders["lateral"] / "truth.parquet")
    seen = 0
    for row in truth.dropna(subset=["lateral_mask"]).to_dict("records"):
        number = int(row["lateral_mask"].split("/")[1])
        mask = cv2.imread(str(folders["lateral"] / row["lateral_mask"]), cv2.IMREAD_UNCHANGED)
        expected = make_study(SEED, number, SIZE, LATERAL.lateral).lateral.masks[row["finding"]]
        np.testing.assert_array_equal(mask > 0, expected)
        assert row["status"] == "present"
        seen += 1
    assert seen > 3


def test_the_reader_gives_both_views(folders):
    studies = list(read(DataConfig(path=folders["lateral"])))
    facts = pd.read_parquet(folders["lateral"] / "studies.parquet")
    for study, fact in zip(studies, facts.to_dict("records"), strict=True):
        assert isinstance(study, Study)
        assert [image.view for image in study.images] == [fact["view"]] + (["LL"] if pd.notna(fact["lateral"]) else [])
        assert all("lateral" not in name for name in study.masks)
    assert {len(study.images) for study in studies} == {1, 2}


def test_reports_say_which_views_there_are():
    place, who = subject.visit(SEED, 3), subject.patient(SEED, 3)
    for views, words in (("PA LATERAL", ("lateral", "two views")), ("CT", ("CT",)), ("PA", ("PA ", "single"))):
        texts = [
            report_on(SEED, replace(place, study=n), who, views, (), {}).sections.get("technique") for n in range(40)
        ]
        said = [text for text in texts if text]
        assert len(said) > 5
        assert all(any(word.lower() in text.lower() for word in words) or "XXXX" in text for text in said)


def test_nifti_holds_the_hounsfield_units_where_they_belong(folders):
    for number in range(STUDIES["nifti"]):
        scan, image = scan_of(number), nib.load(folders["nifti"] / f"{number:06d}" / "image.nii.gz")
        assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
        assert image.get_data_dtype() == np.int16
        np.testing.assert_array_equal(np.asarray(image.dataobj).transpose(2, 1, 0), scan.hu)
        index = np.array([5, 7, 11])
        here = image.affine @ [index[2], index[1], index[0], 1]
        np.testing.assert_allclose(here, scan.affine @ [*index, 1], atol=1e-3)
        np.testing.assert_allclose(image.header.get_zooms(), scan.spacing_mm[::-1], rtol=1e-5)
        labels = nib.load(folders["nifti"] / f"{number:06d}" / "label.nii.gz")
        np.testing.assert_array_equal(np.asarray(labels.dataobj).transpose(2, 1, 0), scan.labels)
        np.testing.assert_allclose(labels.affine, image.affine)
    assert json.loads((folders["nifti"] / "phantom.json").read_text())["labels"] == LABELS


def test_simpleitk_finds_the_right_lung_on_the_right(folders):
    sitk = pytest.importorskip("SimpleITK")
    image = sitk.ReadImage(str(folders["nifti"] / "000001" / "label.nii.gz"))
    stats = sitk.LabelShapeStatisticsImageFilter()
    stats.Execute(image)
    right, left = (stats.GetCentroid(LABELS[name]) for name in ("lung_right", "lung_left"))
    assert right[0] < -30 < 30 < left[0]  # LPS: x grows to the left
    assert stats.GetCentroid(LABELS["sternum"])[1] < stats.GetCentroid(LABELS["vertebrae"])[1]  # y to the back


def test_read_image_gives_the_scan(folders):
    scan, image = scan_of(1), medmm.read_image(folders["nifti"] / "000001" / "image.nii.gz", window=None)
    np.testing.assert_array_equal(image.array[0], scan.hu.astype(np.float32))
    np.testing.assert_allclose(image.affine, scan.affine, atol=1e-4)


def test_truth_of_scans_has_volumes_and_masks(folders):
    truth = pd.read_parquet(folders["nifti"] / "truth.parquet")
    usual = set(pd.read_parquet(folders["lateral"] / "truth.parquet").columns) - {"lateral_mask"}
    assert set(truth.columns) == usual | {"volume_ml"}
    present = truth[truth["status"] == "present"]
    assert len(present)
    assert present["mask"].notna().all()
    for row in present.to_dict("records"):
        mask = nib.load(folders["nifti"] / row["mask"])
        volume = np.asarray(mask.dataobj).sum() * np.prod(mask.header.get_zooms()) / 1000
        assert row["volume_ml"] == pytest.approx(volume, rel=1e-3, abs=2e-3)
        assert set(np.unique(np.asarray(mask.dataobj))) == {0, 1}
    assert truth[truth["status"] == "absent"][["mask", "volume_ml"]].isna().all(axis=None)


def test_a_series_in_dicom_is_the_same_scan(folders):
    for number in range(STUDIES["dicom"]):
        scan, place = scan_of(number), folders["dicom"] / f"{number:06d}"
        slices = [pydicom.dcmread(file) for file in (place / "image").iterdir()]
        slices.sort(key=lambda one: one.ImagePositionPatient[2])
        assert len(slices) == SHAPE[0]
        first = slices[0]
        fact = pd.read_parquet(folders["dicom"] / "studies.parquet").iloc[number]
        assert {one.StudyInstanceUID for one in slices} == {fact["study_id"]}
        assert first.PatientID.startswith("PHANTOM-")
        assert (first.Modality, first.PatientSex) == ("CT", scan.who.sex)
        values = first.pixel_array * float(first.RescaleSlope) + float(first.RescaleIntercept)
        across, down = (np.array(first.ImageOrientationPatient[k : k + 3], float) for k in (0, 3))
        wanted = np.empty((3, 2))
        for corner, (row, column) in enumerate(((0, 0), (SHAPE[1] - 1, SHAPE[2] - 1))):
            at = np.array(first.ImagePositionPatient, float)
            at = at + across * column * float(first.PixelSpacing[1]) + down * row * float(first.PixelSpacing[0])
            wanted[:, corner] = np.linalg.solve(scan.affine, [-at[0], -at[1], at[2], 1])[:3]  # LPS to RAS
        index = np.rint(wanted).astype(int)
        np.testing.assert_allclose(wanted, index, atol=0.01)
        assert abs(values[0, 0] - scan.hu[tuple(index[:, 0])]) <= 1
        assert abs(values[-1, -1] - scan.hu[tuple(index[:, 1])]) <= 1


def test_the_reader_gives_scans(folders):
    for name in ("nifti", "dicom"):
        studies = list(read(DataConfig(path=folders[name])))
        assert len(studies) == STUDIES[name]
        for study in studies:
            assert [(image.modality, image.view) for image in study.images] == [("CT", None)]
            assert study.images[0].path.exists()
            assert study.report is not None
            assert all(path.suffixes == [".nii", ".gz"] and path.is_file() for path in study.masks.values())


def test_a_set_made_otherwise_is_refused(folders):
    for name, options in (("lateral", Options()), ("nifti", DICOM), ("nifti", LATERAL)):
        with pytest.raises(UsageError, match="another phantom"):
            generate(folders[name], STUDIES[name], SEED, SIZE, options=options)
    before = (folders["nifti"] / "000001" / "image.nii.gz").stat().st_mtime_ns
    generate(folders["nifti"], STUDIES["nifti"], SEED, SIZE, options=NIFTI)
    assert (folders["nifti"] / "000001" / "image.nii.gz").stat().st_mtime_ns == before


def test_scans_are_the_same_files_at_any_time(folders, tmp_path):
    again = generate(tmp_path / "again", 2, SEED, SIZE, workers=1, options=NIFTI)
    for file in (again / "000000").iterdir():
        assert file.read_bytes() == (folders["nifti"] / "000000" / file.name).read_bytes()


def test_the_usual_set_says_nothing_of_options(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDMM_CACHE", str(tmp_path))
    usual, other = cached(3, 1, 64), cached(3, 1, 64, options=LATERAL)
    assert usual.name == "phantom-v1-3-1-64"
    assert other.name.startswith("phantom-v1-3-1-64-radiograph-")
    said = json.loads((usual / "phantom.json").read_text())
    assert set(said) == {"format", "version", "seed", "studies", "size", "digest"}


def test_options_follow_the_config():
    assert Options.of(PhantomConfig()) == Options()
    assert Options.of(PhantomConfig(views=("frontal", "lateral"), lateral_share=0.5)) == Options(lateral=0.5)
    wanted = PhantomConfig(modality="ct", volume_shape=(32, 64, 64), volume_spacing_mm=(5, 2.5), volume_format="dicom")
    assert Options.of(wanted) == Options("ct", 0.0, (32, 64, 64), (5, 2.5), "dicom")
    with pytest.raises(ValidationError, match="frontal"):
        PhantomConfig(views=("lateral",))
    with pytest.raises(ValidationError, match="volume_shape"):
        PhantomConfig(volume_shape=(4, 64, 64))
