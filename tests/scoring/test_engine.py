import json
import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from medmm.config.schema import Config
from medmm.errors import CheckpointError, DataError, ExitCode, ResourceError, UsageError
from medmm.scoring import engine, sources
from medmm.scoring.reading import ReadingProcess

DRAFTS = [f"Draft {number}. There is a pleural effusion." for number in range(26)]


def _config(**score):
    return Config.model_validate(
        {"preprocess": {"size": 64}, "score": {"batch_size": 3, "workers": 0, **score}, "model": {"max_views": 2}}
    )


def _score(folder, out, model, *, resume=False, config=None, progress=None):
    config = config or model.config
    listing = sources.list_files(folder, apart_from=out)
    return engine.score_listing(listing, model, out, config, resume=resume, progress=progress)


def _lines(out, name="predictions.jsonl"):
    return [json.loads(text) for text in (out / name).read_text().splitlines()]


def _manifest(out):
    return json.loads((out / "manifest.json").read_text())


def write_dicom(path, level, study, *, patient="P1", modality="DX", pixels=True):
    """A radiograph of one grey level, 16 of 64 rows black and white so that the window is the full range."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    data.StudyInstanceUID, data.SeriesInstanceUID, data.PatientID = study, f"{study}.1", patient
    data.Modality, data.PhotometricInterpretation = modality, "MONOCHROME2"
    data.Rows = data.Columns = 64
    data.SamplesPerPixel, data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 1, 8, 8, 7, 0
    data.WindowCenter, data.WindowWidth = 128, 256
    if pixels:
        data.PixelData = np.full((64, 64), level, np.uint8).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return data.SOPInstanceUID


@pytest.fixture
def pictures(tmp_path, grey):
    """Seven pictures in two folders; picture n is drafted as ``DRAFTS[n]``."""
    for number in range(7):
        grey(tmp_path / "in" / ("a" if number < 4 else "b") / f"{number}.png", number * 10)
    return tmp_path / "in"


def test_each_picture_is_a_study_and_gets_its_draft(tmp_path, pictures, grey_model):
    out = tmp_path / "out"
    model = grey_model(DRAFTS, _config())
    summary = _score(pictures, out, model)
    assert (summary.scored, summary.quarantined, summary.exit_code) == (7, 0, ExitCode.DONE)
    assert model.batches == [3, 3, 1]
    lines = _lines(out)
    assert [(line["study_id"], line["report"]) for line in lines] == [
        (f"{'a' if number < 4 else 'b'}/{number}.png", DRAFTS[number]) for number in range(7)
    ]
    assert lines[0]["sources"] == ["a/0.png"]
    assert lines[0]["findings"]["pleural_effusion"] == {"status": "present", "probability": None}
    assert lines[0]["findings"]["edema"] == {"status": "unmentioned", "probability": 0.25}
    assert lines[0]["tag"].startswith("study#")
    assert lines[0]["provenance"] == {"weights_hash": "w" * 64}
    assert _lines(out, "quarantine.jsonl") == []


def test_manifest_accounts_for_everything(tmp_path, pictures, grey_model):
    (pictures / "notes.txt").write_text("no image")
    (pictures / "a" / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    out = tmp_path / "out"
    _score(pictures, out, grey_model(DRAFTS, _config()))
    manifest = _manifest(out)
    assert (manifest["format"], manifest["version"], manifest["status"]) == ("medmm-scores", 1, "done")
    assert manifest["counts"]["scored"] == 7
    assert manifest["counts"]["quarantined"] == 1
    assert manifest["counts"]["images"] == 7
    assert manifest["counts"]["files_left_out"] == 1
    assert sum(manifest["counts"]["reasons"].values()) == 1
    assert manifest["identity"]["weights"] == "w" * 64
    assert manifest["input_hash"] == sources.list_files(pictures).hash()
    assert manifest["started"] <= manifest["ended"]
    assert str(tmp_path) not in (out / "manifest.json").read_text()


def test_dicom_is_grouped_by_study_and_other_files_are_left_out(tmp_path, grey, grey_model):
    folder, out = tmp_path / "in", tmp_path / "out"
    one = [write_dicom(folder / "x" / f"{view}.dcm", 30, "1.2.1") for view in range(3)]
    two = write_dicom(folder / "y" / "IM0001", 50, "1.2.2", patient="P2")
    grey(folder / "y" / "mask.png", 250)
    summary = _score(folder, out, grey_model(DRAFTS, _config()))
    assert (summary.scored, summary.quarantined) == (2, 0)
    lines = {line["study_id"]: line for line in _lines(out)}
    assert lines["1.2.1"]["report"] == DRAFTS[3]
    assert lines["1.2.1"]["sources"] == one[:2]
    assert lines["1.2.1"]["notes"] == ["1 of 3 images were not used: the model takes 2"]
    assert (lines["1.2.2"]["report"], lines["1.2.2"]["sources"], lines["1.2.2"]["notes"]) == (DRAFTS[5], [two], [])
    assert _manifest(out)["counts"]["files_left_out"] == 1


def test_one_broken_view_leaves_the_study_with_a_note(tmp_path, grey_model):
    folder, out = tmp_path / "in", tmp_path / "out"
    broken = folder / "a.dcm"
    write_dicom(broken, 30, "1.2.1")
    seen = [write_dicom(folder / f"{name}.dcm", 30, "1.2.1") for name in "bc"]
    data = pydicom.dcmread(broken)
    data.PixelData = data.PixelData[:100]
    data.save_as(broken)
    summary = _score(folder, out, grey_model(DRAFTS, _config()))
    assert (summary.scored, summary.quarantined, summary.images_left_out) == (1, 0, 1)
    assert summary.exit_code == ExitCode.DONE
    (line,) = _lines(out)
    assert line["sources"] == seen
    assert line["notes"][0].startswith("1 of 3 images could not be read and were left out: ")
    (aside,) = _lines(out, "quarantine.jsonl")
    assert (aside["study_id"], aside["scope"], aside["path"]) == ("1.2.1", "image", str(broken))


def test_broken_studies_are_quarantined_and_the_rest_goes_on(tmp_path, pictures, grey_model):
    (pictures / "a" / "1.png").write_bytes(b"")
    (pictures / "a" / "2.png").write_bytes((pictures / "a" / "2.png").read_bytes()[:60])
    out = tmp_path / "out"
    summary = _score(pictures, out, grey_model(DRAFTS, _config()))
    assert (summary.scored, summary.quarantined) == (5, 2)
    assert summary.exit_code == ExitCode.QUARANTINED == 10
    aside = {line["study_id"]: line for line in _lines(out, "quarantine.jsonl")}
    assert aside["a/1.png"]["reason"] == "file_empty"
    assert aside["a/1.png"]["path"] == str(pictures / "a" / "1.png")
    assert aside["a/2.png"]["reason"] in ("decode_failed", "file_unreadable")
    assert stat.S_IMODE(os.stat(out / "quarantine.jsonl").st_mode) == 0o600
    assert stat.S_IMODE(os.stat(out / "predictions.jsonl").st_mode) == 0o600


def test_folder_of_nothing_but_broken_dicom_is_quarantined_file_by_file(tmp_path, grey_model):
    folder, out = tmp_path / "in", tmp_path / "out"
    for name in "ab":
        write_dicom(folder / f"{name}.dcm", 30, f"1.2.{ord(name)}")
        (folder / f"{name}.dcm").write_bytes((folder / f"{name}.dcm").read_bytes()[:200])
    summary = _score(folder, out, grey_model(DRAFTS, _config()))
    assert (summary.scored, summary.quarantined) == (0, 2)
    assert _manifest(out)["status"] == "done"


def test_object_without_pixels_beside_images_is_no_fault_but_alone_it_is(tmp_path, grey_model):
    folder, out = tmp_path / "in", tmp_path / "out"
    write_dicom(folder / "image.dcm", 30, "1.2.1")
    write_dicom(folder / "report.dcm", 30, "1.2.1", modality="SR", pixels=False)
    write_dicom(folder / "alone.dcm", 30, "1.2.9", modality="SR", pixels=False)
    summary = _score(folder, out, grey_model(DRAFTS, _config()))
    assert (summary.scored, summary.reasons) == (1, {"no_pixels": 1})
    assert [line["study_id"] for line in _lines(out, "quarantine.jsonl")] == ["1.2.9"]


class _Killed(BaseException):
    """Ends a run as a signal would."""


def _killing(model, batches):
    """The model, which is killed when it is asked for one batch more."""
    inner = model.predict_batch

    def predict_batch(*arguments):
        if len(model.batches) == batches:
            raise _Killed
        return inner(*arguments)

    model.predict_batch = predict_batch
    return model


@pytest.mark.parametrize("batches", [0, 1, 2])
def test_resume_loses_nothing_and_doubles_nothing(tmp_path, pictures, grey_model, batches):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    _score(pictures, whole, grey_model(DRAFTS, _config()))
    with pytest.raises(_Killed):
        _score(pictures, cut, _killing(grey_model(DRAFTS, _config()), batches))
    assert _manifest(cut)["status"] == "interrupted"
    with (cut / "predictions.jsonl").open("ab") as file:
        file.write(b'{"study_id": "b/5.png", "finger')
    model = grey_model(DRAFTS, _config())
    summary = _score(pictures, cut, model, resume=True)
    assert (summary.resumed, summary.scored, summary.repaired) == (3 * batches, 7 - 3 * batches, 1)
    assert sum(model.batches) == 7 - 3 * batches
    assert (cut / "predictions.jsonl").read_bytes() == (whole / "predictions.jsonl").read_bytes()


def test_changed_and_new_files_are_scored_on_resume(tmp_path, pictures, grey, grey_model):
    out = tmp_path / "out"
    _score(pictures, out, grey_model(DRAFTS, _config()))
    grey(pictures / "a" / "1.png", 90)
    os.utime(pictures / "a" / "1.png", ns=(1, 1))
    grey(pictures / "b" / "9.png", 100)
    summary = _score(pictures, out, grey_model(DRAFTS, _config()), resume=True)
    assert (summary.resumed, summary.scored) == (6, 2)
    reports = {line["study_id"]: line["report"] for line in _lines(out)}
    assert (reports["a/1.png"], reports["b/9.png"]) == (DRAFTS[9], DRAFTS[10])
    assert len(_lines(out)) == len(reports) == 8


def test_quarantined_studies_are_tried_again(tmp_path, pictures, grey, grey_model):
    out = tmp_path / "out"
    (pictures / "a" / "1.png").write_bytes(b"")
    assert _score(pictures, out, grey_model(DRAFTS, _config())).quarantined == 1
    grey(pictures / "a" / "1.png", 10)
    summary = _score(pictures, out, grey_model(DRAFTS, _config()), resume=True)
    assert (summary.scored, summary.quarantined, summary.resumed) == (1, 0, 6)
    assert _lines(out, "quarantine.jsonl") == []


@pytest.mark.parametrize(
    ("change", "named"),
    [({"weights_hash": "v" * 64}, "weights"), ({}, "generate")],
)
def test_scores_of_another_model_or_of_other_settings_are_not_mixed(tmp_path, pictures, grey_model, change, named):
    out = tmp_path / "out"
    _score(pictures, out, grey_model(DRAFTS, _config()))
    other = (
        _config()
        if change
        else _config().model_copy(update={"generate": Config().generate.model_copy(update={"strategy": "beam"})})
    )
    with pytest.raises(CheckpointError, match=named):
        _score(pictures, out, grey_model(DRAFTS, _config(), change), resume=True, config=other)


def test_reading_processes_give_the_same(tmp_path, pictures, grey_model):
    alone, pooled = tmp_path / "alone", tmp_path / "pooled"
    _score(pictures, alone, grey_model(DRAFTS, _config()))
    _score(pictures, pooled, grey_model(DRAFTS, _config(workers=2)))
    assert (pooled / "predictions.jsonl").read_bytes() == (alone / "predictions.jsonl").read_bytes()


class _Crashing(ReadingProcess):
    """A reading process that dies on one file, as a decoder's memory fault would end it."""

    def ask(self, job):
        if job.path.name == "2.png":
            self._running = self._running or self._start()
            self._running.kill()
            self._running.wait()
        return super().ask(job)


def test_file_that_crashes_a_reading_process_costs_one_study(tmp_path, pictures, grey_model, monkeypatch):
    monkeypatch.setattr("medmm.scoring.reading.ReadingProcess", _Crashing)
    out = tmp_path / "out"
    summary = _score(pictures, out, grey_model(DRAFTS, _config(workers=1)))
    assert (summary.scored, summary.reasons) == (6, {"decode_failed": 1})
    (aside,) = _lines(out, "quarantine.jsonl")
    assert (aside["study_id"], aside["detail"]) == ("a/2.png", "the reading process ended with code -9 on this file")


_SCRIPT = """
import importlib.util, sys, time
from pathlib import Path
from medmm.scoring import engine, sources
from medmm.scoring.reading import ReadingProcess
spec = importlib.util.spec_from_file_location("world", sys.argv[1])
world = importlib.util.module_from_spec(spec)
spec.loader.exec_module(world)
config = world.Config.model_validate_json(sys.argv[4])
model = world.GreyModel([f"Draft {number}. There is a pleural effusion." for number in range(26)], config)
inner = model.predict_batch
model.predict_batch = lambda *words: (time.sleep(0.2), inner(*words))[1]
engine.score_listing(sources.list_files(Path(sys.argv[2])), model, Path(sys.argv[3]), config, resume=True)
"""


def test_sigkill_at_any_moment_and_resume_end_as_if_nothing_had_been(tmp_path, pictures, grey_model):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    config = _config(batch_size=1, workers=1)
    _score(pictures, whole, grey_model(DRAFTS, config))
    world = Path(__file__).with_name("conftest.py")
    words = [sys.executable, "-c", _SCRIPT, str(world), str(pictures), str(cut), config.model_dump_json()]
    for goal in (1, 3, 5):
        process = subprocess.Popen(words)
        deadline = time.monotonic() + 60
        while _count(cut) < goal and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        readers = psutil.Process(process.pid).children()
        process.kill()
        process.wait()
        assert _count(cut) < 7
        assert psutil.wait_procs(readers, timeout=10)[1] == []
    assert subprocess.run(words, check=True).returncode == 0
    assert (cut / "predictions.jsonl").read_bytes() == (whole / "predictions.jsonl").read_bytes()
    assert _manifest(cut)["status"] == "done"


def _count(out):
    path = out / "predictions.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_batch_that_does_not_fit_is_halved(tmp_path, pictures, grey_model):
    model = grey_model(DRAFTS, _config(batch_size=7))
    inner = model.predict_batch

    def predict_batch(images, mask, ids):
        if len(ids) > 2:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes.")
        return inner(images, mask, ids)

    model.predict_batch = predict_batch
    assert _score(pictures, tmp_path / "out", model).scored == 7
    assert model.batches == [1, 2, 2, 2]
    assert [line["report"] for line in _lines(tmp_path / "out")] == DRAFTS[:7]


def test_single_study_that_does_not_fit_is_a_resource_error(tmp_path, pictures, grey_model):
    model = grey_model(DRAFTS, _config())

    def predict_batch(*_):
        raise MemoryError

    model.predict_batch = predict_batch
    with pytest.raises(ResourceError, match="single study"):
        _score(pictures, tmp_path / "out", model)


def test_bug_of_the_model_stops_the_run(tmp_path, pictures, grey_model):
    with pytest.raises(IndexError):
        _score(pictures, tmp_path / "out", grey_model([], _config()))
    assert _manifest(tmp_path / "out")["status"] == "interrupted"


def test_empty_and_missing_folders_are_clear_errors(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="an empty folder"):
        engine.score_folder(tmp_path / "empty", tmp_path / "run", tmp_path / "out")
    with pytest.raises(DataError, match="no such folder"):
        engine.score_folder(tmp_path / "none", tmp_path / "run", tmp_path / "out")
    (tmp_path / "empty" / "a.txt").write_text("text")
    with pytest.raises(DataError, match="1 file, none an image"):
        engine.score_folder(tmp_path / "empty", tmp_path / "run", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_non_empty_output_is_refused_before_anything_is_read(tmp_path, pictures):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("x")
    with pytest.raises(UsageError, match="--resume"):
        engine.score_folder(pictures, tmp_path / "run", tmp_path / "out")


def test_single_files_are_scored(tmp_path, pictures, grey_model):
    write_dicom(tmp_path / "one.dcm", 40, "1.2.7")
    for path, study_id, draft in ((tmp_path / "one.dcm", "1.2.7", 4), (pictures / "a" / "2.png", "2.png", 2)):
        out = tmp_path / f"out-{study_id}"
        _score(path, out, grey_model(DRAFTS, _config()))
        (line,) = _lines(out)
        assert (line["study_id"], line["report"]) == (study_id, DRAFTS[draft])


def test_survey_counts_without_a_model(tmp_path, pictures):
    assert engine.survey(pictures) == {"studies": 7, "images": 7, "set_aside": 0, "files_left_out": 0}
    shutil.copy(pictures / "a" / "1.png", pictures / "b" / "again.png")
    (pictures / "readme.md").write_text("x")
    assert engine.survey(pictures) == {"studies": 8, "images": 8, "set_aside": 0, "files_left_out": 1}


def test_progress_counts_up_to_everything(tmp_path, pictures, grey_model):
    (pictures / "a" / "1.png").write_bytes(b"")
    said = []
    _score(pictures, tmp_path / "out", grey_model(DRAFTS, _config()), progress=lambda *words: said.append(words))
    assert said[-1][0] == 6
    assert said[-1][2] == "1 set aside"


def test_file_names_that_are_no_text_are_scored_too(tmp_path, pictures, grey_model):
    odd = Path(os.fsdecode(bytes(pictures / "a") + b"/\xff\xfe.png"))
    shutil.copy(pictures / "a" / "1.png", odd)
    summary = _score(pictures, tmp_path / "out", grey_model(DRAFTS, _config()))
    assert summary.scored == 8
    assert "a/\\xff\\xfe.png" in [line["study_id"] for line in _lines(tmp_path / "out")]
