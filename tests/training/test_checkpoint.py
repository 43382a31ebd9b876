"""Resumable state: whole or not there, of this run or refused."""

import os

import pytest
import torch

from medmm.errors import CheckpointError
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
