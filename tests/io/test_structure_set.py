"""Contours of structure sets to masks: round trips, point-in-polygon in millimetres, and what is left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from matplotlib.path import Path as Outline
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from medmm.errors import ImageError, Reason
from medmm.io.structure_set import rasterise, read_structure_set
from medmm.types import Image

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def volume(shape=(5, 30, 24), spacing=(3.0, 0.8, 0.9), turn=0.0):
    """An image whose axes are turned by ``turn`` radians about x and y, with the affine worked out by hand."""
    c, s = np.cos(turn), np.sin(turn)
    about_x = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    about_y = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    affine = np.eye(4)
    affine[:3, :3] = about_y @ about_x @ np.array([[0, 0, -1], [0, -1, 0], [1, 0, 0]]) @ np.diag(spacing)
    affine[:3, 3] = 12, 30, -400
    return Image(np.zeros((1, *shape), np.float32), affine=affine)


def item(**values):
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def in_patient(image, plane, corners):
    """LPS mm of corners ``[N, 2]`` (row, column) on a plane of the image."""
    points = np.column_stack([np.full(len(corners), plane), corners, np.ones(len(corners))])
    return (LPS @ image.affine @ points.T).T[:, :3]


@pytest.fixture
def write_structures(tmp_path):
    """Return ``write({name: [(type, points [N, 3] LPS mm), ...]}, **elements) -> path``."""

    def write(regions, **elements):
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.481.3", generate_uid()
        dataset.Modality, dataset.SpecificCharacterSet = "RTSTRUCT", "ISO_IR 100"
        image = item(ReferencedSOPInstanceUID="1.2.9")
        series = item(SeriesInstanceUID="1.2.3", ContourImageSequence=[image, image])
        dataset.ReferencedFrameOfReferenceSequence = [
            item(FrameOfReferenceUID="1.2.4", RTReferencedStudySequence=[item(RTReferencedSeriesSequence=[series])])
        ]
        dataset.StructureSetROISequence = [
            item(ROINumber=number, ROIName=name, ROIGenerationAlgorithm="MANUAL")
            for number, name in enumerate(regions, 1)
        ]
        dataset.ROIContourSequence = [
            item(
                ReferencedROINumber=number,
                ContourSequence=[
                    item(
                        ContourGeometricType=kind,
                        NumberOfContourPoints=len(points),
                        ContourData=[f"{value:.7f}"[:16] for value in np.ravel(points)],
                    )
                    for kind, points in contours
                ],
            )
            for number, contours in enumerate(regions.values(), 1)
        ]
        dataset.RTROIObservationsSequence = [
            item(ReferencedROINumber=number, RTROIInterpretedType="ORGAN") for number, _ in enumerate(regions, 1)
        ]
        for keyword, value in elements.items():
            setattr(dataset, keyword, value)
        dataset.save_as(tmp_path / "rt.dcm", enforce_file_format=True)
        return tmp_path / "rt.dcm"

    return write


def star(centre, radius, seed, corners=40):
    angles = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    radii = radius * np.random.default_rng(seed).uniform(0.5, 1, corners)
    return np.stack([centre[0] + radii * np.sin(angles), centre[1] + radii * np.cos(angles)], -1)


@pytest.mark.parametrize("turn", [0.0, 0.4], ids=["axial", "oblique"])
def test_filled_where_the_centre_of_a_pixel_lies_inside(write_structures, turn):
    image = volume(turn=turn)
    outlines = {1: star((14, 12), 9, 0), 3: star((10.3, 11.7), 8, 1)}
    contours = [("CLOSED_PLANAR", in_patient(image, plane, corners)) for plane, corners in outlines.items()]
    (mask,) = rasterise(read_structure_set(write_structures({"Liver": contours})), image)
    expected = np.zeros((5, 30, 24), bool)
    grid = np.stack(np.mgrid[:30, :24], -1).reshape(-1, 2)
    for plane, corners in outlines.items():
        expected[plane] = Outline(corners).contains_points(grid).reshape(30, 24)
    np.testing.assert_array_equal(mask.array, expected)
    assert expected.sum() > 200
    assert (mask.number, mask.name, mask.notes) == (1, "Liver", ())


def test_what_the_object_says(write_structures):
    square = np.array([[2, 2], [2, 9], [9, 9], [9, 2.0]])
    contour = ("CLOSED_PLANAR", in_patient(volume(), 0, square))
    found = read_structure_set(write_structures({"Lunge links": [contour], "Bläschen": []}))
    assert [(one.number, one.name, one.interpreted, one.algorithm) for one in found.regions] == [
        (1, "Lunge links", "ORGAN", "MANUAL"),
        (2, "Bläschen", "ORGAN", "MANUAL"),
    ]
    assert (found.frame_of_reference, found.series_uid, found.source_uids) == ("1.2.4", "1.2.3", ("1.2.9",))
    points = found.regions[0].contours[0]
    np.testing.assert_allclose(points, in_patient(volume(), 0, square) * [-1, -1, 1], atol=1e-6)
    assert "Lunge" not in repr(found)
    assert "1.2.3" not in repr(found)


@pytest.mark.parametrize("kind", ["CLOSED_PLANAR", "CLOSEDPLANAR_XOR"])
def test_holes_are_cut_out_and_keyholes_too(write_structures, kind):
    image = volume(turn=0.3)
    outer = np.array([[2.5, 2.5], [2.5, 20.5], [25.5, 20.5], [25.5, 2.5]])
    hole = np.array([[8.5, 6.5], [8.5, 14.5], [16.5, 14.5], [16.5, 6.5]])
    keyhole = np.concatenate([outer, outer[:1], hole[[0, 3, 2, 1, 0]]])
    regions = {
        "ring": [(kind, in_patient(image, 2, outer)), (kind, in_patient(image, 2, hole))],
        "keyhole": [(kind, in_patient(image, 2, keyhole))],
    }
    expected = np.zeros((5, 30, 24), bool)
    expected[2, 3:26, 3:21] = True
    expected[2, 9:17, 7:15] = False
    for mask in rasterise(read_structure_set(write_structures(regions)), image):
        np.testing.assert_array_equal(mask.array, expected)


def test_contours_off_the_planes(write_structures):
    image = volume()
    square = np.array([[4.5, 4.5], [4.5, 9.5], [9.5, 9.5], [9.5, 4.5]])
    small = np.array([[6.5, 6.5], [6.5, 7.5], [7.5, 7.5], [7.5, 6.5]])

    def closed(plane, corners=square):
        return "CLOSED_PLANAR", in_patient(image, plane, corners)

    tilted = in_patient(image, 2, square)
    tilted[:2, 2] += 4.0
    regions = {
        "near": [closed(1.4), closed(-0.4), closed(4.45)],
        "beyond": [closed(1), closed(-0.6), closed(4.6), closed(40)],
        "between": [closed(2), closed(2.3, small), closed(1.8, small)],
        "tilted": [closed(3), ("CLOSED_PLANAR", tilted)],
        "others": [closed(0), ("POINT", [[0, 0, 0]]), ("OPEN_PLANAR", tilted), ("CLOSED_PLANAR", tilted[:2])],
    }
    found = {mask.name: mask for mask in rasterise(read_structure_set(write_structures(regions)), image)}
    filled = np.zeros((30, 24), bool)
    filled[5:10, 5:10] = True

    def planes(name):
        return [plane for plane in range(5) if (found[name].array[plane] == filled).all()]

    assert {name: planes(name) for name in regions} == {
        "near": [0, 1, 4], "beyond": [1], "between": [2], "tilted": [3], "others": [0],
    }  # fmt: skip
    assert all(mask.array.sum() == 25 * len(planes(name)) for name, mask in found.items())
    assert {name: mask.notes for name, mask in found.items()} == {
        "near": (),
        "beyond": ("3 contours above or below the volume: left out.",),
        "between": ("2 contours on a plane with nearer ones: left out.",),
        "tilted": ("1 contour not parallel to the planes: left out.",),
        "others": (
            "1 x CLOSED_PLANAR with fewer than three points: encloses no area.",
            "1 x OPEN_PLANAR: encloses no area.",
            "1 x POINT: encloses no area.",
        ),
    }


def test_a_single_slice(write_structures):
    image = volume(shape=(1, 30, 24))
    square = np.array([[4.5, 4.5], [4.5, 9.5], [9.5, 9.5], [9.5, 4.5]])
    structures = read_structure_set(write_structures({"a": [("CLOSED_PLANAR", in_patient(image, 0.3, square))]}))
    flat = Image(image.array[:, 0], affine=image.affine)
    for one in (image, flat):
        (mask,) = rasterise(structures, one)
        assert mask.array.shape == (1, 30, 24)
        assert mask.array[0, 5:10, 5:10].all()
        assert mask.array.sum() == 25


def test_only_the_regions_that_are_asked_for(write_structures):
    image = volume()
    square = np.array([[2, 2], [2, 9], [9, 9], [9, 2.0]])
    contour = ("CLOSED_PLANAR", in_patient(image, 0, square))
    structures = read_structure_set(write_structures({"a": [contour], "b": [contour]}))
    assert [mask.name for mask in rasterise(structures, image, names={"b"})] == ["b"]


def test_the_wrong_image_is_refused(write_structures):
    image = volume()
    contour = ("CLOSED_PLANAR", in_patient(image, 0, np.array([[2, 2], [2, 9], [9, 9], [9, 2.0]])))
    structures = read_structure_set(write_structures({"a": [contour]}))
    far = Image(image.array, affine=image.affine + np.array([[0, 0, 0, 500.0]] + [[0, 0, 0, 0]] * 3))
    for other in (far, Image(np.zeros((1, 30, 24), np.float32))):
        with pytest.raises(ImageError) as refused:
            rasterise(structures, other)
        assert refused.value.reason is Reason.DIMENSIONS_MISMATCH


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"StructureSetROISequence": []}, Reason.HEADER_INVALID),
        ({"StructureSetROISequence": [item(ROIName="x")]}, Reason.HEADER_INVALID),
        ({"StructureSetROISequence": [item(ROINumber=1), item(ROINumber=1)]}, Reason.HEADER_INVALID),
    ],
)
def test_broken_objects_are_refused(write_structures, elements, reason):
    with pytest.raises(ImageError) as refused:
        read_structure_set(write_structures({"a": []}, **elements))
    assert refused.value.reason is reason


@pytest.mark.parametrize("data", [["1", "2"], ["1", "2", "1e30"]])
def test_broken_coordinates_are_refused(write_structures, data):
    contour = item(ContourGeometricType="CLOSED_PLANAR", ContourData=data)
    with pytest.raises(ImageError) as refused:
        read_structure_set(write_structures({"a": []}, ROIContourSequence=[
            item(ReferencedROINumber=1, ContourSequence=[contour])]))  # fmt: skip
    assert refused.value.reason is Reason.HEADER_INVALID


def test_half_a_structure_set_is_none(write_structures, tmp_path):
    contour = ("CLOSED_PLANAR", in_patient(volume(), 0, star((14, 12), 9, 0)))
    data = write_structures({"a": [contour], "b": [contour, contour]}).read_bytes()
    for length in range(data.index(b"\x06\x30\x39\x00") + 12, len(data) - 100, 41):
        (tmp_path / "cut.dcm").write_bytes(data[:length])
        with pytest.raises(ImageError) as refused:
            read_structure_set(tmp_path / "cut.dcm")
        assert refused.value.reason is Reason.HEADER_INVALID


def test_another_object_is_refused(write_dicom):
    with pytest.raises(ImageError) as refused:
        read_structure_set(write_dicom(np.zeros((4, 4), np.uint8)))
    assert refused.value.reason is Reason.NOT_AN_IMAGE


@pytest.mark.shared
def test_shared_structure_set(shared: Path):
    path = shared / "dicom" / "odd" / "rtstruct.dcm"
    found, expected = read_structure_set(path), pydicom.dcmread(path, force=True)
    assert [one.name for one in found.regions] == ["patient", "Isocenter 1", "Isocenter 2"]
    assert [len(one.contours) for one in found.regions] == [3, 0, 0]
    assert found.regions[1].notes == ("1 x POINT: encloses no area.",)
    for ours, theirs in zip(found.regions[0].contours, expected.ROIContourSequence[0].ContourSequence, strict=True):
        np.testing.assert_allclose(ours * [-1, -1, 1], np.array(theirs.ContourData, float).reshape(-1, 3))
    affine = np.array([[0, 0, -10.0, 250], [0, -10.0, 0, 250], [100.0, 0, 0, -200], [0, 0, 0, 1]])
    mask = rasterise(found, Image(np.zeros((1, 5, 51, 51), np.float32), affine=affine))[0]
    grid = 10.0 * np.stack(np.mgrid[:51, :51], -1).reshape(-1, 2)[:, ::-1] - 250  # x, y in LPS mm
    for contour in expected.ROIContourSequence[0].ContourSequence:
        points = np.array(contour.ContourData, float).reshape(-1, 3)
        plane = round((points[0, 2] + 200) / 100)
        inside = Outline(points[:, :2]).contains_points(grid + 1e-4).reshape(51, 51)  # centres on a side: upper left
        np.testing.assert_array_equal(mask.array[plane], inside)
