"""What is no whole run, or not all of one and the same run, is refused by name, and no pickle is ever opened."""

import hashlib
import json
import pickle
import shutil

import pytest
import torch

from medmm.errors import CheckpointError, UsageError
from medmm.training.loaded import load

FOREIGN = "not the one that the weights were trained with"


@pytest.mark.parametrize(("key", "value"), [("size", 64), ("mean", 0.4), ("std", 0.5), ("hash", "0" * 64)])
def test_an_edited_contract_is_refused(run, key, value):
    file = run / "model" / "preprocess.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))
    with pytest.raises(CheckpointError, match=FOREIGN):
        load(run, "cpu")


def test_a_contract_edited_together_with_its_hash_is_refused_by_the_weights(run, edit):
    file = run / "model" / "preprocess.json"
    said = json.loads(file.read_text()) | {"mean": 0.4}
    settings = {name: said[name] for name in ("size", "depth", "window", "mean", "std")}
    said["hash"] = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    file.write_text(json.dumps(said))
    edit("preprocess", mean=0.4)
    with pytest.raises(CheckpointError, match=FOREIGN):
        load(run, "cpu")


@pytest.mark.parametrize("content", ["", "{", '{"format": 1}', "[]", "null"])
def test_a_broken_contract_is_refused(run, content):
    (run / "model" / "preprocess.json").write_text(content)
    with pytest.raises(CheckpointError, match="cannot be read"):
        load(run, "cpu")


def test_a_hash_that_is_no_text_is_refused(run):
    file = run / "model" / "preprocess.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"hash": []}))
    with pytest.raises(CheckpointError, match=FOREIGN):
        load(run, "cpu")


def test_a_missing_contract_and_one_of_another_format_are_refused(run):
    file = run / "model" / "preprocess.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"format": 2}))
    with pytest.raises(CheckpointError, match="got format 2"):
        load(run, "cpu")
    file.unlink()
    with pytest.raises(CheckpointError, match="cannot be read"):
        load(run, "cpu")


def test_a_config_of_another_size_is_refused(run, edit):
    edit("preprocess", size=64)
    with pytest.raises(CheckpointError, match=FOREIGN):
        load(run, "cpu")


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return (open, (str(self.trace), "w"))


@pytest.mark.parametrize("name", ["extra.safetensors", "model.safetensors", "adapter.bin", "deep/in/it.pt"])
@pytest.mark.parametrize("kind", ["pickle", "torch"])
def test_a_pickle_is_refused_whatever_its_name(run, tmp_path, name, kind):
    trace = tmp_path / "trace"
    file = run / "model" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as opened:
        (pickle.dump if kind == "pickle" else torch.save)(Bomb(trace), opened)
    with pytest.raises(CheckpointError, match="pickle"):
        load(run, "cpu")
    assert not trace.exists()


def test_a_pickle_is_refused_before_it_is_said_that_weights_are_missing(run):
    (run / "model" / "model.safetensors").unlink()
    torch.save({"weight": torch.zeros(1)}, run / "model" / "model.pt")
    with pytest.raises(CheckpointError, match="pickle"):
        load(run, "cpu")


def test_missing_weights_mean_that_training_has_not_ended(run):
    (run / "model" / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model/model\.safetensors: training has not ended.*--resume"):
        load(run, "cpu")
    shutil.rmtree(run / "model")
    with pytest.raises(CheckpointError, match="training has not ended"):
        load(run, "cpu")


def test_weights_cut_short_are_refused(run):
    file = run / "model" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="no whole safetensors file"):
        load(run, "cpu")


def test_a_config_of_another_model_is_refused_with_the_shapes(run, edit):
    edit("model", encoder={"width": 48})
    with pytest.raises(CheckpointError, match="do not fit.*of another shape"):
        load(run, "cpu")


def test_what_is_no_run_and_a_gpu_that_is_not_there_are_refused(run, tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="no run directory"):
        load(tmp_path)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(UsageError, match="no such GPU"):
        load(run, "cuda")
