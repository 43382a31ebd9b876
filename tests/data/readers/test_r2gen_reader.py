"""R2Gen's annotation.json, read an item at a time."""

from __future__ import annotations

import json

import pytest

from medmm.config.schema import DataConfig
from medmm.data.readers import r2gen
from medmm.errors import DataError, Reason
from medmm.types import Rejection, Study


def split(config):
    items = list(r2gen.read(config))
    return [one for one in items if isinstance(one, Study)], [one for one in items if isinstance(one, Rejection)]


def test_layout_as_published(layouts, tmp_path):
    config = layouts.r2gen(tmp_path)
    studies, rejected = split(config)
    assert rejected == []
    assert [(study.study_id, study.split) for study in studies] == [
        ("CXR0_IM-0000", "train"), ("CXR1_IM-0001", "train"),
        ("CXR2_IM-0002", "train"), ("CXR3_IM-0003", "val"), ("CXR4_IM-0004", "test"),
    ]  # fmt: skip
    assert [image.path for image in studies[0].images] == [
        tmp_path / "images" / "CXR0_IM-0000" / f"{view}.png" for view in range(2)
    ]
    assert studies[2].report.sections["impression"].text == "Heart failure."
    assert split(config.model_copy(update={"path": tmp_path / "annotation.json"})) == (studies, rejected)


def test_subject_is_the_patient(layouts, tmp_path):
    layouts.write_png(tmp_path / "images" / "a.png")
    items = [
        {"id": f"i{number}", "subject_id": 10000032, "study_id": number, "report": "Clear.", "image_path": ["a.png"]}
        for number in range(2)
    ]
    (tmp_path / "annotation.json").write_text(json.dumps({"train": items}))
    studies, _ = split(DataConfig(reader="r2gen", path=tmp_path))
    assert len({study.patient_key for study in studies}) == 1


def test_what_is_set_aside(layouts, tmp_path):
    layouts.write_png(tmp_path / "images" / "a.png")
    items = [
        {"id": "whole", "report": "Clear.", "image_path": ["a.png"]},
        {"id": "half", "report": "Clear.", "image_path": ["a.png", "gone.png"]},
        {"id": "no report", "report": "", "image_path": "a.png"},
        {"id": "no image", "report": "Clear.", "image_path": ["gone.png"]},
        {"report": None, "image_path": None},
    ]
    data = {"train": items, "test": [], "holdout": [{"id": "where", "report": "Clear.", "image_path": ["a.png"]}]}
    (tmp_path / "annotation.json").write_text(json.dumps(data, indent=1))
    studies, rejected = split(DataConfig(reader="r2gen", path=tmp_path))
    assert {study.study_id: (len(study.images), study.report is None) for study in studies} == {
        "whole": (1, False),
        "half": (1, False),
        "no report": (1, True),
    }
    assert [(one.study_id, one.reason) for one in rejected] == [
        ("half", Reason.FILE_MISSING), ("no report", Reason.REPORT_EMPTY),
        ("no image", Reason.FILE_MISSING), ("no image", Reason.REPORT_WITHOUT_IMAGE),
        ("item 5", Reason.FILE_MISSING), ("where", Reason.SPLIT_UNKNOWN),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no such JSON"), ("[]", "no such JSON"),
        ('{"train": [{"id": 1}', "no such JSON"), ('{"train": {}}', "no such JSON"),
        ('{"train": ["CXR1", "CXR2"]}', "lists ids, not studies"),
        ("{}", "no study"), ('{"train": [], "test": []}', "no study"),
        ('{"train": [1]}', "is no study"), ('{"train": [' + "[" * 100_000, "no such JSON"),
    ],
)  # fmt: skip
def test_files_that_are_no_annotation(tmp_path, text, message):
    (tmp_path / "annotation.json").write_text(text)
    with pytest.raises(DataError, match=message):
        list(r2gen.read(DataConfig(reader="r2gen", path=tmp_path)))


def test_folder_without_annotation(tmp_path):
    with pytest.raises(DataError, match=r"holds no annotation.json"):
        r2gen.read(DataConfig(reader="r2gen", path=tmp_path))


@pytest.mark.parametrize("block", [1, 2, 3, 7, 64])
def test_any_block_size_reads_the_same(monkeypatch, tmp_path, block):
    value = {
        "train": [{"id": 12, "report": 'a "quote" \\ ü 😀\n'}, {"id": [1.5e3, None, True]}],
        " val": [],
        "test": [{}],
    }
    path = tmp_path / "a.json"
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2))
    monkeypatch.setattr(r2gen, "_BLOCK_CHARACTERS", block)
    assert list(r2gen._stream(path)) == [(name, item) for name, items in value.items() for item in items]


@pytest.mark.shared
def test_the_shared_split_file_is_no_annotation(shared):
    with pytest.raises(DataError, match="lists ids, not studies"):
        list(r2gen.read(DataConfig(reader="r2gen", path=shared / "openi" / "r2gen_split.json")))
