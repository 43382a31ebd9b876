"""Drafts of another run for the same studies: from its own evaluation where that is of the same, else made anew."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medmm.config.schema import Config
from medmm.errors import DataError, UsageError
from medmm.scoring import lines
from medmm.scoring.drafting import Progress, adopt, draft_all
from medmm.scoring.images import prepared
from medmm.scoring.scores import Sample
from medmm.types import Study

if TYPE_CHECKING:
    from medmm.training.loaded import LoadedModel

METRICS, PREDICTIONS = "metrics.json", "predictions.jsonl"
_SAME = ("split", "split_hash", "data_hash", "sections", "whole_text")
"""Entries of the card that two evaluations must share to be compared."""
_REFERENCE = ("sections", "whole_text")
"""Settings of ``target`` that make the reference texts."""
_NOT_THE_RECIPE = {"seed", "device", "cache", "tracking", "evaluate", "score", "generate", "labeler", "data"}
_SHOWN = 12  # digits of a hash in a message

DraftAnew = Callable[[Path], "OtherRun"]


@dataclass(frozen=True)
class OtherRun:
    """Another run's drafts.

    Attributes:
        drafts: Study id to draft, of every sample.
        facts: ``weights_sha256``, ``seed``, ``recipe_sha256``, ``generate`` and ``drafts`` (where they come from).
    """

    drafts: Mapping[str, str]
    facts: Mapping[str, Any]


def recipe_hash(config: Config) -> str:
    """SHA-256 of the settings that shape the weights, but for the seed and for where the data lie; 64 hex digits."""
    settings = config.model_dump(mode="json", exclude=_NOT_THE_RECIPE)
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def require_run(place: Path, option: str) -> None:
    """Check that a folder is worth looking at, before anything is drafted.

    Raises:
        UsageError: It is neither a run directory nor the folder of an evaluation.
    """
    evaluated = (place / METRICS).is_file() and (place / PREDICTIONS).is_file()
    if not evaluated and not (place / "config.yaml").is_file():
        raise UsageError(
            "neither a run directory nor an evaluation" if place.is_dir() else "no such folder",
            where=option,
            expected="a folder of finetune, with config.yaml, or of evaluate, with metrics.json and predictions.jsonl",
        )


def drafts_of(
    place: Path, samples: Sequence[Sample], card: Mapping[str, Any], anew: DraftAnew, option: str
) -> OtherRun:
    """Find or make another run's drafts of the same studies.

    Args:
        place: The other run's directory, or the folder of an evaluation of it.
        samples: The studies.
        card: The card of this evaluation, as far as it is known: what it is of.
        anew: Drafts with the run in a directory.
        option: Option that named ``place``, for messages.

    Raises:
        UsageError: ``place`` is neither.
        DataError: Its evaluation is of other studies, another split, other data or other reference sections; or it
            cannot be read.
        CheckpointError: The run cannot be loaded.
    """
    if (place / "config.yaml").is_file():
        own = place / f"evaluation-{card['split']}"
        if (own / METRICS).is_file() and _weights_of(own) == _weights_now(place):
            found = _read(own, option)
            if not _doubts(found, samples, card):
                return _of(found, "taken from its predictions.jsonl")
        return anew(place)
    require_run(place, option)
    found = _read(place, option)
    if doubts := _doubts(found, samples, card):
        raise DataError(
            "the two evaluations are not of the same",
            where=option,
            got="; ".join(f"{name} {got}" for name, (got, _) in doubts.items()),
            expected="; ".join(f"{name} {wanted}" for name, (_, wanted) in doubts.items()),
            fix="Evaluate both runs on the same data, split and sections, or name the other run's directory.",
        )
    return _of(found, "taken from its predictions.jsonl")


def draft_anew(  # noqa: PLR0913, PLR0917 - bound by functools.partial
    studies: Sequence[Study],
    config: Config,
    hashes: Mapping[str, str],
    out: Path,
    device: str,
    progress: Progress | None,
    option: str,
    run: Path,
) -> OtherRun:
    """Let another run draft the studies of this evaluation with its own generation settings.

    Args:
        studies: The studies.
        config: The config of this evaluation: data, sections and cache.
        hashes: ``data_hash`` and ``split_hash`` of this evaluation.
        out: Folder that is written to for a while.
        device: ``auto``, ``cpu`` or ``cuda[:N]``.
        progress: Called as ``progress(done, total, note)``.
        option: Option that named the run, for messages.
        run: The other run's directory.

    Raises:
        DataError: It writes other sections, or was trained on another split of the same data, or cannot read images of
            a study.
        CheckpointError: The run cannot be loaded.
    """
    from medmm.training import run as runs
    from medmm.training.provenance import read_record
    from medmm.training.records import read_config

    trained = read_config(run)
    _require_same_task(trained, read_record(run), config, hashes, option)
    asked = trained.model_copy(update={"cache": config.cache, "score": config.score, "data": config.data})
    model = adopt(runs.load(run, device=device), asked)
    return OtherRun(_drafts(model, studies, asked, out, progress, option), _facts_now(model, trained))


def _drafts(
    model: LoadedModel, studies: Sequence[Study], config: Config, out: Path, progress: Progress | None, option: str
) -> dict[str, str]:
    """Study id to a run's draft, of every study or of none."""
    with prepared(studies, config, out, progress) as images:
        if images.unread:
            got = f"{len(images.unread)} of {len(studies)} studies without an image that it can read"
            raise DataError("the other run cannot draft every study", where=option, got=got)
        ids = [study.study_id for study in studies]
        predictions = draft_all(model, ids, images.views, config.generate.batch_size, progress)
    return {one.study_id: one.report or "" for one in predictions}


def _facts_now(model: LoadedModel, trained: Config) -> dict[str, Any]:
    return {
        "weights_sha256": model.provenance.get("weights_sha256"),
        "seed": trained.seed,
        "recipe_sha256": recipe_hash(trained),
        "generate": trained.generate.model_dump(mode="json"),
        "data_hash": model.provenance.get("data_hash"),
        "split_hash": model.provenance.get("split_hash"),
        "drafts": "made anew",
    }


def _require_same_task(
    trained: Config, record: Mapping[str, Any], config: Config, hashes: Mapping[str, str], option: str
) -> None:
    other, own = trained.target.model_dump(mode="json"), config.target.model_dump(mode="json")
    differing = [name for name in _REFERENCE if own[name] != other[name]]
    if differing:
        raise DataError(
            "the other run writes other reference sections",
            where=option,
            got="; ".join(f"target.{name} {_shown(other[name])}" for name in differing),
            expected="; ".join(f"target.{name} {_shown(own[name])}" for name in differing),
            fix="Compare runs that were trained to write the same.",
        )
    same_data = record.get("data_hash") == hashes["data_hash"]
    if same_data and record.get("split_hash") not in {None, hashes["split_hash"]}:
        raise DataError(
            "the other run was trained on another split of the same data: it may know these patients",
            where=option,
            got=f"split_hash {_shown(record['split_hash'])}",
            expected=f"split_hash {_shown(hashes['split_hash'])}",
            fix="Compare runs of the same data.splits.",
        )


@dataclass(frozen=True)
class _Stored:
    card: Mapping[str, Any]
    rows: Mapping[str, Mapping[str, Any]]


def _read(folder: Path, option: str) -> _Stored:
    try:
        card = json.loads((folder / METRICS).read_text(encoding="utf-8"))["card"]
        rows, spoilt = lines.read(folder / PREDICTIONS, ("study_id", "draft", "reference"))
        run = dict(card["run"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError("the evaluation cannot be read", where=option, fix="Evaluate that run again.") from error
    if spoilt or not rows:
        raise DataError(
            "the evaluation's drafts cannot be read",
            where=f"{option}, {PREDICTIONS}",
            got=f"{spoilt} spoilt lines, {len(rows)} whole ones",
            fix="Evaluate that run again.",
        )
    return _Stored({**card, "run": run}, {str(row["study_id"]): row for row in rows})


def _doubts(found: _Stored, samples: Sequence[Sample], card: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """What differs, by name: what was found, what was expected."""
    other = found.card
    differing = {name: (_shown(other.get(name)), _shown(card[name])) for name in _SAME if other.get(name) != card[name]}
    ids = {sample.study_id for sample in samples}
    if foreign := len(ids ^ found.rows.keys()):
        differing["studies"] = (f"{len(found.rows)}, {foreign} of them not in both", str(len(ids)))
    elif changed := sum(found.rows[one.study_id]["reference"] != one.reference for one in samples):
        differing["references"] = (f"{changed} that differ", "the same texts")
    return differing


def _shown(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    text = str(value)
    return text[:_SHOWN] if len(text) == len(hashlib.sha256().hexdigest()) else text


def _of(found: _Stored, source: str) -> OtherRun:
    run = found.card["run"]
    known = ("weights_sha256", "seed", "recipe_sha256", "data_hash", "split_hash")
    facts = {name: run.get(name) for name in known} | {"generate": found.card.get("generate"), "drafts": source}
    return OtherRun({name: str(row["draft"]) for name, row in found.rows.items()}, facts)


def _weights_of(folder: Path) -> str | None:
    try:
        return str(json.loads((folder / METRICS).read_text(encoding="utf-8"))["card"]["run"]["weights_sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _weights_now(run: Path) -> str | None:
    from medmm.models.weights import file_sha256

    file = run / "model" / "model.safetensors"
    return file_sha256(file) if file.is_file() else None
