"""Files of others: tensors come out, whatever runs does not."""

import pickle

import pytest
import torch
from safetensors.torch import save_file

from medmm.errors import CheckpointError
from medmm.models.published_files import read_published

NAMED = {"conv1.weight": torch.arange(4.0), "bn1.bias": torch.ones(2)}


class Evil:
    def __reduce__(self):
        return (exec, ("raise SystemExit('a pickle was opened')",))


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".PTH"])
@pytest.mark.parametrize(
    "wrapped",
    [NAMED, {"state_dict": NAMED, "epoch": 3, "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}}},
     {"model": NAMED}, {"model_state_dict": NAMED, "best": 0.9}],
)  # fmt: skip
def test_tensors_come_out_of_their_wrappers(wrapped, suffix, tmp_path):
    torch.save(wrapped, tmp_path / f"w{suffix}")
    found = read_published(tmp_path / f"w{suffix}")
    assert found.keys() == NAMED.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in NAMED.items())


def test_the_old_format_of_torch_is_read(tmp_path):
    torch.save(NAMED, tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    assert torch.equal(read_published(tmp_path / "w.pth")["conv1.weight"], torch.arange(4.0))


def test_safetensors_are_read(tmp_path):
    save_file(NAMED, str(tmp_path / "w.safetensors"))
    assert read_published(tmp_path / "w.safetensors").keys() == NAMED.keys()


@pytest.mark.parametrize("whole", ["model", "evil", "raw", "text", "empty"])
def test_what_could_run_and_what_is_broken_is_refused(whole, tmp_path):
    path = tmp_path / "w.pt"
    if whole == "model":
        torch.save(torch.nn.Linear(2, 2), path)
    elif whole == "evil":
        torch.save({"state_dict": NAMED, "hook": Evil()}, path)
    elif whole == "raw":
        path.write_bytes(pickle.dumps(Evil()))
    else:
        path.write_bytes(b"plain text" if whole == "text" else b"")
    with pytest.raises(CheckpointError, match="broken or holds more than tensors") as caught:
        read_published(path)
    assert str(tmp_path) not in str(caught.value)


def test_a_pickle_under_another_name_and_unknown_kinds_are_refused(tmp_path):
    torch.save(NAMED, tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match="pickle"):
        read_published(tmp_path / "w.safetensors")
    for name in ("w.h5", "w.pkl", "w.ckpt", "w"):
        (tmp_path / name).write_bytes(b"x")
        with pytest.raises(CheckpointError, match="unknown kind"):
            read_published(tmp_path / name)
    with pytest.raises(CheckpointError, match="no such file; got absent.pt"):
        read_published(tmp_path / "absent.pt")
    torch.save([torch.zeros(1)], tmp_path / "list.pt")
    with pytest.raises(CheckpointError, match="no named tensors"):
        read_published(tmp_path / "list.pt")
