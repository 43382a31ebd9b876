"""What stands beside the numbers of any task: the data, the run, and the versions that made them."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

import medmm
from medmm.config.schema import Config
from medmm.data.manifest import Manifest
from medmm.scoring.drafting import DraftingModel

_NOT_THE_RECIPE = {"seed", "device", "cache", "tracking", "evaluate", "score", "generate", "probe", "labeler", "data"}


def recipe_hash(config: Config) -> str:
    """SHA-256 of the settings that shape the weights, but for the seed and for where the data lie; 64 hex digits."""
    settings = config.model_dump(mode="json", exclude=_NOT_THE_RECIPE)
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def describe_data(model: DraftingModel, manifest: Manifest, config: Config) -> dict[str, Any]:
    """Which data and split were evaluated, and whether the model was trained on them."""
    return {
        "split_hash": manifest.split_hash,
        "split_as_trained": model.provenance.get("split_hash") == manifest.split_hash,
        "data_hash": manifest.data_hash,
        "data_as_trained": model.provenance.get("data_hash") == manifest.data_hash,
        "reader": config.data.reader,
        "patients_in_several_splits": manifest.summary.counts.get("patients_in_several_splits", 0),
    }


def describe_versions(packages: Sequence[str]) -> dict[str, Any]:
    """Version of medmm, of Python and of packages."""
    versions = {"python": platform.python_version(), **{name: metadata.version(name) for name in packages}}
    return {"medmm": medmm.__version__, "versions": versions}


def describe_run(
    model: DraftingModel, config: Config, split: str, trained: Mapping[str, Any] | None, device: str | None
) -> dict[str, Any]:
    """Which run was evaluated, and how."""
    return {
        "task": config.task,
        "split": split,
        "bootstrap": config.evaluate.bootstrap,
        "seed": config.seed,
        "run": {**model.provenance, **(trained or {})},
        "device": device,
    }


def line_on_split(card: Mapping[str, Any], of_what: str) -> str:
    """What was evaluated and left out, for ``metrics.md``; ``of_what`` says how many studies of how many patients."""
    left = ", ".join(f"{name} {number}" for name, number in card["counts"]["left_out"].items()) or "nothing"
    return f"Split `{card['split']}` of reader `{card['reader']}`: {of_what}; left out: {left}."


def line_on_hashes(card: Mapping[str, Any]) -> str:
    """Data, split and weights."""
    return (
        f"Data `{card['data_hash'][:16]}`, split `{card['split_hash'][:16]}`, weights"
        f" `{str(card['run'].get('weights_sha256'))[:16]}`."
    )


def line_on_seeds(card: Mapping[str, Any], more: str = "") -> str:
    """Seeds and resamples, and ``more`` behind them."""
    trained = card["run"].get("seed", "unknown")
    return f"Training seed {trained}, evaluation seed {card['seed']}, {card['bootstrap']} resamples{more}."


def lines_on_programs(card: Mapping[str, Any]) -> list[str]:
    """What computed each figure, and the versions."""
    versions = ", ".join(f"{name} {version}" for name, version in card["versions"].items())
    return [
        "; ".join(f"{name}: {words}" for name, words in card["implementations"].items()) + ".",
        f"medmm {card['medmm']}, {versions}, device {card['device'] or 'unknown'}.",
    ]
