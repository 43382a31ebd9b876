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

_INDEXED = ("manifest.parquet", "pairing.json", "pairing.html", "quarantine.jsonl")
# Settings that may differ when a run goes on: where it computes and is tracked, not what it computes.
_FREE_TO_CHANGE = ("device", "cache", "tracking", "evaluate", "score", "generate")


def claim(out: Path, config: Config, *, resume: bool) -> None:
    """Make ``out`` the directory of a run of ``config``, or check that it already is when resuming.

    A run that ended before it read its first image, over a wrong column say, gives its folder back. A run that goes on
    takes over the settings that are free to change.

    Raises:
        UsageError: ``out`` holds something and ``resume`` is off.
        CheckpointError: ``resume`` is on and the run there was started with another config.
    """
    if out.exists() and not out.is_dir():
        raise UsageError("the output is a file", where="--out", expected="a folder")
    if _never_began(out):
        shutil.rmtree(out / "data", ignore_errors=True)
    elif resume and (out / "config.yaml").is_file():
        _refuse_other(read_config(out), config)
    elif not resume and out.exists() and any(out.iterdir()):
        raise UsageError(
            "the folder is not empty",
            where="--out",
            fix="Add --resume to go on with the run in it, or name another folder.",
        )
    atomic.write_text(out / "config.yaml", to_yaml(config))


def _never_began(out: Path) -> bool:
    """Whether ``out`` holds a config of medmm's and at most what indexing writes; anybody's other file says no."""
    if not (out / "config.yaml").is_file() or (out / "data").is_symlink():
        return False
    names = {path.name for path in out.iterdir()} | {path.name for path in (out / "data").glob("*")}
    if not {name for name in names if not name.startswith(atomic.PREFIX)} <= {"config.yaml", "data", *_INDEXED}:
        return False
    try:
        return to_yaml(read_config(out)) == (out / "config.yaml").read_text(encoding="utf-8")
    except CheckpointError:
        return False


def read_config(run: Path) -> Config:
    """Read the config that a run was started with.

    Raises:
        UsageError: ``run`` is no run directory.
        CheckpointError: Its config is of a format that this version does not read.
    """
    file = run / "config.yaml"
    if not file.is_file():
        raise UsageError(
            "no run directory" if run.is_dir() else "no such folder",
            where="--run",
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
    for key, was in old.items():
        now = new[key]
        if not prefix and key in _FREE_TO_CHANGE:
            continue
        if isinstance(was, dict) and isinstance(now, dict) and key != "where":
            found += _differences(was, now, f"{prefix}{key}.")
        elif was != now:
            private = key in ("path", "reports", "image_root", "mask_root", "where")
            found.append(f"{prefix}{key} differs" if private else f"{prefix}{key} {now!r}, was {was!r}")
    return found
