import json
import os
import shutil
import stat
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest

from medmm.config.schema import Config
from medmm.data import child
from medmm.errors import DataError, ExitCode, ResourceError, UsageError
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
    assert lines[0]["provenance"] == {"weights_sha256": "w" * 64}
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


def test_dicom_is_grouped_by_study_and_other_files_are_left_out(tmp_path, grey, grey_model, dicom):
    folder, out = tmp_path / "in", tmp_path / "out"
    one = [dicom(folder / "x" / f"{view}.dcm", 30, "1.2.1") for view in range(3)]
    two = dicom(folder / "y" / "IM0001", 50, "1.2.2", patient="P2")
    grey(folder / "y" / "mask.png", 250)
    summary = _score(folder, out, grey_model(DRAFTS, _config()))
    assert (summary.scored, summary.quarantined) == (2, 0)
    lines = {line["study_id"]: line for line in _lines(out)}
    assert lines["1.2.1"]["report"] == DRAFTS[3]
    assert lines["1.2.1"]["sources"] == one[:2]
    assert lines["1.2.1"]["notes"] == ["image 3 of 3 left out: image_surplus"]
    assert (lines["1.2.2"]["report"], lines["1.2.2"]["sources"], lines["1.2.2"]["notes"]) == (DRAFTS[5], [two], [])
    assert _manifest(out)["counts"]["files_left_out"] == 1


def test_one_broken_view_leaves_the_study_with_a_note(tmp_path, grey_model, dicom):
    folder, out = tmp_path / "in", tmp_path / "out"
    broken = folder / "a.dcm"
    dicom(broken, 30, "1.2.1")
    seen = [dicom(folder / f"{name}.dcm", 30, "1.2.1") for name in "bc"]
    data = pydicom.dcmread(broken)
    data.PixelData = data.PixelData[:100]
    data.save_as(broken)
    summary = _score(folder, out, grey_model(DRAFTS, _config()))
    assert (summary.scored, summary.quarantined, summary.images_left_out) == (1, 0, 1)
    assert summary.exit_code == ExitCode.DONE
    (line,) = _lines(out)
    assert line["sources"] == seen
    (aside,) = _lines(out, "quarantine.jsonl")
    assert line["notes"] == [f"image 1 of 3 left out: {aside['reason']}"]
    assert aside["reason"] != "image_surplus"
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


@pytest.mark.parametrize("workers", [0, 1])
def test_volume_for_a_model_of_projections_says_what_was_got_and_expected(tmp_path, grey_model, workers):
    values = np.arange(8 * 8 * 4, dtype=np.float32).reshape(8, 8, 4)
    (tmp_path / "in").mkdir()
    nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / "in" / "ct.nii.gz")
    nib.save(nib.Nifti1Image(np.where(values % 7 == 0, np.nan, values), np.eye(4)), tmp_path / "in" / "holes.nii.gz")
    out = tmp_path / "out"
    summary = _score(tmp_path / "in", out, grey_model(DRAFTS, _config(workers=workers)))
    assert (summary.scored, summary.reasons) == (0, {"dimensions_mismatch": 2})
    wanted = "an image of the wrong kind; got a volume of 4 slices; expected a projection"
    assert [one["detail"] for one in _lines(out, "quarantine.jsonl")] == [wanted, wanted]


def test_folder_of_nothing_but_broken_dicom_is_quarantined_file_by_file(tmp_path, grey_model, dicom):
    folder, out = tmp_path / "in", tmp_path / "out"
    for name in "ab":
        dicom(folder / f"{name}.dcm", 30, f"1.2.{ord(name)}")
        (folder / f"{name}.dcm").write_bytes((folder / f"{name}.dcm").read_bytes()[:200])
    summary = _score(folder, out, grey_model(DRAFTS, _config()))
    assert (summary.scored, summary.quarantined) == (0, 2)
    assert _manifest(out)["status"] == "done"


def test_object_without_pixels_beside_images_is_no_fault_but_alone_it_is(tmp_path, grey_model, dicom):
    folder, out = tmp_path / "in", tmp_path / "out"
    dicom(folder / "image.dcm", 30, "1.2.1")
    dicom(folder / "report.dcm", 30, "1.2.1", modality="SR", pixels=False)
    dicom(folder / "alone.dcm", 30, "1.2.9", modality="SR", pixels=False)
    summary = _score(folder, out, grey_model(DRAFTS, _config()))
    assert (summary.scored, summary.reasons) == (1, {"no_pixels": 1})
    assert [line["study_id"] for line in _lines(out, "quarantine.jsonl")] == ["1.2.9"]


def test_reading_processes_give_the_same(tmp_path, pictures, grey_model):
    alone, pooled = tmp_path / "alone", tmp_path / "pooled"
    _score(pictures, alone, grey_model(DRAFTS, _config()))
    _score(pictures, pooled, grey_model(DRAFTS, _config(workers=2)))
    assert (pooled / "predictions.jsonl").read_bytes() == (alone / "predictions.jsonl").read_bytes()


class _Crashing(ReadingProcess):
    """A reading process that dies on one file, as a decoder's memory fault would end it."""

    def ask(self, job):
        if job.source.name != "2.png":
            return super().ask(job)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(child, "_send", lambda *_: (self.child._running.kill(), self.child._running.wait()))
            return super().ask(job)


def test_file_that_crashes_a_reading_process_costs_one_study(tmp_path, pictures, grey_model, monkeypatch):
    monkeypatch.setattr("medmm.scoring.reading.ReadingProcess", _Crashing)
    out = tmp_path / "out"
    summary = _score(pictures, out, grey_model(DRAFTS, _config(workers=1)))
    assert (summary.scored, summary.reasons) == (6, {"decode_failed": 1})
    (aside,) = _lines(out, "quarantine.jsonl")
    assert (aside["study_id"], aside["detail"]) == ("a/2.png", "the reading process ended with code -9 on this file")


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


def test_single_files_are_scored(tmp_path, pictures, grey_model, dicom):
    dicom(tmp_path / "one.dcm", 40, "1.2.7")
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
