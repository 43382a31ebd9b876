"""The slices of a series in a folder of DICOM studies are one image: the volume that they make."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid

from medmm.config.schema import DataConfig, PreprocessConfig, SplitConfig
from medmm.data import allowance, content, manifest
from medmm.data.cache import ImageCache
from medmm.data.likeness import portray
from medmm.data.readers import dicom
from medmm.data.thumbnails import thumbnails
from medmm.errors import Reason
from medmm.io.image import read_image
from medmm.io.volume import read_volumes
from medmm.types import Rejection, Study

DEPTH = 6


@pytest.fixture
def series(ct_slices):
    """Return ``make(**of every slice) -> datasets`` of a volume with something on it, each slice unlike the others."""

    def make(**elements):
        datasets = ct_slices((DEPTH, 20, 16))
        rng = np.random.default_rng(0)
        for dataset in datasets:
            dataset.PixelData = rng.integers(0, 2000, (20, 16)).astype(np.uint16).tobytes()
            for name, value in elements.items():
                setattr(dataset, name, value)
        return datasets

    return make


def write(folder, datasets, order=None):
    """Files whose names, hence their order, say nothing of where the slices lie."""
    folder.mkdir(parents=True, exist_ok=True)
    order = np.random.default_rng(1).permutation(len(datasets)) if order is None else order
    taken = len(list(folder.iterdir()))
    paths = {}
    for place, index in enumerate(order):
        paths[int(index)] = folder / f"{taken + place:04d}"
        pydicom.dcmwrite(paths[int(index)], datasets[index], enforce_file_format=True)
    return tuple(paths[index] for index in sorted(paths))


def read(folder):
    found = list(dicom.read(DataConfig(reader="dicom", path=folder)))
    return [one for one in found if isinstance(one, Study)], [one for one in found if isinstance(one, Rejection)]


def test_a_series_is_one_image_with_its_slices_in_order(series, tmp_path):
    paths = write(tmp_path, series())
    (study,), rejected = read(tmp_path)
    (image,) = study.images
    assert rejected == []
    assert image.slices in (paths, paths[::-1])
    assert (image.path, image.frames, image.rows, image.columns) == (image.slices[0], DEPTH, 20, 16)
    assert image.spacing_mm == pytest.approx((2.0, 0.7, 0.9))
    np.testing.assert_array_equal(read_image(image.source).array, read_image(tmp_path).array)


def test_two_series_of_a_study_in_one_folder_are_two_images(series, tmp_path):
    first, second = series(), series()
    for dataset in second:
        dataset.StudyInstanceUID = first[0].StudyInstanceUID
    one, other = write(tmp_path, first), write(tmp_path, second)
    (study,), rejected = read(tmp_path)
    assert rejected == []
    assert [set(image.slices) for image in study.images] == [set(one), set(other)]
    assert [image.series_uid for image in study.images] == [first[0].SeriesInstanceUID, second[0].SeriesInstanceUID]


def test_phases_of_one_series_are_images_of_their_own(series, tmp_path):
    first, second = series(AcquisitionNumber=1), series(AcquisitionNumber=2)
    for dataset, model in zip(second, first, strict=True):
        for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
            setattr(dataset, name, getattr(model, name))
    one, other = write(tmp_path, first), write(tmp_path, second)
    (study,), _ = read(tmp_path)
    assert {frozenset(image.slices) for image in study.images} == {frozenset(one), frozenset(other)}


def test_localizers_and_copies_are_named_and_no_images(series, tmp_path):
    datasets = series()
    scout = series()[0]
    scout.ImageType, scout.StudyInstanceUID = ["ORIGINAL", "PRIMARY", "LOCALIZER"], datasets[0].StudyInstanceUID
    write(tmp_path, datasets)
    copy = pydicom.dcmread(next(tmp_path.iterdir()))
    copy.SOPInstanceUID = generate_uid()
    write(tmp_path, [copy, scout], order=[0, 1])
    (study,), rejected = read(tmp_path)
    assert [len(image.slices) for image in study.images] == [DEPTH]
    assert {(one.reason, one.path.name[-1]) for one in rejected} == {
        (Reason.IMAGE_SURPLUS, str(DEPTH)), (Reason.NOT_AN_IMAGE, str(DEPTH + 1)),
    }  # fmt: skip


def test_localizers_alone_are_images(series, tmp_path):
    write(tmp_path, series(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]))
    (study,), rejected = read(tmp_path)
    assert [image.frames for image in study.images] == [DEPTH]
    assert rejected == []


def test_slices_without_a_frame_of_reference_stay_with_their_series(series, tmp_path):
    datasets = series()
    for dataset in datasets[::2]:
        del dataset.FrameOfReferenceUID
    write(tmp_path, datasets)
    (study,), _ = read(tmp_path)
    assert [len(image.slices) for image in study.images] == [DEPTH]
    assert len(read_volumes(tmp_path)) == 1


def test_slices_whose_place_is_not_known_stay_single(series, tmp_path):
    datasets = series()
    for dataset in datasets:
        del dataset.ImagePositionPatient
    write(tmp_path, datasets)
    (study,), _ = read(tmp_path)
    assert [image.slices for image in study.images] == [()] * DEPTH


def test_the_manifest_keeps_the_slices_and_counts_volumes(series, tmp_path):
    for number in range(4):
        write(tmp_path / "in" / str(number), series(PatientID=f"P{number}"))
    studies, _ = read(tmp_path / "in")
    path = tmp_path / "manifest.parquet"
    summary = manifest.build(studies, path, SplitConfig(), lambda rejection: None)
    assert summary.counts["images"] == 4
    kept = manifest.Manifest.open(path).studies()
    assert [study.images for study in kept] == [study.images for study in studies]


def test_a_volume_of_files_is_cached_hashed_and_shown_as_one_image(series, tmp_path):
    paths = write(tmp_path / "in", series())
    (study,), _ = read(tmp_path / "in")
    (image,) = study.images
    preprocess = PreprocessConfig(size=32, depth=8)
    cache, rejected = ImageCache.build([study], preprocess, tmp_path / "run", 1, workers=1)
    assert rejected == []
    assert cache.views(study.study_id).shape == (1, 1, 8, 32, 32)
    assert cache.views(study.study_id).std() > 0
    assert portray(image.source).content_hash == content.content_key(tmp_path / "in").hex()
    assert allowance.stored_bytes(image.source) == sum(map(allowance.stored_bytes, paths))
    assert thumbnails([image])[image.source].png.startswith(b"\x89PNG")


def test_the_key_of_a_volume_changes_with_any_of_its_slices(series, tmp_path):
    paths = write(tmp_path, series())
    before, stamp = content.content_key(paths), content.stamp(paths)
    data = bytearray(paths[3].read_bytes())
    data[-1] ^= 1
    paths[3].write_bytes(data)
    assert content.content_key(paths) != before
    assert content.stamp(paths) != stamp
    paths[3].unlink()
    assert content.content_key(paths) is None
