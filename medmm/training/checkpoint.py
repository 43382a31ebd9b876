"""Resumable state: ``state-<step>/`` as safetensors and JSON, and a pointer to the last one.

A state is written beside its place, flushed and renamed; the pointer is replaced only then. A kill at any moment leaves
the pointer on a whole state.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any

from medmm.errors import CheckpointError
from medmm.io.atomic import PREFIX, full_disk_named, write_json, write_text
from medmm.models.weights import load_tensors, refuse_pickles_in, save_tensors

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1
POINTER = "last"
_RECORD = "state.json"
Tensors = dict[str, dict[str, "Tensor"]]


@dataclass
class Standing:
    """Where a run stands after so many steps; all but tensors.

    Attributes:
        step: Optimizer steps done.
        best_loss: Lowest validation loss so far, None before the first.
        best_step: Steps done when it was found.
        rounds: Validations since then.
        finished: Whether the run has ended.
        seconds: Time spent training, over all parts of the run.
        window: Sums of the losses since the last record, and their number under ``count``.
        train: Records of the training loss, each with its ``step``.
        validation: Records of the validation loss, each with its ``step``.
    """

    step: int = 0
    best_loss: float | None = None
    best_step: int = 0
    rounds: int = 0
    finished: bool = False
    seconds: float = 0.0
    window: dict[str, float] = field(default_factory=dict)
    train: list[dict[str, float]] = field(default_factory=list)
    validation: list[dict[str, float]] = field(default_factory=list)


def save_state(
    folder: Path, standing: Standing, tensors: Mapping[str, Mapping[str, Tensor]], mark: str, keep: int
) -> Path:
    """Write a state and point to it; older ones beyond ``keep`` are removed.

    Args:
        folder: Run directory.
        standing: Where the run stands.
        tensors: File name without suffix (``model``, ``optimizer``, ``ema``, ``best``) to named tensors.
        mark: Hash of what must not change between the parts of a run.
        keep: States that stay.

    Raises:
        ResourceError: The disk is full; the last state is as it was.
    """
    final = folder / f"state-{standing.step}"
    temporary = folder / f"{PREFIX}{final.name}"
    needed = sum(tensor.numel() * tensor.element_size() for named in tensors.values() for tensor in named.values())
    with full_disk_named(final, needed):
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        try:
            for name, named in tensors.items():
                save_tensors(temporary / f"{name}.safetensors", named)
            record = {"format": FORMAT, "mark": mark, "files": sorted(tensors), **asdict(standing)}
            write_json(temporary / _RECORD, record)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        if _pointed(folder) != final.name:
            shutil.rmtree(final, ignore_errors=True)  # left by a kill between renaming and pointing
            os.rename(temporary, final)
        else:  # the same step again: what is there is the same, bit for bit
            shutil.rmtree(temporary)
    write_text(folder / POINTER, final.name + "\n")
    _prune(folder, keep)
    return final


def load_state(folder: Path, mark: str) -> tuple[Standing, Tensors] | None:
    """Read the last state; None where there is none yet.

    Raises:
        CheckpointError: It is broken, of another format, of another run, or holds a pickle.
    """
    name = _pointed(folder)
    if name is None:
        return None
    state = folder / name
    try:
        record = json.loads((state / _RECORD).read_text(encoding="utf-8"))
        version, marked, files = record.pop("format"), record.pop("mark"), list(map(str, record.pop("files")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError("the state cannot be read", where=name, fix=_way_out(folder, name)) from error
    if version != FORMAT:
        got, expected = f"format {version}", f"format {FORMAT}"
        raise CheckpointError("a state of another format", where=name, got=got, expected=expected)
    if marked != mark:
        fix = "Resume with the data and settings that it was started with, or begin in another --out."
        raise CheckpointError("the state is of another run", where=name, fix=fix)
    if not _is_standing(record):
        raise CheckpointError(
            "the state cannot be read", where=f"{name}/{_RECORD}", got="other entries", fix=_way_out(folder, name)
        )
    refuse_pickles_in(state)
    try:
        return Standing(**record), {file: load_tensors(state / f"{file}.safetensors") for file in files}
    except CheckpointError as error:
        fix = _way_out(folder, name)
        raise CheckpointError(error.what, where=f"{name}/{error.where}", expected=error.expected, fix=fix) from error


def _is_standing(record: dict[str, Any]) -> bool:
    """Whether these are the fields of a standing, no more and no less, each of its type."""
    kinds: dict[str, Any] = {key: type(value) for key, value in asdict(Standing()).items()}
    kinds |= {"seconds": (int, float), "best_loss": (int, float, NoneType)}
    return record.keys() == kinds.keys() and all(isinstance(record[key], kind) for key, kind in kinds.items())


def _way_out(folder: Path, name: str) -> str:
    """What to do about a broken state: an older one lies beside it, or there is none."""
    older = [state.name for state in _states(folder) if state.name != name and (state / _RECORD).is_file()]
    if older:
        return f"An older state lies beside it: write '{older[-1]}' into the file '{POINTER}' to go on from there."
    return f"Remove the file '{POINTER}' to begin anew."


def _pointed(folder: Path) -> str | None:
    try:
        return (folder / POINTER).read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


def _states(folder: Path) -> list[Path]:
    """Folders of states, the latest last."""
    states = [path for path in folder.glob("state-*") if path.name.removeprefix("state-").isdigit()]
    return sorted(states, key=lambda path: int(path.name.removeprefix("state-")))


def _prune(folder: Path, keep: int) -> None:
    """Remove all but the latest states, and what kills have left; never the one that is pointed to."""
    last = _pointed(folder)
    for path in _states(folder)[:-keep]:
        if path.name != last:
            shutil.rmtree(path, ignore_errors=True)
    for path in folder.glob(f"{PREFIX}state-*"):
        shutil.rmtree(path, ignore_errors=True)
