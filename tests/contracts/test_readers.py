"""What holds for every reader, whatever its layout.

A reader is a function from a ``DataConfig`` to an iterator of studies and rejections. It raises ``DataError`` for a
source that is unusable as a whole, before or instead of the first study; a single fault is a rejection with a reason
and leaves the other studies as they were. Patients appear as keys alone. The same source gives the same studies in the
same order. No reader needs the learning stack.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from medmm import registry
from medmm.config.schema import DataConfig
from medmm.data.indexing import index
from medmm.data.manifest import Manifest
from medmm.errors import DataError, Reason
from medmm.types import SECTIONS, SPLITS, Rejection, Study

_SPEC = importlib.util.spec_from_file_location("medmm_layouts", Path(__file__).parents[1] / "data" / "layouts.py")
layouts = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(layouts)

LAYOUTS = {
    "table": layouts.table,
    "dicom": layouts.dicom,
    "openi": layouts.openi,
    "openi archive": layouts.openi_archive,
    "r2gen": layouts.r2gen,
    "table phantom": layouts.written_table,
    "openi phantom": layouts.written_openi,
    "openi csv": layouts.openi_csv,
    "r2gen phantom": layouts.written_r2gen,
    "mimic-cxr": layouts.mimic_cxr,
    "mimic-cxr jpg": layouts.mimic_cxr_jpg,
    "mimic-cxr bare": layouts.mimic_cxr_bare,
    "chexpert-plus": layouts.chexpert_plus,
    "padchest": layouts.padchest,
    "phantom": layouts.phantom,
    "decathlon": layouts.decathlon,
    "nnunet": layouts.nnunet,
    "vqa-rad": layouts.vqa_rad,
}
GIVES = {"decathlon": {"masks"}, "nnunet": {"masks"}, "vqa-rad": {"questions"}, "phantom": {"report"}}
"""What every study of a layout has beside its images; a report where nothing else is said."""
WITHOUT_TEST = {"chexpert-plus"}
"""Layouts whose own split has no test part."""
STUDIES = 5


@pytest.fixture(params=LAYOUTS)
def source(request, tmp_path):
    """The config of a small layout of five studies."""
    return LAYOUTS[request.param](tmp_path / "source")


def gives(config):
    return GIVES.get(config.reader, {"report"})


def items_of(config):
    return list(registry.resolve("reader", config.reader)(config))


def test_every_reader_is_tested():
    assert {name.split()[0] for name in LAYOUTS} == set(registry.names("reader"))


def test_studies_are_read_lazily_and_whole(source):
    items = registry.resolve("reader", source.reader)(source)
    assert isinstance(items, Iterator)
    studies = list(items)
    assert all(isinstance(study, Study) for study in studies)
    assert len({study.study_id for study in studies}) == STUDIES
    for study in studies:
        assert study.images
        assert all(getattr(study, given) for given in gives(source))
        assert all(path.is_absolute() and path.is_file() for path in study.masks.values())
        assert all(question and answer for question, answer in study.questions)
        assert len({image.path for image in study.images}) == len(study.images)
        assert all(image.path.is_absolute() and image.path.is_file() for image in study.images)


def test_types_keep_what_they_promise(source):
    for study in items_of(source):
        assert re.fullmatch(r"[0-9a-f]{32}", study.patient_key)
        assert study.split in {None, *SPLITS}
        assert study.sex in {None, "F", "M", "O"}
        assert study.age_band is None or re.fullmatch(r"(\d0)-(\d9)|90\+", study.age_band)
        assert study.days is None or study.days >= 0
        if study.report is None:
            assert "report" not in gives(source)
            continue
        assert set(study.report.sections) <= set(SECTIONS)
        for part in (*study.report.sections.values(), *study.report.sentences):
            assert study.report.raw[part.start : part.end] == part.text


def test_the_same_source_reads_the_same(source):
    assert items_of(source) == items_of(source)


def test_no_study_shows_whose_it_is(source):
    for study in items_of(source):
        said = repr(dataclasses.replace(study, images=(), report=None, masks={}))
        assert not any(patient in said for patient in layouts.PATIENTS)
        assert not re.search(r"20\d\d-?[01]\d-?[0-3]\d", said)


def test_a_lost_image_is_set_aside_and_nothing_else(source):
    before = {study.study_id: study for study in items_of(source)}
    lost = next(iter(before.values())).images[0].path
    lost.write_bytes(b"")
    items = items_of(source)
    rejected = [one for one in items if isinstance(one, Rejection)]
    assert Reason.FILE_EMPTY in {one.reason for one in rejected}
    assert lost in {one.path for one in rejected}
    after = {study.study_id: study for study in items if isinstance(study, Study)}
    hurt = {name for name, study in before.items() if lost in {image.path for image in study.images}}
    assert {name: study.images for name, study in after.items() if name not in hurt} == {
        name: study.images for name, study in before.items() if name not in hurt
    }
    assert not any(str(lost) in one.detail or patient in one.detail for one in rejected for patient in layouts.PATIENTS)


@pytest.mark.parametrize("reader", registry.names("reader"))
def test_a_source_that_is_not_there(reader, tmp_path):
    columns = {"image": "file"}
    for path in (tmp_path / "gone", tmp_path / "gone.csv"):
        config = DataConfig(reader=reader, path=path, columns=columns)
        with pytest.raises(DataError, match=r"data\.path"):
            registry.resolve("reader", reader)(config)


@pytest.mark.parametrize("reader", registry.names("reader"))
def test_an_empty_folder(reader, tmp_path):
    (tmp_path / "empty").mkdir()
    config = DataConfig(reader=reader, path=tmp_path / "empty", columns={"image": "file"})
    with pytest.raises(DataError, match=r"data\.path"):
        items_of(config)


def test_the_manifest_keeps_every_study(source, tmp_path):
    studies = items_of(source)
    result = index(source, 0, tmp_path / "out")
    assert result.rejected == {}
    opened = Manifest.open(result.manifest)
    found = list(opened.studies())
    assert [dataclasses.replace(study, split=None) for study in found] == [
        dataclasses.replace(study, split=None) for study in studies
    ]
    cut = {("train", "val")} if "val" not in {study.split for study in studies} else set()  # val's share, from train
    for before, after in zip(studies, found, strict=True):
        assert before.split in {None, after.split} or (before.split, after.split) in cut
    assert {study.split for study in found} == set(SPLITS if source.reader not in WITHOUT_TEST else SPLITS[:2])
    counts = opened.counts()
    assert counts["all"] == STUDIES
    for given, count in (("report", "paired"), ("masks", "with_masks"), ("questions", "with_questions")):
        assert counts[count] == sum(bool(getattr(study, given)) for study in studies)
        assert given not in gives(source) or counts[count] == STUDIES
    assert counts["image_without_report"] == 0


def test_reading_needs_no_learning_stack(tmp_path):
    configs = [make(tmp_path / name.replace(" ", "_")).model_dump_json() for name, make in LAYOUTS.items()]
    code = """
import json, sys
from medmm import registry
from medmm.config.schema import DataConfig
from medmm.data import manifest, pairing, splits
before = "pandas" in sys.modules or "pyarrow" in sys.modules
number = 0
for text in json.loads(sys.argv[1]):
    config = DataConfig.model_validate_json(text)
    number += len(list(registry.resolve("reader", config.reader)(config)))
heavy = [name for name in ("torch", "monai", "mlflow", "transformers") if name in sys.modules]
print(json.dumps([number, heavy, before]))
"""
    said = subprocess.run([sys.executable, "-c", code, json.dumps(configs)], check=True, capture_output=True, text=True)
    assert json.loads(said.stdout) == [STUDIES * len(LAYOUTS), [], False]
