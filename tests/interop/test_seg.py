"""Outlines as DICOM segmentations: read back, they lie voxel for voxel on the series that they were drawn on."""

from pathlib import Path

import numpy as np
import pydicom
import pytest

from medmm.data.outline_code import OutlineCode
from medmm.data.phantom.series import SeriesForm, write_series
from medmm.errors import ImageError, Reason
from medmm.interop.seg import write_segmentation
from medmm.io.image import read_image
from medmm.io.segmentation import on_grid, read_segmentation


@pytest.fixture
def series(tmp_path):
    """An oblique series of nine slices in mixed order, and outlines on its grid."""
    turn = np.array([[0.0, 0.1, 0.995], [0.2, -0.975, 0.098], [0.98, 0.199, -0.02]])
    axes = np.linalg.qr(turn)[0]
    affine = np.eye(4)
    affine[:3, :3] = axes * [2.5, 0.8, 0.8]
    affine[:3, 3] = (-20, 12, 40)
    hu = np.random.default_rng(0).integers(-900, 900, (9, 20, 16)).astype(np.int16)
    files = write_series(tmp_path / "series", hu, affine, SeriesForm(), seed=0, number=0)
    image = read_image(tmp_path / "series", window=None)
    return [Path(file) for file in files], image


@pytest.mark.parametrize("exclusive", [True, False])
def test_it_opens_on_the_original_series_voxel_for_voxel(series, tmp_path, exclusive):
    files, image = series
    code = OutlineCode(("lung_left", "mass"), exclusive)
    coded = (image.array[0] > 200).astype(np.uint8) + 2 * (image.array[0] > 500).astype(np.uint8)
    coded = np.minimum(coded, 2) if exclusive else coded
    write_segmentation(tmp_path / "seg.dcm", coded, code, image.affine, files[::-1], lesions=["mass"], mark="weights")
    found = read_segmentation(tmp_path / "seg.dcm")
    assert [one.label for one in found.segments] == ["lung_left", "mass"]
    assert [(one.type.value, one.category.meaning) for one in found.segments] == [
        ("44029006", "Anatomical Structure"), ("52988006", "Morphologically Altered Structure")
    ]  # fmt: skip
    for number, segment in enumerate(on_grid(found, image).segments):
        np.testing.assert_array_equal(segment.array, code.mask(coded, number))
    sources = [pydicom.dcmread(file, stop_before_pixels=True) for file in files]
    assert found.series_uid == sources[0].SeriesInstanceUID
    assert set(found.source_uids) <= {one.SOPInstanceUID for one in sources}
    assert found.frame_of_reference == sources[0].FrameOfReferenceUID


def test_images_whose_identifiers_were_emptied_get_those_of_their_files(series, tmp_path):
    files, image = series
    for file in files:
        dataset = pydicom.dcmread(file)
        for name in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "PatientID"):
            setattr(dataset, name, "")
        dataset.save_as(file, enforce_file_format=False)
    code = OutlineCode(("a",), exclusive=False)
    coded = (image.array[0] > 0).astype(np.uint8)
    write_segmentation(tmp_path / "seg.dcm", coded, code, image.affine, files)
    (segment,) = on_grid(read_segmentation(tmp_path / "seg.dcm"), image).segments
    np.testing.assert_array_equal(segment.array, coded == 1)


def test_slices_of_another_place_are_refused(series, tmp_path):
    files, image = series
    away = image.affine.copy()
    away[:3, 3] += 1000
    with pytest.raises(ImageError) as caught:
        write_segmentation(tmp_path / "s.dcm", np.ones((9, 20, 16), np.uint8), OutlineCode(("a",), False), away, files)
    assert caught.value.reason is Reason.DIMENSIONS_MISMATCH
