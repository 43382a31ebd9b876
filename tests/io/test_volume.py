"""Folders of slices to volumes: values, places, splits, and what the notes name."""

from dataclasses import replace

import numpy as np
import pydicom
import pytest

import medmm
from medmm import read_volumes
from medmm.data.phantom.compression import JPEG_2000, JPEG_LS
from medmm.data.phantom.series import SeriesForm, write_series
from medmm.errors import DataError, ImageError, Reason, UsageError
from medmm.io.resample import onto

INNER = (slice(3, -3), slice(14, -14), slice(6, -6))


def one(folder, **options):
    [image] = read_volumes(folder, **options)
    return image


def assert_true_everywhere(image, bodies, atol):
    """Every voxel holds what the body shows where the affine says that the voxel lies."""
    places = bodies.voxel_places(image.affine, image.array.shape[1:])
    np.testing.assert_allclose(image.array[0][INNER], bodies.values_at(places)[INNER], atol=atol)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", JPEG_LS, JPEG_2000])
def test_a_shuffled_series_is_the_volume_that_was_written(tmp_path, bodies, syntax):
    volume = bodies.body()
    write_series(tmp_path / "deep" / "er", volume, bodies.AFFINE, SeriesForm(shuffled=True, syntax=syntax))
    image = one(tmp_path)
    assert image.array.dtype == np.float32
    np.testing.assert_array_equal(image.array[0], volume)
    np.testing.assert_allclose(image.affine, bodies.AFFINE, atol=1e-9)
    assert image.spacing_mm == pytest.approx((2.5, 1.25, 1.5))
    assert image.notes == ()
    assert image.header["slices"] == 16
    np.testing.assert_allclose(image.header["slice_places_mm"], -20 + 2.5 * np.arange(16))
    assert medmm.read_volumes is read_volumes


def test_slices_have_rescales_of_their_own(tmp_path, bodies):
    paths = write_series(tmp_path, bodies.body(), bodies.AFFINE, SeriesForm(slope_varies=True))
    stored = [pydicom.dcmread(path) for path in paths]
    assert len({float(each.RescaleSlope) for each in stored}) > 10
    expected = [each.pixel_array * float(each.RescaleSlope) + float(each.RescaleIntercept) for each in stored]
    np.testing.assert_allclose(one(tmp_path).array[0], expected, atol=1e-3)


def test_a_gap_is_named_and_bridged(tmp_path, bodies):
    """Slices on the even grid keep their values; the two that are missing lie on the line between their neighbours."""
    volume = bodies.body()
    write_series(tmp_path, volume, bodies.AFFINE, SeriesForm(missing=(6, 7)))
    image = one(tmp_path)
    np.testing.assert_allclose(image.affine, bodies.AFFINE, atol=1e-9)
    there = [index for index in range(16) if index not in (6, 7)]
    np.testing.assert_array_equal(image.array[0, there], volume[there])
    np.testing.assert_allclose(image.array[0, 6], volume[5] * (2 / 3) + volume[8] / 3, atol=1e-3)
    assert image.notes[0] == "Gap of 7.500 mm between slices 5 and 6, where 2.500 mm are usual: 2 slices are missing."
    assert "2 of 16 planes lie between slices and are interpolated: 6 to 7." in image.notes[1]


def test_slices_can_be_kept_as_they_are(tmp_path, bodies):
    """Then the affine is true at both ends, as SimpleITK's is, and the notes say how wrong it is between."""
    volume = bodies.body()
    write_series(tmp_path, volume, bodies.AFFINE, SeriesForm(missing=(6, 7)))
    image = one(tmp_path, spacing="keep")
    np.testing.assert_array_equal(image.array[0], np.delete(volume, (6, 7), axis=0))
    assert image.spacing_mm[0] == pytest.approx(37.5 / 13)
    assert "up to 2.692 mm beside the affine" in image.notes[1]  # slice 6 at 20 mm, the affine says 6 * 37.5 / 13


def test_a_stack_can_be_refused(tmp_path, bodies):
    write_series(tmp_path / "gap", bodies.body(), bodies.AFFINE, SeriesForm(missing=(6,)))
    write_series(tmp_path / "tilt", bodies.body(), bodies.AFFINE, SeriesForm(tilt_deg=10), name="tilted")
    for folder, option in (("gap", {"spacing": "refuse"}), ("tilt", {"tilt": "refuse"})):
        with pytest.raises(ImageError) as caught:
            read_volumes(tmp_path / folder, **option)
        assert caught.value.reason is Reason.GEOMETRY_REFUSED
    image = one(tmp_path, tilt="refuse")
    assert "15 geometry_refused" not in image.notes[-1]
    assert "16 geometry_refused" in image.notes[-1]


def test_uneven_slices_are_put_on_an_even_grid(tmp_path, bodies):
    write_series(tmp_path, bodies.body(), bodies.AFFINE, SeriesForm(jitter=0.25, shuffled=True))
    image = one(tmp_path)
    assert_true_everywhere(image, bodies, atol=12)  # linear between slices 2.5 mm apart
    assert image.notes[0].startswith("Uneven spacing: steps from ")
    kept = one(tmp_path, spacing="keep")
    places = bodies.voxel_places(kept.affine, kept.array.shape[1:])
    assert np.abs(kept.array[0][INNER] - bodies.values_at(places)[INNER]).max() > 12


@pytest.mark.parametrize("degrees", [15, -8])
@pytest.mark.parametrize("enhanced", [False, True])
def test_a_tilted_gantry_is_sheared(tmp_path, bodies, degrees, enhanced):
    how = SeriesForm(tilt_deg=degrees, shuffled=True, enhanced=enhanced)
    write_series(tmp_path, bodies.body(), bodies.AFFINE, how)
    image = one(tmp_path)
    linear = image.affine[:3, :3] / image.spacing_mm
    np.testing.assert_allclose(linear.T @ linear, np.eye(3), atol=1e-6)
    assert image.spacing_mm == pytest.approx((2.5 * np.cos(np.deg2rad(degrees)), 1.25, 1.5))
    assert_true_everywhere(image, bodies, atol=8)
    assert f"tilted by {abs(degrees)}.00 degrees" in image.notes[-1]


def test_a_tilted_gantry_can_be_kept(tmp_path, bodies):
    """The pixels are the files', the affine is oblique and just as true."""
    paths = write_series(tmp_path, bodies.body(), bodies.AFFINE, SeriesForm(tilt_deg=15))
    image = one(tmp_path, tilt="keep")
    np.testing.assert_array_equal(image.array[0, 4] + 1024, pydicom.dcmread(paths[4]).pixel_array)
    assert_true_everywhere(image, bodies, atol=6)
    assert image.spacing_mm[0] == pytest.approx(2.5)


def test_oblique_axes(tmp_path, bodies):
    write_series(tmp_path, bodies.body(), bodies.AFFINE, SeriesForm(oblique_deg=(5, -9, 7), shuffled=True))
    image = one(tmp_path)
    assert_true_everywhere(image, bodies, atol=6)
    assert image.notes == ()


def test_duplicates_localizer_and_odd_slices_are_named(tmp_path, bodies):
    volume = bodies.body()
    how = SeriesForm(duplicates=(3, 4), copies=(9,), localizer=True, shuffled=True)
    paths = write_series(tmp_path, volume, bodies.AFFINE, how)
    odd = pydicom.dcmread(next(path for path in paths if b"AXIAL" in path.read_bytes()))
    odd.SOPInstanceUID, odd.Rows = odd.SOPInstanceUID[:-3] + "777", 20
    odd.PixelData = odd.PixelData[: 20 * 32 * 2]
    odd.save_as(tmp_path / "odd.dcm", enforce_file_format=True)
    image = one(tmp_path)
    np.testing.assert_array_equal(image.array[0], volume)
    assert image.notes == (
        "2 duplicate slices at the same place with equal pixels dropped.",
        "1 odd slice left out: 20 x 32 pixels instead of 40 x 32.",
        "1 duplicate slice with the same instance UID dropped.",
        "Localizers set apart: 1 (16 x 32).",
    )


def test_a_localizer_alone_is_returned(tmp_path, bodies):
    for path in write_series(tmp_path, bodies.body(), bodies.AFFINE, SeriesForm(localizer=True)):
        if b"LOCALIZER" not in path.read_bytes():
            path.unlink()
    image = one(tmp_path)
    assert image.array.shape == (1, 1, 16, 32)
    assert image.notes == ("Localizers set apart: 1 (16 x 32).",)


def test_a_mask_on_the_sheared_grid_comes_back_onto_the_slices(tmp_path, bodies):
    """What is above a threshold on the grid at right angles is so, nearly everywhere, in the slices themselves."""
    write_series(tmp_path, bodies.body(), bodies.AFFINE, SeriesForm(tilt_deg=15))
    sheared, slices = one(tmp_path), one(tmp_path, tilt="keep")
    mask = replace(sheared, array=(sheared.array > 100).astype(np.float32))
    back = onto(mask, slices)
    assert back.array.shape == slices.array.shape
    assert (back.array == (slices.array > 100)).mean() > 0.97


@pytest.mark.parametrize("size", [8, 50])
def test_a_size_keeps_the_affine_true(tmp_path, bodies, size):
    write_series(tmp_path, bodies.body(), bodies.AFFINE)
    whole, image = one(tmp_path), one(tmp_path, size=size)
    assert image.array.shape == (1, 16, size, size)
    assert image.spacing_mm == pytest.approx((2.5, 1.25 * 40 / size, 1.5 * 32 / size))
    for end, theirs in ((-0.5, (-0.5, -0.5)), (size - 0.5, (39.5, 31.5))):
        np.testing.assert_allclose(image.affine @ [0, end, end, 1], whole.affine @ [0, *theirs, 1], atol=1e-9)


def test_window_auto(tmp_path, bodies):
    volume = bodies.body()
    window = {"WindowCenter": 40, "WindowWidth": 400}
    write_series(tmp_path / "a", volume, bodies.AFFINE, elements=window)
    image = one(tmp_path / "a", window="auto")
    np.testing.assert_allclose(image.array[0], np.clip((volume - (39.5 - 199.5)) / 399, 0, 1), atol=1e-5)
    assert image.header["window"] == {"function": "LINEAR", "center": 40, "width": 400}
    write_series(tmp_path / "b", volume, bodies.AFFINE, elements={"PhotometricInterpretation": "MONOCHROME1"})
    image = one(tmp_path / "b", window="auto")
    span = float(volume.max() - volume.min())
    np.testing.assert_allclose(image.array[0], 1 - (volume - volume.min()) / span, atol=1e-5)


def test_broken_files_are_named_by_their_reason(tmp_path, bodies):
    volume = bodies.body()
    paths = write_series(tmp_path, volume, bodies.AFFINE, SeriesForm(syntax=JPEG_LS))
    data = paths[3].read_bytes()
    paths[3].write_bytes(data[: len(data) - 400])  # the header is whole, the pixels are not
    paths[9].write_bytes(b"")
    (tmp_path / "notes.txt").write_text("nothing to see")
    (tmp_path / "DICOMDIR").write_bytes(b"x" * 200)
    image = one(tmp_path)
    there = [index for index in range(16) if index not in (3, 9)]
    np.testing.assert_array_equal(image.array[0, there], volume[there])
    told = " ".join(image.notes)
    assert "1 of 15 slices cannot be read: slice 3 (decode_failed)." in told
    assert "Files or slices of the folder left out: 1 decode_failed, 1 file_empty, 1 not_an_image." in told
    assert "Gap of 5.000 mm between slices 2 and 3" in told
    assert str(tmp_path) not in told


def test_folders_that_hold_no_volume(tmp_path, write_dicom):
    with pytest.raises(DataError, match="no such folder"):
        read_volumes(tmp_path / "nowhere")
    with pytest.raises(DataError, match="no DICOM files"):
        read_volumes(tmp_path)
    write_dicom(np.zeros((4, 5), np.uint16))
    with pytest.raises(ImageError) as caught:
        read_volumes(tmp_path)
    assert caught.value.reason is Reason.GEOMETRY_MISSING
    for wrong in ({"tilt": "x"}, {"spacing": "x"}, {"window": "x"}, {"size": 0}):
        with pytest.raises(UsageError):
            read_volumes(tmp_path, **wrong)


@pytest.mark.shared
def test_a_folder_of_everything_is_read(shared):
    """Odd, broken and compressed files among a series: the series comes out, the rest is counted."""
    images = read_volumes(shared / "dicom")
    [series] = [image for image in images if image.header["slices"] == 20]
    assert series.array.shape == (1, 20, 512, 512)
    assert "header_invalid" in series.notes[-1]
    assert all(image.affine is not None and np.isfinite(image.affine).all() for image in images)


def _series_with(tmp_path, change):
    """Six slices of a phantom series, each dataset changed before it is written again."""
    values = np.arange(6 * 8 * 8, dtype=np.int16).reshape(6, 8, 8)
    affine = np.array([[0, 0, 1.0, 0], [0, 1.0, 0, 0], [3.0, 0, 0, 0], [0, 0, 0, 1]])
    for number, path in enumerate(write_series(tmp_path, values, affine)):
        dataset = pydicom.dcmread(path)
        change(dataset, number)
        dataset.save_as(path, enforce_file_format=True)
    return tmp_path


def test_slices_that_share_an_instance_uid_and_lie_elsewhere_are_kept(tmp_path):
    def anonymise(dataset, number):
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "2.25.1"

    (volume,) = medmm.read_volumes(_series_with(tmp_path, anonymise))
    assert volume.array.shape == (1, 6, 8, 8)


def test_a_word_in_the_description_of_an_axial_ct_makes_no_localizer(tmp_path):
    def describe(dataset, number):
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        dataset.SeriesDescription = "CHEST POST SCOUT"

    (volume,) = medmm.read_volumes(_series_with(tmp_path, describe))
    assert not any("ocalizer" in note for note in volume.notes)


def test_three_slices_with_a_wide_gap_are_not_filled_up(tmp_path):
    paths = sorted(_series_with(tmp_path, lambda dataset, number: None).iterdir())
    for path in paths[3:]:
        path.unlink()
    dataset = pydicom.dcmread(paths[2])
    dataset.ImagePositionPatient = [*dataset.ImagePositionPatient[:2], dataset.ImagePositionPatient[2] + 297]
    dataset.save_as(paths[2], enforce_file_format=True)
    assert max(volume.array.shape[1] for volume in medmm.read_volumes(tmp_path)) == 2


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_and_no_part_of_the_range(tmp_path, photometric):
    """Stored values run from 1024 to 1407; 0 is padding."""

    def pad(dataset, number):
        pixels = dataset.pixel_array.copy()
        pixels[0, :3] = 0
        dataset.PixelData = pixels.astype("<u2").tobytes()
        dataset.add_new(0x00280120, "US", 0)
        dataset.PhotometricInterpretation = photometric
        for keyword in ("WindowCenter", "WindowWidth"):
            if keyword in dataset:
                delattr(dataset, keyword)

    (volume,) = medmm.read_volumes(_series_with(tmp_path, pad), window="auto")
    low, high = volume.header["window"]["low"], volume.header["window"]["high"]
    assert (low, high) == (3.0, 383.0)
    planes = volume.array[0].reshape(6, -1)
    assert (np.sort(planes, axis=1)[:, :3] == 0).all()
    row = volume.array[0, 0, 0]
    assert (row[:3] == 0).all() or (row[-3:] == 0).all()
