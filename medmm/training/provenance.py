"""``run.json``: from what, with what and where a run was made."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from medmm.config.schema import Config
from medmm.errors import CheckpointError
from medmm.io.atomic import write_json

FORMAT = 1
RECORD = "run.json"
_WEIGHTS = "model/model.safetensors"  # as in loaded; written when training ends
_PACKAGES = ("medmm", "torch", "monai", "transformers", "tokenizers", "accelerate", "safetensors", "numpy",
             "opencv-python-headless", "pydicom", "imagecodecs")  # fmt: skip
_FREE = {"device", "cache", "tracking", "evaluate", "score", "generate", "probe"}  # as in records


def config_hash(config: Config) -> str:
    """SHA-256 of the settings that shape the weights, as 64 hex digits."""
    settings = config.model_dump(mode="json", exclude=_FREE)
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def describe_run(config: Config, device: str, data_hash: str, split_hash: str, run_id: str | None) -> dict[str, Any]:
    """What ``run.json`` says from the start: versions, git, seed, hashes, device and MLflow's run id."""
    return {
        "format": FORMAT,
        "task": config.task,
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}},
        "git": _git(Path(__file__).resolve().parents[2]),
        "seed": config.seed,
        "config_hash": config_hash(config),
        "data_hash": data_hash,
        "split_hash": split_hash,
        "device": device,
        "processor": _processor(),
        "mlflow_run_id": run_id,
    }


def read_record(run: Path) -> dict[str, Any]:
    """Read ``run.json``.

    Returns:
        What it says; empty where there is none and no weights either, as a kill leaves a run that has just begun.

    Raises:
        CheckpointError: It cannot be read, is of another format, or is missing beside the weights of a run that ended.
    """
    fix = "Copy the run again, whole."
    try:
        found = json.loads((run / RECORD).read_text(encoding="utf-8"))
        version = found["format"]
    except FileNotFoundError as error:
        if not (run / _WEIGHTS).is_file():
            return {}
        raise CheckpointError("the run's record is missing", where=RECORD, fix=fix) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError("the run's record cannot be read", where=RECORD, fix=fix) from error
    if version != FORMAT:
        got, expected = f"format {version}", f"format {FORMAT}"
        raise CheckpointError("a run's record of another format", where=RECORD, got=got, expected=expected)
    return dict(found)


def write_record(run: Path, record: dict[str, Any]) -> None:
    """Write ``run.json``.

    Raises:
        ResourceError: The disk is full.
    """
    write_json(run / RECORD, record)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _git(folder: Path) -> dict[str, Any] | None:
    """Commit of the checkout that the code runs from, and whether it was changed; None for an installed package."""
    if not (folder / ".git").exists():
        return None
    try:
        commit = _ask_git(folder, "rev-parse", "HEAD")
        return {"commit": commit, "changed": bool(_ask_git(folder, "status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.SubprocessError):
        return None


def _ask_git(folder: Path, *words: str) -> str:
    command = ["git", "-C", str(folder), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())
