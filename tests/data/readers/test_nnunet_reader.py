"""nnU-Net's raw data: channels, both versions of dataset.json, folds, regions, and what is set aside."""

from __future__ import annotations

import json

import nibabel
import numpy as np
import pytest

from medmm.config.schema import DataConfig
from medmm.data.labels import image_channels, mask_labels
from medmm.data.readers import nnunet
from medmm.errors import DataError, Reason
from medmm.types import Rejection, Study

V2 = {"channel_names": {"0": "T2", "1": "ADC"}, "labels": {"background": 0, "PZ": 1, "TZ": 2}, "file_ending": ".nii.gz"}


def volume(path, shape=(4, 5, 6)):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(np.zeros(shape, np.uint8), np.diag([0.5, 0.5, 3.0, 1.0])), path)
    return path


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "nnUNet_raw" / "Dataset005_Prostate"


@pytest.fixture
def dataset(folder):
    """Write cases of two channels and give the config: ``dataset(cases, **about)``."""

    def _dataset(cases=("p_00", "p_01", "p_02"), channels=2, **about):
        for case in cases:
            for channel in range(channels):
                volume(folder / "imagesTr" / f"{case}_{channel:04d}.nii.gz")
            volume(folder / "labelsTr" / f"{case}.nii.gz")
        (folder / "dataset.json").write_text(json.dumps(V2 | about))
        return DataConfig(reader="nnunet", path=folder)

    return _dataset


def read(config):
    items = list(nnunet.read(config))
    return [one for one in items if isinstance(one, Study)], [one for one in items if isinstance(one, Rejection)]


def test_channels_stand_in_their_order(dataset, folder):
    config = dataset(numTraining=3)
    (folder / "imagesTr" / "._p_00_0000.nii.gz").write_bytes(b"\0\5\x16\7")
    (folder / "imagesTr" / "notes.txt").write_text("x")
    studies, rejected = read(config)
    assert rejected == []
    assert [study.study_id for study in studies] == ["p_00", "p_01", "p_02"]
    assert [image.path.name for image in studies[1].images] == ["p_01_0000.nii.gz", "p_01_0001.nii.gz"]
    assert studies[1].masks == {"label": folder / "labelsTr" / "p_01.nii.gz"}
    image = studies[1].images[1]
    assert (image.modality, image.frames, image.rows, image.columns) == ("MR", 6, 5, 4)
    assert image.spacing_mm == (3.0, 0.5, 0.5)
    assert {study.split for study in studies} == {None}
    for path in (folder / "dataset.json", folder.parent):
        assert read(DataConfig(reader="nnunet", path=path))[0] == studies


def test_regions_have_several_values(dataset):
    assert mask_labels(dataset()) == {"PZ": (1,), "TZ": (2,)}
    regions = {"background": 0, "whole tumor": [1, 2, 3], "tumor core": [2, 3], "ignore": 4}
    assert mask_labels(dataset(labels=regions)) == {"whole tumor": (1, 2, 3), "tumor core": (2, 3), "ignore": (4,)}
    with pytest.raises(DataError, match="label"):
        mask_labels(dataset(labels={"PZ": "one"}))
    for ignore in (1, [2, 3]):
        with pytest.raises(DataError, match="not the highest"):
            mask_labels(dataset(labels={"background": 0, "PZ": 2, "ignore": ignore}))
    assert image_channels(dataset()) == ("T2", "ADC")


def test_version_1(dataset, folder):
    names = [f"p_0{number}.nii.gz" for number in range(3)]
    entries = [{"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"} for name in names]
    config = dataset(("p_00", "p_01"))
    about = {"name": "PROSTATE", "modality": {"0": "T2", "1": "ADC"}, "labels": {"0": "background", "1": "PZ"},
             "numTraining": 3, "numTest": 0, "training": entries, "test": []}  # fmt: skip
    (folder / "dataset.json").write_text(json.dumps(about))
    studies, rejected = read(config)
    assert [study.study_id for study in studies] == ["p_00", "p_01"]
    assert {(one.study_id, one.reason) for one in rejected} == {("p_02", Reason.FILE_MISSING)}
    assert mask_labels(config) == {"PZ": (1,)}


@pytest.mark.parametrize("beside", [True, False])
def test_the_first_fold_is_the_split(dataset, folder, tmp_path, beside):
    config = dataset()
    place = folder if beside else tmp_path / "nnUNet_preprocessed" / folder.name
    place.mkdir(parents=True, exist_ok=True)
    folds = [{"train": ["p_00"], "val": ["p_02"]}, {"train": ["p_02"], "val": ["p_00", "p_01"]}]
    (place / "splits_final.json").write_text(json.dumps(folds))
    studies, rejected = read(config)
    assert [(study.study_id, study.split) for study in studies] == [("p_00", "train"), ("p_02", "val")]
    assert [(one.study_id, one.reason) for one in rejected] == [("p_01", Reason.SPLIT_UNKNOWN)]
    (place / "splits_final.json").write_text('{"train": []}')
    with pytest.raises(DataError, match="no folds"):
        read(config)


def test_test_cases(dataset, folder):
    config = dataset()
    for channel in range(2):
        volume(folder / "imagesTs" / f"q_00_{channel:04d}.nii.gz")
    studies, rejected = read(config)
    assert len(studies) == 3
    assert [(one.study_id, one.reason, one.path) for one in rejected] == [
        ("q_00", Reason.REFERENCE_WITHHELD, folder / "imagesTs" / "q_00_0000.nii.gz")
    ]
    volume(folder / "labelsTs" / "q_00.nii.gz")
    studies, rejected = read(config)
    assert rejected == []
    assert [(study.study_id, study.split) for study in studies] == [
        ("p_00", "train"), ("p_01", "train"), ("p_02", "train"), ("q_00", "test"),
    ]  # fmt: skip


def test_what_is_set_aside(dataset, folder):
    config = dataset([f"p_0{number}" for number in range(5)], numTraining=6)
    (folder / "imagesTr" / "p_00_0001.nii.gz").unlink()
    (folder / "labelsTr" / "p_01.nii.gz").unlink()
    volume(folder / "labelsTr" / "p_02.nii.gz", (4, 5, 7))
    volume(folder / "imagesTr" / "p_03_0001.nii.gz", (4, 4, 6))
    studies, rejected = read(config)
    assert [study.study_id for study in studies] == ["p_04"]
    assert [(one.study_id, one.reason) for one in rejected] == [
        ("p_00", Reason.FILE_MISSING), ("p_01", Reason.IMAGE_WITHOUT_MASK), ("p_02", Reason.DIMENSIONS_MISMATCH),
        ("p_03", Reason.DIMENSIONS_MISMATCH), ("dataset.json", Reason.FILE_MISSING),
    ]  # fmt: skip
    assert rejected[0].path == folder / "imagesTr" / "p_00_0001.nii.gz"
    assert rejected[-1].detail == "dataset.json says 6 training cases, 5 are there"


def test_pictures(layouts, folder):
    about = {"channel_names": {"0": "DX"}, "labels": {"background": 0, "lung": 1}, "file_ending": ".png"}
    for number in range(2):
        layouts.write_png(folder / "imagesTr" / f"x{number}_0000.png", number)
        layouts.write_png(folder / "labelsTr" / f"x{number}.png", number)
    (folder / "dataset.json").write_text(json.dumps(about))
    studies, rejected = read(DataConfig(reader="nnunet", path=folder))
    assert rejected == []
    assert [(study.study_id, study.images[0].modality) for study in studies] == [("x0", "DX"), ("x1", "DX")]
    assert studies[1].masks == {"label": folder / "labelsTr" / "x1.png"}


def test_one_picture_of_three_colours(layouts, folder):
    channels = {"0": "R", "1": "G", "2": "B"}
    layouts.write_png(folder / "imagesTr" / "x_0000.png")
    layouts.write_png(folder / "labelsTr" / "x.png")
    about = {"channel_names": channels, "labels": {"background": 0, "road": 1}, "file_ending": ".png"}
    (folder / "dataset.json").write_text(json.dumps(about))
    studies, rejected = read(DataConfig(reader="nnunet", path=folder))
    assert ([len(study.images) for study in studies], rejected) == ([1], [])


def test_files_that_the_dataset_names(dataset, folder):
    def entry(case, images=2):
        files = [f"imagesTr/{case}_{one:04d}.nii.gz" for one in range(images)]
        return {"images": files, "label": f"labelsTr/{case}.nii.gz"}

    named = {"b": entry("p_01"), "a": entry("p_00"), "few": entry("p_02", 1), "odd": 3,
             "out": entry("p_02") | {"label": "../../label.nii.gz"}, "gone": entry("p_09")}  # fmt: skip
    studies, rejected = read(dataset(dataset=named))
    assert [(study.study_id, study.images[1].path.name) for study in studies] == [
        ("a", "p_00_0001.nii.gz"), ("b", "p_01_0001.nii.gz"),
    ]  # fmt: skip
    assert [(one.study_id, one.reason) for one in rejected] == [
        ("few", Reason.ROW_INVALID), ("gone", Reason.FILE_MISSING), ("gone", Reason.FILE_MISSING),
        ("odd", Reason.ROW_INVALID), ("out", Reason.PATH_OUTSIDE),
    ]  # fmt: skip


def test_sources_that_are_unusable(dataset, folder):
    with pytest.raises(DataError, match=r"file_ending '\.nrrd'"):
        read(dataset(file_ending=".nrrd"))
    with pytest.raises(DataError, match="neither channel_names nor modality"):
        read(dataset(channel_names={}))
    for path in sorted(folder.rglob("*.nii.gz")):
        path.unlink()
    with pytest.raises(DataError, match="holds no image"):
        read(dataset(()))
    (folder / "imagesTr").rmdir()
    with pytest.raises(DataError, match="no folder imagesTr"):
        read(dataset(()))
