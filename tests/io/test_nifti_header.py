"""The grid of a NIfTI file from its header alone, against SimpleITK and against the array that is read."""

from __future__ import annotations

import gzip

import nibabel
import numpy as np
import pytest
import SimpleITK

from medmm.errors import ImageError, Reason
from medmm.io.nifti import read_nifti
from medmm.io.nifti_header import NiftiGrid, read_nifti_header


@pytest.mark.shared
def test_real_volumes(shared):
    files = sorted((shared / "nifti").glob("*.nii.gz"))
    assert len(files) == 6
    for path in files:
        reader = SimpleITK.ImageFileReader()
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
        (columns, rows, frames), spacing = reader.GetSize(), reader.GetSpacing()
        grid = read_nifti_header(path)
        assert (grid.channels, grid.frames, grid.rows, grid.columns) == (1, frames, rows, columns)
        assert grid.spacing_mm == pytest.approx(spacing[::-1], rel=1e-6)
        read = read_nifti(path)
        assert (read.array.shape, read.spacing_mm) == ((1, frames, rows, columns), pytest.approx(grid.spacing_mm))


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_axes_are_turned_as_the_array_is(tmp_path, suffix):
    affine = np.array([[0, 0, 4.0, 0], [-2.0, 0, 0, 0], [0, 3.0, 0, 0], [0, 0, 0, 1]])  # i to the back, j up, k right
    nibabel.save(nibabel.Nifti1Image(np.zeros((5, 6, 7, 2), np.int16), affine), tmp_path / f"v{suffix}")
    grid = read_nifti_header(tmp_path / f"v{suffix}")
    assert grid == NiftiGrid(channels=2, frames=6, rows=5, columns=7, spacing_mm=(3.0, 2.0, 4.0))
    assert read_nifti(tmp_path / f"v{suffix}").array.shape == (2, 6, 5, 7)


def test_a_plane(tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.zeros((5, 6), np.uint8), np.diag([2.0, 3.0, 1.0, 1.0])), tmp_path / "p.nii")
    assert read_nifti_header(tmp_path / "p.nii") == NiftiGrid(1, 1, 6, 5, (1.0, 3.0, 2.0))


def test_samples_are_not_needed(tmp_path):
    whole = nibabel.Nifti1Image(np.ones((40, 30, 20), np.int16), np.eye(4)).to_bytes()
    (tmp_path / "cut.nii.gz").write_bytes(gzip.compress(whole[:600]))
    assert read_nifti_header(tmp_path / "cut.nii.gz").columns == 40


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", Reason.FILE_EMPTY),
        (b"no volume at all" * 40, Reason.NOT_AN_IMAGE),
        (gzip.compress(b"short"), Reason.NOT_AN_IMAGE),
        (None, Reason.FILE_MISSING),
    ],
)
def test_files_that_have_no_grid(tmp_path, content, reason):
    if content is not None:
        (tmp_path / "x.nii.gz").write_bytes(content)
    with pytest.raises(ImageError) as raised:
        read_nifti_header(tmp_path / "x.nii.gz")
    assert raised.value.reason is reason
