"""Weights in and out: safetensors only. Pickles are refused by what they hold, not by how they are called."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from medmm.errors import CheckpointError
from medmm.io.atomic import full_disk_named, replacing

if TYPE_CHECKING:
    from torch import Tensor, nn

_PICKLE_SUFFIXES = {".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle", ".joblib"}
_ZIP = b"PK\x03\x04"
_METADATA = "medmm"
_SHOWN = 8  # names listed of each kind of mismatch


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write named tensors, each memory once: a tensor that shares all its memory with an earlier one is left out.

    Args:
        path: File to write; it is replaced when all is well.
        tensors: Name to tensor, any dtype and device.
        metadata: Words to keep beside them.

    Raises:
        ResourceError: The disk is full; the bytes that the tensors need are said.
    """
    from safetensors.torch import save_file

    kept: dict[str, Tensor] = {}
    seen: dict[tuple[int, int], str] = {}
    for name, tensor in tensors.items():
        key = (tensor.data_ptr(), tensor.numel())
        if tensor.numel() and key in seen:
            continue
        seen[key] = name
        kept[name] = tensor.detach().to("cpu").clone().contiguous()
    needed = sum(tensor.numel() * tensor.element_size() for tensor in kept.values())
    with full_disk_named(path, needed), replacing(path) as temporary:
        # One entry only: safetensors writes several in no order, and the same weights must be the same bytes.
        save_file(kept, str(temporary), {_METADATA: json.dumps(dict(metadata or {}), sort_keys=True)})


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read named tensors into memory.

    Raises:
        CheckpointError: There is no such file, it is a pickle, or no whole safetensors file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    refuse_pickle(path)
    try:
        return load_file(str(path))
    except (SafetensorError, OSError) as error:
        raise CheckpointError("no whole safetensors file", where=path.name, fix="Copy or train it again.") from error


def read_metadata(path: Path) -> dict[str, str]:
    """Words kept beside the tensors of a file; raises as :func:`load_tensors`."""
    from safetensors import SafetensorError, safe_open

    refuse_pickle(path)
    try:
        with safe_open(str(path), framework="pt") as file:
            return dict(json.loads((file.metadata() or {}).get(_METADATA, "{}")))
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError("no whole safetensors file", where=path.name, fix="Copy or train it again.") from error


def load_into(module: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Copy tensors into a module by name, all of them or none.

    Args:
        module: Takes the values; the memory of its own tensors stays.
        tensors: What :func:`save_tensors` wrote of such a module; a tensor that shares memory may be named once.
        where: Name of the file for the error.

    Raises:
        CheckpointError: Names are missing, unknown, or of another shape; they are listed.
    """
    import torch

    own = module.state_dict()
    groups: dict[tuple[int, int], list[str]] = {}
    for name, tensor in own.items():
        groups.setdefault((tensor.data_ptr(), tensor.numel()) if tensor.numel() else (id(name), 0), []).append(name)
    missing = [names[0] for names in groups.values() if not any(name in tensors for name in names)]
    unknown = [name for name in tensors if name not in own]
    reshaped = [
        f"{name} {tuple(tensors[name].shape)} for {tuple(own[name].shape)}"
        for name in own
        if name in tensors and tensors[name].shape != own[name].shape
    ]
    problems = [_listed(kind, names) for kind, names in
                (("missing", missing), ("unknown", unknown), ("of another shape", reshaped)) if names]  # fmt: skip
    if problems:
        fix = "Use the config that the weights were trained with."
        raise CheckpointError("weights do not fit the model", where=where, got="; ".join(problems), fix=fix)
    with torch.no_grad():
        for name, tensor in tensors.items():
            own[name].copy_(tensor)


def refuse_pickle(path: Path) -> None:
    """Make sure that a file is there and no pickle, by its first bytes and its suffix.

    Raises:
        CheckpointError: There is no such file, or it is a pickle (torch.save's archive, a raw pickle, a NumPy object).
    """
    if not path.is_file():
        raise CheckpointError("there is no such file", where=path.name, expected="a safetensors file")
    with path.open("rb") as file:
        head = file.read(16)
    raw_pickle = len(head) > 1 and head[0] == 0x80 and 2 <= head[1] <= 5  # PROTO opcode of pickle protocols 2 to 5
    if head.startswith(_ZIP) or raw_pickle or path.suffix.lower() in _PICKLE_SUFFIXES:
        raise CheckpointError(
            "a pickle, which can run any code when it is opened",
            where=path.name,
            expected="safetensors",
            fix="Convert it in a sandbox with safetensors.torch.save_file, from torch.load(..., weights_only=True).",
        )


def refuse_pickles_in(folder: Path) -> None:
    """Refuse a folder of weights in which a pickle lies; raises as :func:`refuse_pickle`."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and (path.suffix == ".safetensors" or path.suffix.lower() in _PICKLE_SUFFIXES):
            refuse_pickle(path)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _listed(kind: str, names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{len(names)} {kind}: {', '.join(names[:_SHOWN])}{more}"
