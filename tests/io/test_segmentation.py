"""Segmentation objects to masks, against the arrays they were made of, highdicom's reader, pydicom and SimpleITK."""

from __future__ import annotations

import io
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless, generate_uid

from medmm.errors import ImageError, Reason
from medmm.io.coding import Code
from medmm.io.segmentation import on_grid, read_segmentation
from medmm.types import Image

SHAPE = (7, 20, 13)  # 260 pixels a frame: not a whole number of bytes when packed
OBLIQUE = (0.8, 0.6, 0, 0, 0, -1)


def blobs(seed=0, shape=SHAPE):
    masks = np.random.default_rng(seed).random((2, *shape)) < 0.3
    masks[:, [0, 3]] = False  # planes without a frame
    masks[1, 5] = False
    return masks


def describe(number, label, **more):
    return hd.seg.SegmentDescription(
        number, label, codes.SCT.Organ, codes.SCT.Lung, "MANUAL", anatomic_regions=[codes.SCT.Chest], **more
    )


def write(path, sources, pixels, kind="BINARY", syntax=ExplicitVRLittleEndian, **settings):
    number = pixels.shape[-1] if pixels.ndim == 4 else int(pixels.max())
    dataset = hd.seg.Segmentation(
        sources, pixels, kind, [describe(i + 1, f"S{i + 1}") for i in range(number)], generate_uid(), 1, generate_uid(),
        1, "Maker", "Model", "1", "2", transfer_syntax_uid=syntax, **settings,
    )  # fmt: skip
    dataset.save_as(path)
    return dataset


def image_of(sources):
    """The volume of slices with the affine worked out by hand: no code of medmm."""
    first, last = sources[0], sources[-1]
    lps = np.eye(4)
    directions = np.array(first.ImageOrientationPatient, float)
    lps[:3, 1] = directions[3:] * first.PixelSpacing[0]
    lps[:3, 2] = directions[:3] * first.PixelSpacing[1]
    lps[:3, 3] = first.ImagePositionPatient
    lps[:3, 0] = (np.array(last.ImagePositionPatient, float) - lps[:3, 3]) / (len(sources) - 1)
    array = np.stack([one.pixel_array for one in sources]).astype(np.float32)
    return Image(array[None], affine=np.diag([-1, -1, 1, 1]) @ lps)


@pytest.mark.parametrize("orientation", [(1, 0, 0, 0, 1, 0), OBLIQUE], ids=["axial", "oblique"])
@pytest.mark.parametrize("omit", [True, False], ids=["empty frames omitted", "all frames"])
def test_binary_frames_come_back_where_they_were(ct_slices, tmp_path, orientation, omit):
    sources, masks = ct_slices(SHAPE, orientation=orientation), blobs()
    written = write(tmp_path / "a.dcm", sources, np.moveaxis(masks, 0, -1).astype(np.uint8), omit_empty_frames=omit)
    found = read_segmentation(tmp_path / "a.dcm")
    assert (found.kind, found.fraction, found.notes) == ("BINARY", None, ())
    assert found.series_uid == sources[0].SeriesInstanceUID
    assert found.frame_of_reference == sources[0].FrameOfReferenceUID
    assert set(found.source_uids) == {one.SOPInstanceUID for one in sources}
    placed = on_grid(found, image_of(sources))
    for segment, mask in zip(placed.segments, masks, strict=True):
        assert segment.array.dtype == np.bool_
        np.testing.assert_array_equal(segment.array, mask)
    assert written.NumberOfFrames == (5 + 4 if omit else 14)


def test_what_a_segment_says_of_itself(ct_slices, tmp_path):
    write(tmp_path / "a.dcm", ct_slices(SHAPE), np.moveaxis(blobs(), 0, -1).astype(np.uint8))
    second = read_segmentation(tmp_path / "a.dcm").segments[1]
    assert (second.number, second.label, second.algorithm, second.algorithm_name) == (2, "S2", "MANUAL", None)
    assert second.category == Code(codes.SCT.Organ.value, "SCT", "Organ")
    assert second.type == Code("39607008", "SCT", "Lung")
    assert second.regions == (Code(codes.SCT.Chest.value, "SCT", "Chest"),)


@pytest.mark.parametrize("orientation", [(1, 0, 0, 0, 1, 0), OBLIQUE], ids=["axial", "oblique"])
def test_voxels_and_affine_are_highdicoms(ct_slices, tmp_path, orientation):
    write(tmp_path / "a.dcm", ct_slices(SHAPE, orientation=orientation), np.moveaxis(blobs(), 0, -1).astype(np.uint8))
    oracle = hd.seg.segread(tmp_path / "a.dcm").get_volume(combine_segments=False, rescale_fractional=False)
    found = read_segmentation(tmp_path / "a.dcm")
    ours = np.diag([-1, -1, 1, 1]) @ found.affine
    theirs, array = oracle.affine, oracle.array
    if not np.allclose(ours, theirs, atol=1e-6):  # highdicom may count planes the other way
        array = array[::-1]
        theirs = oracle.flip_spatial(0).affine
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    np.testing.assert_array_equal(np.stack([one.array for one in found.segments], -1), array)


def test_pixels_by_source_image_are_highdicoms(ct_slices, tmp_path):
    sources = ct_slices(SHAPE)
    write(tmp_path / "a.dcm", sources, np.moveaxis(blobs(), 0, -1).astype(np.uint8))
    oracle = hd.seg.segread(tmp_path / "a.dcm").get_pixels_by_source_instance(
        [one.SOPInstanceUID for one in sources], ignore_spatial_locations=True, assert_missing_frames_are_empty=True
    )
    placed = on_grid(read_segmentation(tmp_path / "a.dcm"), image_of(sources))
    np.testing.assert_array_equal(np.stack([one.array for one in placed.segments], -1), oracle)


def test_simpleitk_reads_the_same_frames(tmp_path, ct_slices):
    import SimpleITK

    masks = np.random.default_rng(3).random((1, 4, 16, 16)) < 0.4
    written = write(tmp_path / "a.dcm", ct_slices(masks.shape[1:]), np.moveaxis(masks, 0, -1).astype(np.uint8))
    theirs = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(tmp_path / "a.dcm")))  # frames as they are stored
    heights = [
        group.PlanePositionSequence[0].ImagePositionPatient[2] for group in written.PerFrameFunctionalGroupsSequence
    ]
    expected = theirs[np.argsort(heights)] != 0
    np.testing.assert_array_equal(read_segmentation(tmp_path / "a.dcm").segments[0].array, expected)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless, JPEGLSLossless, JPEG2000Lossless])
@pytest.mark.parametrize("kind", ["PROBABILITY", "OCCUPANCY"])
def test_fractions(ct_slices, tmp_path, syntax, kind):
    sources = ct_slices((3, 32, 40))
    values = np.random.default_rng(1).integers(0, 201, (3, 32, 40)) / 200
    write(tmp_path / "a.dcm", sources, values[..., None], "FRACTIONAL", syntax, fractional_type=kind,
          max_fractional_value=200)  # fmt: skip
    found = read_segmentation(tmp_path / "a.dcm")
    assert (found.kind, found.fraction, found.segments[0].array.dtype) == ("FRACTIONAL", kind, np.float32)
    np.testing.assert_allclose(on_grid(found, image_of(sources)).segments[0].array, values, atol=1e-6)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless, JPEGLSLossless])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_label_maps(ct_slices, tmp_path, dtype, syntax):
    sources, masks = ct_slices(SHAPE), blobs()
    labels = np.where(masks[0], 1, np.where(masks[1], 2, 0)).astype(dtype)
    if dtype == np.uint16:
        labels[6, 0, 0] = 300
        settings = {"segment_descriptions": [describe(i, f"S{i}") for i in (1, 2, 300)]}
        dataset = hd.seg.Segmentation(
            sources, labels, "LABELMAP", series_instance_uid=generate_uid(), series_number=1,
            sop_instance_uid=generate_uid(), instance_number=1, manufacturer="M", manufacturer_model_name="M",
            software_versions="1", device_serial_number="2", transfer_syntax_uid=syntax, **settings,
        )  # fmt: skip
        dataset.save_as(tmp_path / "a.dcm")
        assert dataset.BitsAllocated == 16
    else:
        write(tmp_path / "a.dcm", sources, labels, "LABELMAP", syntax)
    found = on_grid(read_segmentation(tmp_path / "a.dcm"), image_of(sources))
    assert found.kind == "LABELMAP"
    assert [one.number for one in found.segments] == ([1, 2, 300] if dtype == np.uint16 else [1, 2])
    for segment in found.segments:
        np.testing.assert_array_equal(segment.array, labels == segment.number)


def test_a_label_map_in_colours_with_values_that_nobody_describes(ct_slices, tmp_path):
    sources, masks = ct_slices(SHAPE), blobs()
    labels = np.where(masks[0], 1, np.where(masks[1], 2, 0)).astype(np.uint8)
    dataset = write(tmp_path / "a.dcm", sources, labels, "LABELMAP")
    dataset.PhotometricInterpretation = "PALETTE COLOR"
    del dataset.SegmentSequence[-1]
    dataset.save_as(tmp_path / "b.dcm")
    found = on_grid(read_segmentation(tmp_path / "b.dcm"), image_of(sources))
    assert [one.number for one in found.segments] == [1]
    assert found.notes == ("The label map has 1 value that no segment describes; it was left out.",)
    np.testing.assert_array_equal(found.segments[0].array, masks[0])


def test_order_of_frames_does_not_matter(ct_slices, tmp_path):
    sources, masks = ct_slices((6, 8, 8)), np.random.default_rng(5).random((1, 6, 8, 8)) < 0.5
    dataset = write(tmp_path / "a.dcm", sources, np.moveaxis(masks, 0, -1).astype(np.uint8))
    order = np.random.default_rng(6).permutation(6)
    frames = np.frombuffer(dataset.PixelData[:48], np.uint8).reshape(6, 8)
    dataset.PixelData = frames[order].tobytes()
    groups = list(dataset.PerFrameFunctionalGroupsSequence)
    dataset.PerFrameFunctionalGroupsSequence = [groups[i] for i in order]
    dataset.save_as(tmp_path / "b.dcm")
    placed = on_grid(read_segmentation(tmp_path / "b.dcm"), image_of(sources))
    np.testing.assert_array_equal(placed.segments[0].array, masks[0])


def test_frames_on_one_plane_are_united_and_named(ct_slices, tmp_path):
    masks = np.random.default_rng(5).random((1, 4, 8, 8)) < 0.5
    dataset = write(tmp_path / "a.dcm", ct_slices((4, 8, 8)), np.moveaxis(masks, 0, -1).astype(np.uint8))
    groups = dataset.PerFrameFunctionalGroupsSequence
    groups[1].PlanePositionSequence = groups[0].PlanePositionSequence
    dataset.save_as(tmp_path / "b.dcm")
    found = read_segmentation(tmp_path / "b.dcm")
    frames = np.unpackbits(np.frombuffer(dataset.PixelData[:32], np.uint8), bitorder="little").reshape(4, 8, 8)
    places = [float(group.PlanePositionSequence[0].ImagePositionPatient[2]) for group in groups]
    plane = round((places[0] - min(places)) / 2)
    np.testing.assert_array_equal(found.segments[0].array[plane], (frames[0] | frames[1]) != 0)
    assert found.notes == ("1 x several frames of one segment on one plane: united.",)


def test_a_single_slice_with_an_affine(ct_slices, tmp_path):
    sources, masks = ct_slices(SHAPE), blobs()
    write(tmp_path / "a.dcm", sources[2:3], masks[:1, 2:3].transpose(1, 2, 3, 0).astype(np.uint8))
    volume = image_of(sources)
    step = np.eye(4)
    step[0, 3] = 2
    found = on_grid(read_segmentation(tmp_path / "a.dcm"), Image(volume.array[:, 2], affine=volume.affine @ step))
    np.testing.assert_array_equal(found.segments[0].array, masks[0, 2])
    whole = on_grid(read_segmentation(tmp_path / "a.dcm"), volume)
    np.testing.assert_array_equal(whole.segments[0].array[2], masks[0, 2])
    assert whole.segments[0].array.sum() == masks[0, 2].sum()


def test_only_the_segments_that_are_asked_for(ct_slices, tmp_path):
    write(tmp_path / "a.dcm", ct_slices(SHAPE), np.moveaxis(blobs(), 0, -1).astype(np.uint8))
    whole = read_segmentation(tmp_path / "a.dcm")
    (one,) = read_segmentation(tmp_path / "a.dcm", numbers=[2]).segments
    assert one.number == 2
    np.testing.assert_array_equal(one.array, whole.segments[1].array)
    with pytest.raises(ImageError, match="no such segment"):
        read_segmentation(tmp_path / "a.dcm", numbers=[7])


def test_a_projection_needs_no_coordinates(tmp_path, write_dicom):
    source = pydicom.dcmread(write_dicom(np.zeros((12, 9), np.uint16), PatientID="P", PatientName="P^Q", StudyID="1",
                                         StudyInstanceUID="1.2", SeriesInstanceUID="1.3", SeriesNumber=1,
                                         InstanceNumber=1))  # fmt: skip
    for keyword in ("PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "AccessionNumber", "Manufacturer",
                    "ReferringPhysicianName"):  # fmt: skip
        setattr(source, keyword, "")
    mask = np.random.default_rng(0).random((12, 9)) < 0.5
    write(tmp_path / "a.dcm", [source], mask[None, ..., None].astype(np.uint8))
    found = read_segmentation(tmp_path / "a.dcm")
    assert found.affine is None
    assert found.source_uids == (source.SOPInstanceUID,)
    placed = on_grid(found, Image(np.zeros((1, 12, 9), np.float32)))
    np.testing.assert_array_equal(placed.segments[0].array, mask)
    with pytest.raises(ImageError) as refused:
        on_grid(found, Image(np.zeros((1, 9, 12), np.float32)))
    assert refused.value.reason is Reason.DIMENSIONS_MISMATCH


def test_other_grids_of_the_same_voxels(ct_slices, tmp_path):
    """Planes counted the other way, axes swapped, a volume that is larger: still voxel for voxel."""
    sources, masks = ct_slices(SHAPE), blobs()
    write(tmp_path / "a.dcm", sources, np.moveaxis(masks, 0, -1).astype(np.uint8))
    found, image = read_segmentation(tmp_path / "a.dcm"), image_of(sources)
    flip = np.eye(4)
    flip[0, 0], flip[0, 3], flip[2, 2], flip[2, 3] = -1, SHAPE[0] - 1, -1, SHAPE[2] - 1
    flipped = on_grid(found, Image(image.array, affine=image.affine @ flip))
    np.testing.assert_array_equal(flipped.segments[0].array, masks[0][::-1, :, ::-1])
    swap = np.eye(4)[:, [1, 0, 2, 3]]
    swapped = on_grid(found, Image(image.array.transpose(0, 2, 1, 3), affine=image.affine @ swap))
    np.testing.assert_array_equal(swapped.segments[0].array, masks[0].transpose(1, 0, 2))
    shift = np.eye(4)
    shift[:3, 3] = -2, -3, -1
    larger = on_grid(found, Image(np.zeros((1, 12, 30, 20), np.float32), affine=image.affine @ shift))
    np.testing.assert_array_equal(larger.segments[0].array[2:9, 3:23, 1:14], masks[0])
    assert larger.segments[0].array.sum() == masks[0].sum()


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m @ np.diag([1.0, 1.1, 1.0, 1.0]),  # other pixels
        lambda m: m + np.array([[0, 0, 0, 0.4]] + [[0, 0, 0, 0]] * 3),  # shifted by half a pixel
        lambda m: m + np.array([[0, 0, 0, 0]] * 2 + [[0, 0, 0, 1.0], [0, 0, 0, 0]]),  # by half a plane
        lambda m: m + np.array([[0, 0, 0, 9 * 0.9]] + [[0, 0, 0, 0]] * 3),  # by whole pixels, over the edge
        lambda m: np.array([[1, 0, 0, 0], [0, 0.8, -0.6, 0], [0, 0.6, 0.8, 0], [0, 0, 0, 1]]) @ m,  # turned
    ],
)
def test_what_does_not_lie_on_the_grid_is_refused(ct_slices, tmp_path, change):
    sources = ct_slices(SHAPE)
    write(tmp_path / "a.dcm", sources, np.moveaxis(blobs(), 0, -1).astype(np.uint8))
    image = image_of(sources)
    with pytest.raises(ImageError) as refused:
        on_grid(read_segmentation(tmp_path / "a.dcm"), Image(image.array, affine=change(image.affine)))
    assert refused.value.reason is Reason.DIMENSIONS_MISMATCH


def changed(tmp_path, ct_slices, change):
    dataset = write(tmp_path / "a.dcm", ct_slices(SHAPE), np.moveaxis(blobs(), 0, -1).astype(np.uint8))
    change(dataset)
    dataset.save_as(tmp_path / "b.dcm")
    return tmp_path / "b.dcm"


def no_segments(dataset):
    del dataset.SegmentSequence


def no_groups(dataset):
    del dataset.PerFrameFunctionalGroupsSequence


def unknown_segment(dataset):
    dataset.PerFrameFunctionalGroupsSequence[0].SegmentIdentificationSequence[0].ReferencedSegmentNumber = 9


def lost_position(dataset):
    del dataset.PerFrameFunctionalGroupsSequence[2].PlanePositionSequence


def bad_position(dataset):
    dataset.PerFrameFunctionalGroupsSequence[2].PlanePositionSequence[0].ImagePositionPatient = [1, 2]


def uneven(dataset):
    for index, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        group.PlanePositionSequence[0].ImagePositionPatient = [0, 0, index**1.7]


def shifted(dataset):
    place = dataset.PerFrameFunctionalGroupsSequence[2].PlanePositionSequence[0]
    place.ImagePositionPatient = [place.ImagePositionPatient[0] + 3, *place.ImagePositionPatient[1:]]


def tiled(dataset):
    dataset.DimensionOrganizationType = "TILED_FULL"


def strange_kind(dataset):
    dataset.SegmentationType = "SOMETHING"


def another_object(dataset):
    del dataset.SegmentationType
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"


def short(dataset):
    dataset.PixelData = dataset.PixelData[:100]


def many_planes(dataset):
    place = dataset.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0]
    place.ImagePositionPatient = [-80, -120, -1e9]
    dataset.Rows = dataset.Columns = 2


def flat_pixels(dataset):
    dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = [0, 0.9]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (no_segments, Reason.HEADER_INVALID),
        (no_groups, Reason.HEADER_INVALID),
        (unknown_segment, Reason.HEADER_INVALID),
        (lost_position, Reason.HEADER_INVALID),
        (bad_position, Reason.HEADER_INVALID),
        (flat_pixels, Reason.HEADER_INVALID),
        (strange_kind, Reason.HEADER_INVALID),
        (uneven, Reason.DIMENSIONS_MISMATCH),
        (shifted, Reason.DIMENSIONS_MISMATCH),
        (many_planes, Reason.DIMENSIONS_MISMATCH),
        (tiled, Reason.SYNTAX_UNSUPPORTED),
        (another_object, Reason.NOT_AN_IMAGE),
        (short, Reason.DECODE_FAILED),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_broken_objects_are_refused_with_a_reason(ct_slices, tmp_path, change, reason):
    with pytest.raises(ImageError) as refused:
        read_segmentation(changed(tmp_path, ct_slices, change))
    assert refused.value.reason is reason


def test_too_many_segments_are_refused_before_they_are_allocated(ct_slices, tmp_path, monkeypatch):
    from medmm.io import layout

    write(tmp_path / "a.dcm", ct_slices(SHAPE), np.moveaxis(blobs(), 0, -1).astype(np.uint8))
    monkeypatch.setattr(layout, "LARGEST_SAMPLES", 2 * 6 * 260 - 1)  # planes 1 to 6 of both segments
    with pytest.raises(ImageError) as refused:
        read_segmentation(tmp_path / "a.dcm")
    assert refused.value.reason is Reason.TOO_LARGE
    assert len(read_segmentation(tmp_path / "a.dcm", numbers=[1]).segments) == 1


def test_repr_holds_neither_labels_nor_uids(ct_slices, tmp_path):
    sources = ct_slices(SHAPE)
    write(tmp_path / "a.dcm", sources, np.moveaxis(blobs(), 0, -1).astype(np.uint8))
    told = repr(read_segmentation(tmp_path / "a.dcm"))
    assert "S1" not in told
    assert sources[0].SeriesInstanceUID not in told


@pytest.mark.slow
def test_mutants_are_read_or_refused(ct_slices, tmp_path):
    buffer = io.BytesIO()
    write(tmp_path / "a.dcm", ct_slices(SHAPE), np.moveaxis(blobs(), 0, -1).astype(np.uint8)).save_as(buffer)
    rng, data = np.random.default_rng(0), buffer.getvalue()
    refusals = 0
    for number in range(300):
        mutant = bytearray(data[: rng.integers(200, len(data))] if number % 3 == 0 else data)
        for _ in range(int(rng.integers(1, 20))):
            mutant[rng.integers(0, len(mutant))] = rng.integers(0, 256)
        (tmp_path / "m.dcm").write_bytes(mutant)
        try:
            read_segmentation(tmp_path / "m.dcm")
        except ImageError:
            refusals += 1
    assert refusals > 100


@pytest.mark.shared
@pytest.mark.parametrize("side", [512, 510])
def test_shared_files_hold_one_liver_however_they_are_packed(shared: Path, side):
    folder = shared / "dicom" / "odd"
    infix = "_nonbyte_aligned" if side == 510 else ""
    plain = folder / f"liver{infix}.dcm"
    expected = pydicom.dcmread(plain).pixel_array
    oracle = hd.seg.segread(folder / "liver.dcm").get_volume(combine_segments=False)
    for ending in ("", "_deflate", "_j2k", "_rle"):
        found = read_segmentation(folder / f"liver{infix}{ending}.dcm")
        assert found.segments[0].type == Code("T-62000", "SRT", "Liver")
        heights = found.affine[2, 3] + found.affine[2, 0] * np.arange(3)
        placed = [
            group.PlanePositionSequence[0].ImagePositionPatient[2]
            for group in pydicom.dcmread(plain, stop_before_pixels=True).PerFrameFunctionalGroupsSequence
        ]
        np.testing.assert_allclose(heights, sorted(placed))
        np.testing.assert_array_equal(found.segments[0].array, expected[np.argsort(placed)] != 0)
    np.testing.assert_allclose(abs(oracle.affine[2, 0]), found.affine[2, 0])
