"""Scoring that is cut off and gone on with."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from medmm.config.schema import Config
from medmm.errors import CheckpointError
from medmm.scoring import engine, sources

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
    [({"weights_sha256": "v" * 64}, "weights"), ({}, "generate")],
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


def test_draws_of_another_seed_are_not_mixed_but_without_draws_the_seed_does_not_matter(tmp_path, pictures, grey_model):
    def seeded(seed, strategy):
        generate = Config().generate.model_copy(update={"strategy": strategy})
        return _config().model_copy(update={"seed": seed, "generate": generate})

    for strategy in ("sample", "greedy"):
        _score(pictures, tmp_path / strategy, grey_model(DRAFTS, seeded(1, strategy)))
    assert _score(pictures, tmp_path / "sample", grey_model(DRAFTS, seeded(1, "sample")), resume=True).resumed == 7
    with pytest.raises(CheckpointError, match=r"seed 1; expected seed 2"):
        _score(pictures, tmp_path / "sample", grey_model(DRAFTS, seeded(2, "sample")), resume=True)
    assert _score(pictures, tmp_path / "greedy", grey_model(DRAFTS, seeded(2, "greedy")), resume=True).resumed == 7


_SCRIPT = """
import importlib.util, sys, time
from pathlib import Path
from medmm.scoring import engine, sources
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
    for goal in (1, 4):
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
