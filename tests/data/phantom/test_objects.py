"""Segmentations, structure sets and reports that the phantom writes, read back by medmm and by others."""

from __future__ import annotations

import datetime
import shutil
import subprocess

import highdicom as hd
import numpy as np
import pydicom
import pytest
from scipy.ndimage import gaussian_filter

from medmm.data.phantom.documents import write_basic_text, write_imaging_report
from medmm.data.phantom.files import EXPLICIT, JPEG_2000, JPEG_LS, RLE, write_image
from medmm.data.phantom.objects import outlines, write_segmentation, write_structure_set
from medmm.data.phantom.series import SeriesForm, write_series
from medmm.data.phantom.study import make_study
from medmm.errors import ImageError, Reason
from medmm.io.segmentation import on_grid, read_segmentation
from medmm.io.structure_set import rasterise, read_structure_set
from medmm.io.structured_report import read_structured_report
from medmm.io.volume import read_volumes
from medmm.reports.parse import parse_report
from medmm.types import Image

SHAPE = (8, 40, 36)
SEED, NUMBER, SIZE = 4, 9, 48
AFFINE = np.array([[0, 0, -0.9, 20], [0, -0.8, 0, 25], [2.5, 0, 0, -300], [0, 0, 0, 1.0]])


@pytest.fixture(scope="module", params=[(0, 0, 0), (20, -12, 7)], ids=["axial", "oblique"])
def series(request, tmp_path_factory):
    """Slices from first to last, and the volume that they form, its affine by hand."""
    folder = tmp_path_factory.mktemp("series")
    how = SeriesForm(oblique_deg=request.param)
    given = {"PatientID": "P", "PatientName": "P^Q", "StudyDate": "20010203"}
    sources = [pydicom.dcmread(path) for path in write_series(folder, np.zeros(SHAPE), AFFINE, how, elements=given)]
    normal = np.cross(*np.array(sources[0].ImageOrientationPatient, float).reshape(2, 3))
    sources.sort(key=lambda one: float(np.dot(one.ImagePositionPatient, normal)))
    first, last = (np.array(sources[place].ImagePositionPatient, float) for place in (0, -1))
    across, down = np.array(sources[0].ImageOrientationPatient, float).reshape(2, 3)
    lps = np.eye(4)
    lps[:3] = np.column_stack([(last - first) / (len(sources) - 1), down * sources[0].PixelSpacing[0],
                               across * sources[0].PixelSpacing[1], first])  # fmt: skip
    return sources, Image(np.zeros((1, *SHAPE), np.float32), affine=np.diag([-1, -1, 1, 1]) @ lps)


@pytest.fixture(scope="module")
def masks():
    """Blobs with holes, corners that touch, and a plane without any."""
    field = gaussian_filter(np.random.default_rng(0).normal(size=SHAPE), (0.5, 1.5, 1.5))
    found = {"nodule": field > 0.1, "heart": field < -0.1}
    for mask in found.values():
        mask[3] = False
    return found


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
@pytest.mark.parametrize("omit", [True, False])
def test_segmentations_come_back_voxel_for_voxel(series, masks, tmp_path, kind, omit):
    sources, image = series
    write_segmentation(tmp_path / "a.dcm", sources, masks, SEED, NUMBER, kind, omit_empty=omit)
    found = on_grid(read_segmentation(tmp_path / "a.dcm"), image)
    assert found.kind == kind
    assert [one.label for one in found.segments] == ["nodule", "heart"]
    assert [one.type.meaning for one in found.segments] == ["Nodule", "Heart"]
    for segment in found.segments:
        np.testing.assert_array_equal(segment.array, masks[segment.label])
    oracle = hd.seg.segread(tmp_path / "a.dcm").get_pixels_by_source_instance(
        [one.SOPInstanceUID for one in sources], ignore_spatial_locations=True, assert_missing_frames_are_empty=True
    )
    expected = np.stack(list(masks.values()), -1)
    np.testing.assert_array_equal(oracle[..., -2:], expected)


@pytest.mark.parametrize("syntax", [EXPLICIT, RLE, JPEG_LS, JPEG_2000])
def test_fractions_come_back_to_half_a_step(series, tmp_path, syntax):
    sources, image = series
    values = np.random.default_rng(1).random(SHAPE)
    write_segmentation(tmp_path / "a.dcm", sources, {"mass": values}, SEED, NUMBER, "FRACTIONAL", syntax)
    found = on_grid(read_segmentation(tmp_path / "a.dcm"), image)
    np.testing.assert_allclose(found.segments[0].array, values, atol=0.5 / 255 + 1e-6)


def test_a_radiographs_masks(tmp_path):
    study = make_study(3, 5, SIZE)
    write_image(tmp_path / "image.dcm", 3, study)
    source = pydicom.dcmread(tmp_path / "image.dcm")
    given = {name: mask[None] for name, mask in study.masks.items()}
    assert given
    write_segmentation(tmp_path / "a.dcm", [source], given, 3, 5)
    found = on_grid(read_segmentation(tmp_path / "a.dcm"), Image(np.zeros((1, SIZE, SIZE), np.float32)))
    assert found.source_uids == (source.SOPInstanceUID,)
    assert pydicom.dcmread(tmp_path / "a.dcm").StudyInstanceUID == source.StudyInstanceUID
    for segment in found.segments:
        np.testing.assert_array_equal(segment.array, study.masks[segment.label])


def test_structure_sets_come_back_voxel_for_voxel(series, masks, tmp_path):
    sources, image = series
    write_structure_set(tmp_path / "a.dcm", sources, masks, SEED, NUMBER)
    structures = read_structure_set(tmp_path / "a.dcm")
    assert structures.series_uid == sources[0].SeriesInstanceUID
    assert structures.frame_of_reference == sources[0].FrameOfReferenceUID
    for found in rasterise(structures, image):
        np.testing.assert_array_equal(found.array, masks[found.name])
        assert found.notes == ()


@pytest.mark.parametrize(
    ("how", "settings"),
    [
        (SeriesForm(shuffled=True, localizer=True), {}),
        (SeriesForm(oblique_deg=(25, 10, -8), shuffled=True), {}),
        (SeriesForm(missing=(2, 5, 6)), {}),
        (SeriesForm(tilt_deg=15), {"tilt": "keep"}),
        (SeriesForm(modality="MR", duplicates=(2,)), {}),
    ],
    ids=["mixed order", "oblique", "gaps", "tilted", "duplicates"],
)
def test_masks_lie_on_the_volume_that_a_folder_is_read_as(masks, tmp_path, how, settings):
    heights = np.broadcast_to(np.arange(SHAPE[0])[:, None, None], SHAPE)
    given = {"PatientID": "P", "PatientName": "P^Q", "StudyDate": "20010203"}
    files = write_series(tmp_path / "s", heights, AFFINE, how, elements=given)
    found = {}
    for source in map(pydicom.dcmread, files):
        if source.Rows == SHAPE[1] and "LOCALIZER" not in source.ImageType:
            level = source.pixel_array[20, 18] * source.get("RescaleSlope", 1) + source.get("RescaleIntercept", 0)
            found.setdefault(round(float(level)), source)
    order = sorted(found)
    drawn = masks["nodule"][order]
    assert order == [place for place in range(SHAPE[0]) if place not in how.missing]
    write_segmentation(tmp_path / "seg.dcm", [found[place] for place in order], {"nodule": drawn}, SEED, NUMBER)
    write_structure_set(tmp_path / "rt.dcm", [found[place] for place in order], {"nodule": drawn}, SEED, NUMBER)
    (image,) = read_volumes(tmp_path / "s", **settings)
    expected = np.zeros(SHAPE, bool)
    expected[order] = drawn
    (segment,) = on_grid(read_segmentation(tmp_path / "seg.dcm"), image).segments
    np.testing.assert_array_equal(segment.array, expected)
    (region,) = rasterise(read_structure_set(tmp_path / "rt.dcm"), image)
    np.testing.assert_array_equal(region.array, expected)
    np.testing.assert_array_equal(image.array[0, order, 20, 18], order)  # on the axis, where no plane was turned away


def test_a_mask_on_a_tilted_series_does_not_lie_on_its_sheared_volume(masks, tmp_path):
    given = {"PatientID": "P", "PatientName": "P^Q", "StudyDate": "20010203"}
    files = write_series(tmp_path / "s", np.zeros(SHAPE), AFFINE, SeriesForm(tilt_deg=15), elements=given)
    write_segmentation(tmp_path / "seg.dcm", [*map(pydicom.dcmread, files)], masks, SEED, NUMBER)
    (image,) = read_volumes(tmp_path / "s")
    with pytest.raises(ImageError, match="tilt='keep'") as refused:
        on_grid(read_segmentation(tmp_path / "seg.dcm"), image)
    assert refused.value.reason is Reason.DIMENSIONS_MISMATCH


def test_outlines_run_between_pixels():
    mask = np.zeros((6, 7), bool)
    mask[2:4, 3:6] = True
    (outline,) = outlines(mask)
    assert {tuple(point) for point in outline} == {
        (1.5, 3), (1.5, 4), (1.5, 5), (2, 5.5), (3, 5.5), (3.5, 5), (3.5, 4), (3.5, 3), (3, 2.5), (2, 2.5),
    }  # fmt: skip
    mask[:] = True
    assert len(outlines(mask)) == 1  # closed at the edges of the image too


@pytest.mark.parametrize("write", [write_basic_text, write_imaging_report])
def test_reports_come_back_section_for_section(tmp_path, write):
    for number in range(6):
        study = make_study(3, number, 16)
        write_image(tmp_path / "image.dcm", 3, study)
        source = pydicom.dcmread(tmp_path / "image.dcm")
        sections = dict(study.report.sections)
        write(tmp_path / "sr.dcm", source, sections, 3, number)
        found = read_structured_report(tmp_path / "sr.dcm")
        assert found.referenced_studies == (source.StudyInstanceUID,)
        assert set(found.referenced_images) == {source.SOPInstanceUID}
        assert (found.is_complete, found.is_verified) == (True, True)
        assert "Radiologist" not in found.text
        parsed = {name: part.text.split() for name, part in parse_report(found.text).sections.items()}
        assert parsed == {name: body.split() for name, body in sections.items() if body.strip()}


@pytest.mark.skipif(shutil.which("dsrdump") is None, reason="dcmtk's dsrdump is not installed")
@pytest.mark.parametrize("write", [write_basic_text, write_imaging_report])
def test_dcmtk_accepts_the_reports(tmp_path, write):
    study = make_study(3, 2, 16)
    write_image(tmp_path / "image.dcm", 3, study)
    sections = {"findings": "Clear lungs.", "impression": "Normal."}
    write(tmp_path / "sr.dcm", pydicom.dcmread(tmp_path / "image.dcm"), sections, 3, 2)
    told = subprocess.run(["dsrdump", "+Pl", str(tmp_path / "sr.dcm")], capture_output=True, text=True, check=True)
    assert "E:" not in told.stderr
    assert '<contains CONTAINER:(,,"Findings")=SEPARATE>' in told.stdout
    assert '<contains TEXT:(,,"Finding")="Clear lungs.">' in told.stdout
    assert '<contains TEXT:(,,"Impression")="Normal.">' in told.stdout


def test_objects_are_the_same_in_every_run_and_hold_no_clock(series, masks, tmp_path):
    sources, _ = series
    study = make_study(3, 5, 16)
    write_image(tmp_path / "image.dcm", 3, study)
    image = pydicom.dcmread(tmp_path / "image.dcm")
    writers = {
        "binary": lambda path: write_segmentation(path, sources, masks, SEED, NUMBER),
        "labels": lambda path: write_segmentation(path, sources, masks, SEED, NUMBER, "LABELMAP"),
        "structures": lambda path: write_structure_set(path, sources, masks, SEED, NUMBER),
        "basic": lambda path: write_basic_text(path, image, study.report.sections, 3, 5),
        "imaging": lambda path: write_imaging_report(path, image, study.report.sections, 3, 5),
    }
    now = datetime.datetime.now(datetime.UTC)
    today = {f"{now + datetime.timedelta(days=day):%Y%m%d}" for day in (-1, 0, 1)}
    for name, write in writers.items():
        write(tmp_path / f"{name}1.dcm")
        write(tmp_path / f"{name}2.dcm")
        assert (tmp_path / f"{name}1.dcm").read_bytes() == (tmp_path / f"{name}2.dcm").read_bytes()
        dataset = pydicom.dcmread(tmp_path / f"{name}1.dcm", stop_before_pixels=True)
        dates = {str(one.value)[:8] for one in dataset.iterall() if one.VR in ("DA", "DT") and one.value}
        assert dates
        assert not dates & today
        assert {one.value for one in dataset.iterall() if one.VR == "TM"} <= {"120000", "", None}
        assert dataset.SOPInstanceUID.startswith("2.25.")
