"""The Decathlon's dataset.json: lists, channels, names of values, and what is set aside."""

from __future__ import annotations

import json

import nibabel
import numpy as np
import pytest
import SimpleITK

from medmm.config.schema import DataConfig
from medmm.data.indexing import index
from medmm.data.labels import mask_labels
from medmm.data.manifest import Manifest
from medmm.data.readers import decathlon
from medmm.errors import DataError, Reason
from medmm.pipelines import index as stage
from medmm.types import Rejection, Study


def volume(path, shape=(4, 5, 6), spacing=(0.5, 0.75, 2.0)):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(np.zeros(shape, np.uint8), np.diag([*spacing, 1.0])), path)
    return path


@pytest.fixture
def task(tmp_path):
    """Write a task of cases a, b, ... and give its config: ``task(training=[...], **other)``."""

    def _task(count=3, shape=(4, 5, 6), **about):
        names = [f"case_{letter}.nii.gz" for letter in "abcdefgh"[:count]]
        for name in names:
            volume(tmp_path / "imagesTr" / name, shape)
            volume(tmp_path / "labelsTr" / name)
        entries = [{"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"} for name in names]
        standard = {"name": "T", "modality": {"0": "CT"}, "labels": {"0": "background", "1": "liver", "2": "cancer"},
                    "training": entries, "test": []}  # fmt: skip
        (tmp_path / "dataset.json").write_text(json.dumps(standard | about))
        return DataConfig(reader="decathlon", path=tmp_path)

    return _task


def read(config):
    items = list(decathlon.read(config))
    return [one for one in items if isinstance(one, Study)], [one for one in items if isinstance(one, Rejection)]


def test_studies_have_a_mask_and_the_headers_grid(task, tmp_path):
    studies, rejected = read(task())
    assert rejected == []
    assert [study.study_id for study in studies] == ["case_a", "case_b", "case_c"]
    study = studies[1]
    assert study.masks == {"label": tmp_path / "labelsTr" / "case_b.nii.gz"}
    (image,) = study.images
    assert (image.path, image.sop_uid) == (tmp_path / "imagesTr" / "case_b.nii.gz", "imagesTr/case_b.nii.gz")
    assert (image.modality, image.frames, image.rows, image.columns) == ("CT", 6, 5, 4)
    assert image.spacing_mm == (2.0, 0.75, 0.5)
    assert {one.split for one in studies} == {None}
    assert len({one.patient_key for one in studies}) == 3
    assert read(DataConfig(reader="decathlon", path=tmp_path / "dataset.json"))[0] == studies


def test_values_have_names(task):
    config = task(labels={"0": "background", "1": "liver", "2": "cancer", "10": "vessel"})
    assert mask_labels(config) == {"liver": (1,), "cancer": (2,), "vessel": (10,)}
    chosen = DataConfig(reader="decathlon", path=config.path, labels={"liver": [1, 2]})
    assert mask_labels(chosen) == {"liver": (1, 2)}
    for wrong in (None, ["liver"], {"liver": 1}, {"1": 1}):
        with pytest.raises(DataError, match="label"):
            mask_labels(task(labels=wrong))


def test_channels_of_a_volume(task):
    flair = {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"}
    studies, rejected = read(task(shape=(4, 5, 6, 4), modality=flair))
    assert (len(studies), rejected, studies[0].images[0].modality) == (3, [], "MR")
    studies, rejected = read(task(shape=(4, 5, 6, 2), modality=flair))
    assert studies == []
    assert [(one.study_id, one.reason) for one in rejected] == [
        (f"case_{letter}", Reason.DIMENSIONS_MISMATCH) for letter in "abc"
    ]


def test_lists_as_monai_writes_them(task, tmp_path):
    def entry(letter):
        return {"image": f"imagesTr/case_{letter}.nii.gz", "label": f"labelsTr/case_{letter}.nii.gz", "fold": 0}

    config = task(training=[entry("a")], validation=[entry("b")], test=[entry("c"), "imagesTs/case_d.nii.gz"])
    volume(tmp_path / "imagesTs" / "case_d.nii.gz")
    studies, rejected = read(config)
    assert [(study.study_id, study.split) for study in studies] == [
        ("case_a", "train"), ("case_b", "val"), ("case_c", "test"),
    ]  # fmt: skip
    assert [(one.study_id, one.reason) for one in rejected] == [("case_d", Reason.REFERENCE_WITHHELD)]
    parts = [f"imagesTr/case_{letter}.nii.gz" for letter in "ab"]
    studies, rejected = read(task(training=[{"image": parts, "label": "labelsTr/case_a.nii.gz"}]))
    assert ([len(study.images) for study in studies], rejected) == ([2], [])


def test_test_images_without_label_are_no_failure(task, tmp_path, capsys):
    config = task(8, test=["./imagesTs/case_x.nii.gz", "./imagesTs/case_y.nii.gz"])
    for letter in "xy":
        volume(tmp_path / "imagesTs" / f"case_{letter}.nii.gz")
    result = index(config, 0, tmp_path / "out")
    assert result.rejected == {}
    counts = json.loads(result.pairing.read_text())["counts"]
    assert (counts["studies"], counts["with_masks"], counts["reference_withheld"]) == (8, 8, 2)
    assert (counts["image_without_report"], counts["paired"], counts["other_files"]) == (0, 0, 0)
    assert "MASKS" in result.page.read_text()
    assert {study.split for study in Manifest.open(result.manifest).studies()} == {"train", "val", "test"}
    with pytest.raises(SystemExit) as ended:
        stage.main(["--data", f"decathlon:{tmp_path}", "--out", str(tmp_path / "again")])
    assert ended.value.code == 0
    assert "  with masks: 8 studies" in capsys.readouterr().out.splitlines()


def test_what_is_set_aside(task, tmp_path):
    good = {"image": "./imagesTr/case_a.nii.gz", "label": "./labelsTr/case_a.nii.gz"}
    volume(tmp_path / "labelsTr" / "small.nii.gz", (4, 5, 5))
    (tmp_path.parent / "outside.nii.gz").write_bytes(b"x")
    (tmp_path / "imagesTr").mkdir()
    (tmp_path / "imagesTr" / "broken.nii.gz").write_bytes(b"no volume")
    (tmp_path / "imagesTr" / "._case_a.nii.gz").write_bytes(b"\0\5\x16\7")
    entries = [
        good,
        {"image": "./imagesTr/._case_a.nii.gz", "label": "./labelsTr/._case_a.nii.gz"},
        {"image": "./imagesTr/gone.nii.gz", "label": "./labelsTr/case_a.nii.gz"},
        {"image": "./imagesTr/broken.nii.gz", "label": "./labelsTr/case_a.nii.gz"},
        {"image": "./imagesTr/case_b.nii.gz", "label": "./labelsTr/gone.nii.gz"},
        {"image": "./imagesTr/case_c.nii.gz", "label": "./labelsTr/small.nii.gz"},
        {"image": "../outside.nii.gz", "label": "./labelsTr/case_a.nii.gz"},
        {"image": "/etc/hostname", "label": "./labelsTr/case_a.nii.gz"},
        {"image": "./imagesTr/case_b.nii.gz", "label": "imagesTr\\..\\..\\outside.nii.gz"},
        {"image": "./imagesTr/case_b.nii.gz"},
        {"label": "./labelsTr/case_a.nii.gz"},
        7,
    ]
    studies, rejected = read(task(training=entries))
    assert [study.study_id for study in studies] == ["case_a"]
    assert [(one.study_id, one.reason) for one in rejected] == [
        ("gone", Reason.FILE_MISSING), ("broken", Reason.NOT_AN_IMAGE),
        ("case_b", Reason.FILE_MISSING), ("case_c", Reason.DIMENSIONS_MISMATCH),
        ("outside", Reason.PATH_OUTSIDE), ("hostname", Reason.PATH_OUTSIDE),
        ("imagesTr/case_b.nii.gz", Reason.PATH_OUTSIDE), ("imagesTr/case_b.nii.gz", Reason.IMAGE_WITHOUT_MASK),
        ("training 11", Reason.ROW_INVALID), ("training 12", Reason.ROW_INVALID),
    ]  # fmt: skip
    assert not any(str(tmp_path) in one.detail for one in rejected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no JSON"), ("[1]", "no object"), ("{}", "no list 'training'"), ('{"training": {}}', "no list 'training'"),
        ('{"training": []}', "lists no image"), ('{"training": [], "test": 3}', "'test' is no list"),
        ('{"a":' * 100_000, "no JSON"),
    ],
)  # fmt: skip
def test_files_that_are_no_dataset(tmp_path, text, message):
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(DataError, match=message):
        list(decathlon.read(DataConfig(reader="decathlon", path=tmp_path)))


def test_a_wrong_root_is_said(task, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    config = task().model_copy(update={"image_root": tmp_path / "elsewhere"})
    with pytest.raises(DataError, match=r"data\.image_root"):
        read(config)


def test_several_tasks_in_one_folder(task, tmp_path):
    for name in ("Task01", "Task02"):
        (tmp_path / "all" / name).mkdir(parents=True)
        (tmp_path / "all" / name / "dataset.json").write_text("{}")
    with pytest.raises(DataError, match=r"2 folders hold a dataset\.json"):
        read(DataConfig(reader="decathlon", path=tmp_path / "all"))


def test_the_phantoms_masks_hold_what_its_labels_name(layouts, tmp_path):
    from medmm.data.phantom.ct import LABELS, LESIONS
    from medmm.data.phantom.disease import conditions

    config = layouts.decathlon(tmp_path)
    studies, _ = read(config)
    assert mask_labels(config) == {name: (value,) for name, value in LABELS.items()}
    found = 0
    for number, study in enumerate(studies):
        mask = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(study.masks["label"])))
        said = {name for name, (value,) in mask_labels(config).items() if (mask == value).any()}
        assert {"lung_left", "lung_right", "heart"} <= said
        assert said & set(LESIONS) <= {condition.name for condition in conditions(0, number)}
        found += len(said & set(LESIONS))
        (image,) = study.images
        assert (image.modality, image.frames, image.rows, image.columns) == ("CT", 16, 32, 32)
    assert found > 0


@pytest.mark.parametrize("odd", [None, 3, "", "\ud800.nii.gz", "\0", "a" * 5000, ".", [], ["a", 1], {"a": 1}])
def test_odd_entries_stop_nothing(task, tmp_path, odd):
    good = [f"imagesTr/case_{letter}.nii.gz" for letter in "abcd"]
    entries = [{"image": name, "label": name} for name in good] + [{"image": odd, "label": good[0]}, odd]
    result = index(task(4, training=entries), 0, tmp_path / "out")
    assert (result.counts["studies"], sum(result.rejected.values())) == (4, 2)
