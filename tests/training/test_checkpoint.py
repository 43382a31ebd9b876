"""Resumable state: whole or not there, of this run or refused."""

import json
import os

import pytest
import torch

from medmm.errors import CheckpointError, ResourceError
from medmm.training import checkpoint
from medmm.training.checkpoint import Standing, load_state, save_state

TENSORS = {"model": {"a": torch.arange(3.0)}, "optimizer": {"a/step": torch.tensor(2.0)}}


def test_what_is_saved_comes_back(tmp_path):
    standing = Standing(
        7, 0.25, 5, 2, False, 3.5, {"loss": 1.25, "count": 2.0}, [{"step": 4, "loss": 0.1}], [{"step": 5, "loss": 0.25}]
    )
    save_state(tmp_path, standing, TENSORS, "mark", 2)
    again, tensors = load_state(tmp_path, "mark")
    assert again == standing
    assert torch.equal(tensors["model"]["a"], torch.arange(3.0))
    assert float(tensors["optimizer"]["a/step"]) == 2.0


def test_without_state_there_is_none(tmp_path):
    assert load_state(tmp_path, "mark") is None


def test_only_the_latest_states_stay(tmp_path):
    for step in (2, 4, 10, 12):
        save_state(tmp_path, Standing(step), TENSORS, "mark", 2)
    assert sorted(path.name for path in tmp_path.glob("state-*")) == ["state-10", "state-12"]
    assert load_state(tmp_path, "mark")[0].step == 12


@pytest.mark.parametrize("moment", ["while writing", "before renaming", "before pointing"])
def test_whatever_the_moment_of_a_kill_the_pointer_leads_to_a_whole_state(moment, tmp_path, monkeypatch):
    save_state(tmp_path, Standing(2), TENSORS, "mark", 2)

    class Killed(BaseException):
        pass

    def kill(*words, **more):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.shutil, "rmtree", lambda *words, **more: None)  # the dead do not tidy up
        place = {"while writing": "write_json", "before pointing": "write_text"}.get(moment)
        patch.setattr(*((checkpoint, place, kill) if place else (os, "rename", kill)))
        with pytest.raises(Killed):
            save_state(tmp_path, Standing(4), TENSORS, "mark", 2)
    assert load_state(tmp_path, "mark")[0].step == 2
    save_state(tmp_path, Standing(4), TENSORS, "mark", 2)
    assert load_state(tmp_path, "mark")[0].step == 4
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_state_of_another_run_format_or_kind_is_refused(tmp_path):
    state = save_state(tmp_path, Standing(2), TENSORS, "mark", 2)
    with pytest.raises(CheckpointError, match="another run"):
        load_state(tmp_path, "other")
    record = state / "state.json"
    record.write_text(record.read_text().replace('"format": 1', '"format": 9'))
    with pytest.raises(CheckpointError, match="format 9"):
        load_state(tmp_path, "mark")
    record.write_text("{")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_state(tmp_path, "mark")


def test_a_pickle_among_the_state_is_refused(tmp_path):
    state = save_state(tmp_path, Standing(2), TENSORS, "mark", 2)
    torch.save({"a": torch.zeros(3)}, state / "model.safetensors")
    with pytest.raises(CheckpointError, match="pickle"):
        load_state(tmp_path, "mark")


def break_record(state, **changes):
    record = json.loads((state / "state.json").read_text()) | changes
    (state / "state.json").write_text(json.dumps({key: value for key, value in record.items() if value != "gone"}))


BREAKS = {
    "a list": lambda state: (state / "state.json").write_text("[]"),
    "an unknown key": lambda state: break_record(state, surplus=1),
    "a missing key": lambda state: break_record(state, step="gone"),
    "a word for a number": lambda state: break_record(state, step="four"),
    "a number for files": lambda state: break_record(state, files=3),
    "tensors cut off": lambda state: os.truncate(state / "model.safetensors", 40),
    "tensors gone": lambda state: (state / "model.safetensors").unlink(),
}


@pytest.mark.parametrize("kind", BREAKS)
def test_a_broken_state_is_refused_and_the_older_one_beside_it_named(kind, tmp_path):
    save_state(tmp_path, Standing(2), TENSORS, "mark", 2)
    BREAKS[kind](save_state(tmp_path, Standing(4), TENSORS, "mark", 2))
    with pytest.raises(CheckpointError, match=r"state-4.*write 'state-2' into the file 'last'") as refused:
        load_state(tmp_path, "mark")
    assert refused.value.exit_code == 4
    (tmp_path / "last").write_text("state-2\n")
    assert load_state(tmp_path, "mark")[0].step == 2


def test_a_broken_state_without_an_older_one(tmp_path):
    BREAKS["a list"](save_state(tmp_path, Standing(4), TENSORS, "mark", 2))
    with pytest.raises(CheckpointError, match="Remove the file 'last'"):
        load_state(tmp_path, "mark")


def test_a_full_disk_is_said_with_the_bytes_that_the_tensors_need(tmp_path, monkeypatch):
    def full(path, tensors):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_tensors", full)
    with pytest.raises(ResourceError, match=r"state-4: the disk is full; got [\d,]+ bytes free; expected 16 bytes"):
        save_state(tmp_path, Standing(4), TENSORS, "mark", 2)
