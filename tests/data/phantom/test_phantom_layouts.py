"""Layouts with the phantom's images: exact names and keys, true masks, the same bytes for the same seed."""

from __future__ import annotations

import hashlib
import json

import nibabel
import numpy as np
import pytest
import SimpleITK

from medmm import registry
from medmm.data.phantom.ct import LABELS, make_volume
from medmm.data.phantom.layouts import vqa_rad
from medmm.data.phantom.layouts.volumes import write_nifti

NAMES = {
    "decathlon": {
        "Task99_Phantom/dataset.json", "Task99_Phantom/imagesTr/phantom_002.nii.gz",
        "Task99_Phantom/labelsTr/phantom_002.nii.gz", "Task99_Phantom/imagesTr/phantom_011.nii.gz",
        "Task99_Phantom/labelsTr/phantom_011.nii.gz",
    },
    "nnunet": {
        "Dataset999_Phantom/dataset.json", "Dataset999_Phantom/imagesTr/phantom_002_0000.nii.gz",
        "Dataset999_Phantom/labelsTr/phantom_002.nii.gz", "Dataset999_Phantom/imagesTr/phantom_011_0000.nii.gz",
        "Dataset999_Phantom/labelsTr/phantom_011.nii.gz",
    },
    "vqa-rad": {
        "VQA_RAD Dataset Public.json", "VQA_RAD Image Folder/synpic00002.jpg", "VQA_RAD Image Folder/synpic00011.jpg",
    },
}  # fmt: skip


def digests(root):
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("layout", NAMES)
def test_files_and_their_bytes(layout, tmp_path):
    for name in ("one", "two"):
        registry.resolve("layout", layout)(tmp_path / name, 4, (2, 11), 32)
    first = digests(tmp_path / "one")
    assert set(first) == NAMES[layout]
    assert first == digests(tmp_path / "two")


def test_an_image_and_its_mask_share_a_grid(tmp_path):
    registry.resolve("layout", "decathlon")(tmp_path, 0, (0,), 64)
    folder = tmp_path / "Task99_Phantom"
    image, mask = (SimpleITK.ReadImage(str(folder / part / "phantom_000.nii.gz")) for part in ("imagesTr", "labelsTr"))
    assert (image.GetSize(), image.GetSpacing()) == (mask.GetSize(), mask.GetSpacing())
    assert (image.GetOrigin(), image.GetDirection()) == (mask.GetOrigin(), mask.GetDirection())
    made = make_volume(0, 0, (32, 64, 64))
    assert image.GetSize() == (64, 64, 32)
    assert image.GetSpacing() == pytest.approx(made.spacing_mm[::-1])
    assert np.array_equal(SimpleITK.GetArrayFromImage(image), made.hu)
    assert np.array_equal(SimpleITK.GetArrayFromImage(mask), made.labels)
    about = json.loads((folder / "dataset.json").read_text())
    assert (about["numTraining"], about["labels"]["0"]) == (1, "background")
    assert {name: int(value) for value, name in about["labels"].items() if value != "0"} == LABELS


def test_the_affine_of_slices_rows_and_columns(tmp_path):
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    affine = np.array([[0, 0, -3.0, 10], [0, 2.0, 0, 20], [5.0, 0, 0, 30], [0, 0, 0, 1]])
    write_nifti(tmp_path / "v.nii.gz", array, affine)
    read = nibabel.load(tmp_path / "v.nii.gz")
    assert read.shape == (4, 3, 2)
    for d, h, w in ((0, 0, 0), (1, 2, 3), (1, 0, 2)):
        assert read.dataobj[w, h, d] == array[d, h, w]
        assert read.affine @ [w, h, d, 1] == pytest.approx(affine @ [d, h, w, 1])


def test_the_published_keys(tmp_path):
    vqa_rad.write(tmp_path, 0, range(5), 64)
    records = json.loads((tmp_path / vqa_rad.LIST).read_text())
    assert list(records[0]) == [
        "qid", "phrase_type", "qid_linked_id", "image_case_url", "image_name", "image_organ", "evaluation", "question",
        "question_rephrase", "question_relation", "question_frame", "question_type", "answer", "answer_type",
    ]  # fmt: skip
    tests = {one["image_name"] for one in records if one["phrase_type"].startswith("test_")}
    assert tests == {"synpic00004.jpg"}
    closed = {"yes", "no", "small", "moderate", "large", "PA", "AP"}
    assert all((one["answer_type"] == "CLOSED") == (one["answer"] in closed) for one in records)
