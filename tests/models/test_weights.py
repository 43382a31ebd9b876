"""Weights in and out, and what is refused."""

import pickle

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from torch import nn

from medmm.errors import CheckpointError, ResourceError
from medmm.models import weights


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.last = nn.Linear(4, 4, bias=False)
        self.last.weight = self.first.weight
        self.norm = nn.BatchNorm1d(4)


def test_tied_weights_are_written_once_and_come_back(tmp_path):
    torch.manual_seed(0)
    model, other = Tied(), Tied()
    weights.save_tensors(tmp_path / "w.safetensors", model.state_dict(), {"mark": "x"})
    named = weights.load_tensors(tmp_path / "w.safetensors")
    assert "last.weight" not in named
    weights.load_into(other, named, "w.safetensors")
    for one, two in zip(model.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(one, two)
    assert other.last.weight is other.first.weight
    assert weights.read_metadata(tmp_path / "w.safetensors") == {"mark": "x"}


def test_what_does_not_fit_is_listed_and_nothing_is_changed():
    model = Tied()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    named = {name: value.clone() + 1 for name, value in model.state_dict().items() if name != "norm.bias"}
    named["first.bias"] = torch.zeros(5)
    named["head.weight"] = torch.zeros(1)
    with pytest.raises(CheckpointError) as caught:
        weights.load_into(model, named, "w.safetensors")
    said = str(caught.value)
    for words in ("1 missing: norm.bias", "1 unknown: head.weight", "first.bias (5,) for (4,)"):
        assert words in said
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


class Evil:
    def __reduce__(self):
        return (exec, ("raise SystemExit('a pickle was opened')",))


@pytest.mark.parametrize("kind", ["zip", "raw", "renamed", "legacy"])
def test_pickles_are_refused_by_content_and_by_name(kind, tmp_path):
    path = tmp_path / ("model.bin" if kind == "legacy" else "model.safetensors")
    if kind == "raw":
        path.write_bytes(pickle.dumps(Evil()))
    elif kind == "legacy":
        path.write_bytes(b"whatever")
    else:
        torch.save({"a": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="pickle"):
        weights.load_tensors(path)
    with pytest.raises(CheckpointError, match="pickle"):
        weights.refuse_pickles_in(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\x10\x00\x00\x00\x00\x00\x00\x00{}", b"plain text"])
def test_a_broken_file_is_refused(content, tmp_path):
    (tmp_path / "w.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match="safetensors"):
        weights.load_tensors(tmp_path / "w.safetensors")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="w.safetensors"):
        weights.load_tensors(tmp_path / "w.safetensors")


def test_the_hash_is_that_of_the_bytes(tmp_path):
    (tmp_path / "w").write_bytes(b"abc")
    assert weights.file_sha256(tmp_path / "w") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_empty_tensors_are_not_taken_for_shared(tmp_path):
    named = {"a": torch.zeros(0), "b": torch.zeros(0, 2), "c": torch.arange(3)}
    weights.save_tensors(tmp_path / "w.safetensors", named)
    back = weights.load_tensors(tmp_path / "w.safetensors")
    assert {name: tuple(value.shape) for name, value in back.items()} == {"a": (0,), "b": (0, 2), "c": (3,)}
    np.testing.assert_array_equal(back["c"], [0, 1, 2])


def test_a_full_disk_is_said_with_the_bytes_that_the_tensors_need(tmp_path, monkeypatch):
    def full(tensors, path, metadata):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    shared = torch.zeros(5, dtype=torch.float32)
    named = {"a": shared, "again": shared, "b": torch.zeros(2, 3, dtype=torch.bfloat16)}
    with pytest.raises(
        ResourceError, match=r"w\.safetensors: the disk is full; got [\d,]+ bytes free; expected 32 bytes"
    ):
        weights.save_tensors(tmp_path / "w.safetensors", named)
    assert list(tmp_path.iterdir()) == []
