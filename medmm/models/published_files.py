"""Files of published weights: safetensors, or what torch.save wrote where it holds tensors and nothing that runs."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medmm.errors import CheckpointError
from medmm.models.weights import load_tensors

_TORCH = {".pt", ".pth", ".bin"}
_WRAPPED = ("state_dict", "model_state_dict", "model", "net", "network", "encoder", "backbone", "weights")
"""Where training scripts keep the state dict beside the optimizer and the like."""
_WHERE = "model.encoder.weights"


def read_published(path: Path) -> dict[str, Tensor]:
    """Read the named tensors of a file, out of the wrappers that training scripts put around them.

    Args:
        path: ``.safetensors``; or ``.pt``, ``.pth``, ``.bin`` of torch.save, opened by ``weights_only`` alone.

    Raises:
        CheckpointError: There is no such file, it is of another kind, is broken, holds more than tensors and plain
            values (a whole model as torch.save(model) writes it), or no named tensors.
    """
    if not path.is_file():
        raise CheckpointError("there is no such file", where=_WHERE, got=path.name)
    suffix = path.suffix.lower()
    if suffix == ".safetensors":
        return load_tensors(path)
    if suffix not in _TORCH:
        expected = f"a file of .safetensors, {', '.join(sorted(_TORCH))}"
        raise CheckpointError("weights of an unknown kind", where=_WHERE, got=path.name, expected=expected)
    tensors = _named_tensors(_loaded(path))
    if not tensors:
        raise CheckpointError("there are no named tensors", where=_WHERE, got=path.name, expected="a state dict")
    return tensors


def _loaded(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            "the file is broken or holds more than tensors, which could run any code", where=_WHERE,
            got=path.name, expected="a state dict",
            fix="Convert it in a sandbox: safetensors.torch.save_file(model.state_dict(), FILE).",
        ) from error  # fmt: skip


def _named_tensors(found: Any) -> dict[str, Tensor]:
    """The tensors of a state dict; of a dict without any, those of the first entry that is known to hold one."""
    if not isinstance(found, Mapping):
        return {}
    tensors = {str(name): value for name, value in found.items() if isinstance(value, Tensor)}
    inner = (_named_tensors(found[name]) for name in _WRAPPED if isinstance(found.get(name), Mapping))
    return next((one for one in inner if len(one) > len(tensors)), tensors)
