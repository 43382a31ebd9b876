"""Phantom series: every file is DICOM that others read, and holds what the volume shows where it lies."""

import shutil
import subprocess

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from medmm.data.phantom.compression import HTJ2K, SYNTAXES
from medmm.data.phantom.series import SeriesForm, write_series
from medmm.errors import UsageError

AFFINE = np.array([[0, 0, -1.5, 24.0], [0, -1.25, 0, 25.0], [2.5, 0, 0, -20.0], [0, 0, 0, 1]])
RNG = np.random.default_rng(11)


def volume(shape=(6, 20, 16)):
    return RNG.integers(-1000, 3000, shape).astype(np.int16)


def hounsfield(path):
    dataset = pydicom.dcmread(path)
    return dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)


@pytest.mark.parametrize("enhanced", [False, True])
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_every_syntax_holds_the_values(tmp_path, syntax, enhanced):
    """As pydicom's own decoders read them."""
    values = volume()
    paths = write_series(tmp_path, values, AFFINE, SeriesForm(syntax=syntax, enhanced=enhanced))
    assert [str(pydicom.dcmread(path).file_meta.TransferSyntaxUID) for path in paths] == [syntax] * len(paths)
    if enhanced:
        assert len(paths) == 1
        np.testing.assert_array_equal(pydicom.dcmread(paths[0]).pixel_array - 1024.0, values)
    else:
        np.testing.assert_array_equal([hounsfield(path) for path in paths], values)
        if syntax != HTJ2K:  # ITK does not know it
            read = sitk.GetArrayFromImage(sitk.ReadImage(str(paths[2])))
            np.testing.assert_array_equal(read[0], values[2])


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_dcmtk_accepts_the_objects(tmp_path, modality):
    if shutil.which("dcmdump") is None:
        pytest.skip("dcmtk is not installed (apt install dcmtk)")
    forms = [SeriesForm(modality=modality, enhanced=enhanced, localizer=True) for enhanced in (False, True)]
    paths = [path for i, how in enumerate(forms) for path in write_series(tmp_path / str(i), volume(), AFFINE, how)]
    done = subprocess.run(["dcmdump", "-q", "+E", *map(str, paths)], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    values, how = volume(), SeriesForm(shuffled=True, jitter=0.2, slope_varies=True)
    first, again, other = (
        [path.read_bytes() for path in write_series(tmp_path / str(place), values, AFFINE, how, seed=seed)]
        for place, seed in enumerate((1, 1, 2))
    )
    assert first == again
    assert first != other


def test_shuffling_says_nothing_of_the_order(tmp_path):
    paths = write_series(tmp_path, volume((30, 4, 4)), AFFINE, SeriesForm(shuffled=True))
    headers = [pydicom.dcmread(path) for path in paths]
    places = [float(header.ImagePositionPatient[2]) for header in headers]
    numbers = [int(header.InstanceNumber) for header in headers]
    assert sorted(numbers) == list(range(1, 31))
    assert places != sorted(places)
    assert abs(np.corrcoef(numbers, places)[0, 1]) < 0.6
    assert len({header.SOPInstanceUID for header in headers}) == 30


def test_positions_follow_the_tilt(tmp_path):
    """Planes are turned by the tilt about their rows, and their centres stay on the axis of D."""
    paths = write_series(tmp_path, volume(), AFFINE, SeriesForm(tilt_deg=20))
    header, following = (pydicom.dcmread(path) for path in paths[:2])
    down = np.array(header.ImageOrientationPatient[3:])
    assert np.degrees(np.arcsin(abs(down[2]))) == pytest.approx(20)
    step = np.array(following.ImagePositionPatient) - header.ImagePositionPatient
    np.testing.assert_allclose(step, [0, 0, 2.5], atol=1e-6)
    assert header.GantryDetectorTilt == 20
    assert header.SliceThickness == pytest.approx(2.5 * np.cos(np.deg2rad(20)))


def test_what_is_asked_for_is_there(tmp_path):
    how = SeriesForm(missing=(2,), duplicates=(3,), copies=(4,), localizer=True)
    paths = write_series(tmp_path, volume(), AFFINE, how, name="chest", elements={"PatientID": "somebody"})
    headers = [pydicom.dcmread(path) for path in paths]
    assert len(headers) == 5 + 1 + 1 + 1
    assert len({header.SOPInstanceUID for header in headers}) == 7
    assert len({header.SeriesInstanceUID for header in headers}) == 1
    assert sum(header.ImageType[2] == "LOCALIZER" for header in headers) == 1
    assert {header.PatientID for header in headers} == {"somebody"}
    places = {round(float(header.ImagePositionPatient[2]), 6) for header in headers if header.ImageType[2] == "AXIAL"}
    assert places == {-20.0, -17.5, -12.5, -10.0, -7.5}


def test_what_cannot_be_written_is_refused(tmp_path):
    for wrong in ({"modality": "US"}, {"phases_by": "x"}, {"jitter": 0.5}, {"syntax": "1.2.3"}):
        with pytest.raises(UsageError):
            write_series(tmp_path, volume(), AFFINE, SeriesForm(**wrong))
