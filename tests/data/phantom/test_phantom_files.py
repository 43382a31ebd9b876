"""The folder that the phantom writes: DICOM read back, masks, tables, what happens when it is run again."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import Counter

import cv2
import numpy as np
import pandas as pd
import pydicom
import pytest

from medmm.config.schema import DataConfig
from medmm.data.phantom import cached, generate
from medmm.data.phantom.disease import FINDINGS
from medmm.data.phantom.files import SYNTAXES, form, stored_values
from medmm.data.phantom.study import make_study
from medmm.data.readers.phantom import read
from medmm.errors import DataError, UsageError
from medmm.io.image import read_image
from medmm.reports.parse import read_report
from medmm.types import Status

STUDIES, SEED, SIZE = 30, 21, 64
DCMTK = {"1.2.840.10008.1.2.4.70": "dcmdjpeg", "1.2.840.10008.1.2.4.80": "dcmdjpls", "1.2.840.10008.1.2.5": "dcmdrle"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return generate(tmp_path_factory.mktemp("phantom") / "set", STUDIES, SEED, SIZE, workers=2)


@pytest.fixture(scope="module")
def facts(folder):
    return pd.read_parquet(folder / "studies.parquet")


@pytest.fixture(scope="module")
def truth(folder):
    return pd.read_parquet(folder / "truth.parquet")


def images(folder):
    return [(n, folder / f"{n:06d}" / "image.dcm") for n in range(STUDIES)]


def test_pixels_come_back_as_they_were_stored(folder):
    seen = Counter()
    for number, path in images(folder):
        dataset, how = pydicom.dcmread(path), form(SEED, number)
        expected = stored_values(make_study(SEED, number, SIZE).grey, how)
        np.testing.assert_array_equal(dataset.pixel_array, expected)
        assert dataset.file_meta.TransferSyntaxUID == how.syntax
        assert dataset.BitsStored == how.bits
        assert dataset.PhotometricInterpretation == ("MONOCHROME1" if how.inverted else "MONOCHROME2")
        seen.update([how.syntax, how.bits, how.inverted, how.windowed, how.xml, dataset.SOPClassUID.name])
    assert set(SYNTAXES) <= set(seen)
    assert {12, 16, "Digital X-Ray Image Storage - For Presentation", "Computed Radiography Image Storage"} <= set(seen)


@pytest.mark.skipif(shutil.which("dcmdjpeg") is None, reason="dcmtk is not installed")
def test_dcmtk_decodes_the_same_pixels(folder, tmp_path):
    seen = set()
    for number, path in images(folder):
        how = form(SEED, number)
        if how.syntax in DCMTK:
            plain = tmp_path / "plain.dcm"
            subprocess.run([DCMTK[how.syntax], path, plain], check=True, capture_output=True)
            expected = stored_values(make_study(SEED, number, SIZE).grey, how)
            np.testing.assert_array_equal(pydicom.dcmread(plain).pixel_array, expected)
            seen.add(how.syntax)
    assert seen == set(DCMTK)


def test_read_image_shows_air_dark_and_bone_bright(folder):
    for number, path in images(folder)[:12]:
        shown = read_image(path).array[0]
        np.testing.assert_allclose(shown, make_study(SEED, number, SIZE).grey, atol=2e-3)


def test_headers_name_a_phantom_and_nobody_else(folder, facts):
    uids = set()
    for (number, path), fact in zip(images(folder), facts.to_dict("records"), strict=True):
        dataset = pydicom.dcmread(path, stop_before_pixels=True)
        assert str(dataset.PatientName).startswith("Phantom^")
        assert dataset.PatientID == fact["patient_id"]
        assert dataset.PatientID.startswith("PHANTOM-")
        assert dataset.StudyInstanceUID == fact["study_id"]
        assert dataset.StudyInstanceUID.startswith("2.25.")
        assert len(dataset.StudyInstanceUID) <= 64
        assert dataset.AccessionNumber == f"PH{SEED}-{number:06d}"
        assert dataset.PatientSex == fact["sex"]
        assert int(dataset.PatientAge[:3]) == fact["age"]
        assert dataset.ViewPosition == fact["view"]
        assert not dataset.PatientBirthDate
        assert float(dataset.ImagerPixelSpacing[0]) == pytest.approx(make_study(SEED, number, SIZE).pixel_mm, abs=1e-4)
        uids |= {dataset.SOPInstanceUID, dataset.SeriesInstanceUID, dataset.StudyInstanceUID}
    assert len(uids) == 3 * STUDIES


def test_truth_has_a_row_for_each_study_and_finding(folder, truth, facts):
    assert len(truth) == STUDIES * len(FINDINGS)
    assert set(truth["study_id"]) == set(facts["study_id"])
    for number in range(STUDIES):
        study = make_study(SEED, number, SIZE)
        rows = truth[truth["study_id"] == facts["study_id"][number]].set_index("finding")
        here = {c.name: c for c in study.conditions}
        assert set(rows.index[rows["status"] == "present"]) == set(here)
        for name, row in rows.iterrows():
            assert row["said"] == study.report.said[name]
            assert row["hedged"] == (study.report.said[name] is Status.UNCERTAIN)
            if name in here:
                side = here[name].side
                assert row["laterality"] == side if side else pd.isna(row["laterality"])
                if pd.isna(row["mask"]):  # thinner than a pixel
                    assert not study.masks[name].any()
                    continue
                mask = cv2.imread(str(folder / row["mask"]), cv2.IMREAD_UNCHANGED)
                np.testing.assert_array_equal(mask > 0, study.masks[name])
                assert set(np.unique(mask)) <= {0, 255}
            else:
                assert row[["laterality", "zone", "severity", "size_mm", "mask"]].isna().all()


def test_reports_lie_beside_the_images(folder, facts):
    for number, fact in enumerate(facts.to_dict("records")):
        report = read_report(folder / f"{number:06d}" / fact["report"])
        sections = dict(make_study(SEED, number, SIZE).report.sections)
        if fact["report"].endswith("xml"):
            sections.pop("technique", None)  # the collection has none
            assert report.source_format == "openi_xml"
        assert {name: part.text for name, part in report.sections.items()} == sections


def test_the_reader_gives_the_truth(folder, truth):
    studies = list(read(DataConfig(path=folder)))
    assert len(studies) == STUDIES
    by_id = truth.set_index(["study_id", "finding"])
    for study in studies:
        assert set(study.findings) == set(FINDINGS)
        for name, finding in study.findings.items():
            assert finding.status == by_id.loc[(study.study_id, name), "status"]
            assert finding.span is None
        assert set(study.masks) == {name for name in FINDINGS if pd.notna(by_id.loc[(study.study_id, name), "mask"])}
        assert all(path.is_file() for path in study.masks.values())
        assert study.report is not None
        assert study.age_band is not None
    again = [study for study in studies if study.priors]
    assert again
    keys = {study.study_id: study.patient_key for study in studies}
    assert all(keys[study.priors[0]] == study.patient_key for study in again)


def test_the_first_studies_of_a_larger_set_are_the_same(folder, tmp_path):
    small = generate(tmp_path / "small", 7, SEED, SIZE, workers=1)
    for file in sorted(small.rglob("*.*")):
        if file.is_file() and file.parent != small:
            assert file.read_bytes() == (folder / file.relative_to(small)).read_bytes()


def test_a_complete_folder_is_left_as_it_is(tmp_path):
    out = generate(tmp_path / "set", 3, 1, 64, workers=1)
    marker = out / "000000" / "image.dcm"
    before = marker.stat().st_mtime_ns
    generate(out, 3, 1, 64, workers=1)
    assert marker.stat().st_mtime_ns == before


def test_an_incomplete_folder_is_completed(tmp_path):
    out = generate(tmp_path / "set", 4, 1, 64, workers=1)
    whole = {file.relative_to(out): file.read_bytes() for file in out.rglob("*.*") if file.is_file()}
    (out / "phantom.json").unlink()
    (out / "000002" / "image.dcm").write_bytes(b"cut off")
    with pytest.raises(DataError, match="incomplete"):
        list(read(DataConfig(path=out)))
    generate(out, 4, 1, 64, workers=1)
    assert {file.relative_to(out): file.read_bytes() for file in out.rglob("*.*") if file.is_file()} == whole


def test_a_folder_that_holds_something_else_is_refused(tmp_path):
    out = generate(tmp_path / "set", 2, 1, 64, workers=1)
    with pytest.raises(UsageError, match="another phantom"):
        generate(out, 2, 2, 64)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="something else"):
        generate(tmp_path / "mine", 2, 1, 64)


def test_progress_counts_up(tmp_path):
    done = []
    generate(tmp_path / "set", 3, 1, 64, workers=1, progress=done.append)
    assert done == [1, 2, 3]


def test_cached_sets_lie_in_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("MEDMM_CACHE", str(tmp_path))
    folder = cached(3, 2, 64)
    assert folder.parent == tmp_path
    said = json.loads((folder / "phantom.json").read_text())
    assert (said["seed"], said["studies"], said["size"]) == (3, 2, 64)
    assert cached(3, 2, 64) == folder
