"""What a run directory says of itself before any weight is read. Imports neither torch nor monai."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from medmm.config.load import to_yaml
from medmm.config.schema import Config
from medmm.errors import CheckpointError, UsageError
from medmm.io import atomic

_INDEXED = ("manifest.parquet", "pairing.json", "pairing.html", "doubts.jsonl", "quarantine.jsonl")
# Settings that may differ when a run goes on: where it computes and is tracked, not what it computes.
_FREE_TO_CHANGE = ("device", "cache", "tracking", "evaluate", "score", "generate", "probe")


def claim(out: Path, config: Config, *, resume: bool) -> None:
    """Make ``out`` the directory of a run of ``config``, or check that it already is when resuming.

    A run that ended before it read its first image, over a wrong column say, gives its folder back. A run that goes on
    takes over the settings that are free to change.

    Raises:
        UsageError: As :func:`require_free`.
        CheckpointError: As :func:`require_free`.
    """
    require_free(out, config, resume=resume)
    if _never_began(out):
        shutil.rmtree(out / "data", ignore_errors=True)
    atomic.write_text(out / "config.yaml", to_yaml(config))


def require_free(out: Path, config: Config, *, resume: bool) -> None:
    """Check that :func:`claim` may have a folder, and write nothing.

    Raises:
        UsageError: ``out`` holds something, and it is no run or ``resume`` is off.
        CheckpointError: ``resume`` is on and the run there was started with another config.
    """
    if out.exists() and not out.is_dir():
        raise UsageError("the output is a file", where="--out", expected="a folder")
    if not _names(out) or _never_began(out):
        return
    if not _is_run(out):
        what = "the folder holds no run to go on with" if resume else "the folder is not empty"
        raise UsageError(what, where="--out", fix="Name another folder.")
    if not resume:
        fix = "Add --resume to go on with the run in it, or name another folder."
        raise UsageError("the folder is not empty", where="--out", fix=fix)
    _refuse_other(read_config(out), config)


def _names(folder: Path) -> set[str]:
    """What lies in a folder, without what killed writers left."""
    return {path.name for path in folder.glob("*") if not path.name.startswith(atomic.PREFIX)}


def _is_run(out: Path) -> bool:
    """Whether a run lies here that got as far as knowing its studies."""
    known = (out / "run.json").is_file() or (out / "data" / "manifest.parquet").is_file()
    return known and (out / "config.yaml").is_file()


def _never_began(out: Path) -> bool:
    """Whether ``out`` holds a config of medmm's and at most what indexing writes; anybody's other file says no."""
    if not (out / "config.yaml").is_file() or (out / "data").is_symlink():
        return False
    if not _names(out) | _names(out / "data") <= {"config.yaml", "data", *_INDEXED}:
        return False
    try:
        return to_yaml(read_config(out)) == (out / "config.yaml").read_text(encoding="utf-8")
    except CheckpointError:
        return False


def read_config(run: Path, where: str = "run") -> Config:
    """Read the config that a run was started with.

    Args:
        run: Run directory.
        where: What named it, for the message.

    Raises:
        UsageError: ``run`` is no run directory.
        CheckpointError: Its config is of a format that this version does not read.
    """
    file = run / "config.yaml"
    if not file.is_file():
        raise UsageError(
            "no run directory" if run.is_dir() else "no such folder",
            where=where,
            expected="a folder with config.yaml and model/, as finetune writes it",
        )
    try:
        return Config.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
    except (yaml.YAMLError, ValidationError, UnicodeDecodeError) as error:
        raise CheckpointError(
            "the run's config cannot be read", where="config.yaml", fix="Was it written by another version of medmm?"
        ) from error


def tracked_as(run: Path) -> str | None:
    """The MLflow run id that a run was started under, None if it has none."""
    try:
        found = json.loads((run / "run.json").read_text(encoding="utf-8"))["mlflow_run_id"]
        return str(found) if found else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def planned_memory_gb(run: Path) -> float:
    """Memory that training was planned to need; drafting needs less: no gradients, no optimizer.

    Raises:
        CheckpointError: The run does not say.
    """
    try:
        return float(json.loads((run / "run.json").read_text(encoding="utf-8"))["plan"]["memory_gb"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError("the run's record cannot be read", where="run.json") from error


def _refuse_other(old: Config, new: Config) -> None:
    differing = list(_differences(old.model_dump(mode="json"), new.model_dump(mode="json")))
    if differing:
        raise CheckpointError(
            "the run was started with another config",
            where="--resume",
            got="; ".join(differing),
            fix="Use the settings that it was started with, or another --out.",
        )


def _differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    found: list[str] = []
    for key in dict.fromkeys((*old, *new)):
        was, now = old.get(key), new.get(key)  # names of masks and columns of `where` are the user's own
        if not prefix and key in _FREE_TO_CHANGE:
            continue
        if isinstance(was, dict) and isinstance(now, dict) and key != "where":
            found += _differences(was, now, f"{prefix}{key}.")
        elif was != now:
            private = key in ("path", "reports", "image_root", "mask_root", "where")
            found.append(f"{prefix}{key} differs" if private else f"{prefix}{key} {now!r}, was {was!r}")
    return found
