"""What another run says of the same samples: from its own evaluation where that is of the same, else asked anew."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

from medmm.config.schema import Config
from medmm.errors import DataError, UsageError
from medmm.io import atomic
from medmm.scoring import lines
from medmm.scoring.drafting import adopt
from medmm.scoring.evaluation import Request
from medmm.scoring.images import Prepared, prepared
from medmm.scoring.run_card import recipe_hash
from medmm.scoring.sameness import SAME, Line, Subject, differing, in_order, other_samples, refuse, shown
from medmm.types import Study

METRICS, PREDICTIONS = "metrics.json", "predictions.jsonl"


@dataclass(frozen=True)
class OtherRun:
    """Another run's predictions.

    Attributes:
        lines: One a sample, in the order of this evaluation's.
        facts: ``weights_sha256``, ``seed``, ``recipe_sha256``, ``data_hash``, ``split_hash``, ``generate`` and
            ``predictions`` (where they come from).
    """

    lines: Sequence[Line]
    facts: Mapping[str, Any]


def require_comparable(request: Request, settings: Sequence[str] = ()) -> None:
    """Refuse runs that cannot be held against this evaluation, as far as can be told before anything is predicted.

    Args:
        request: Names them.
        settings: Keys of the config that both runs must share, such as ``target.sections``.

    Raises:
        UsageError: One is neither a run directory nor the folder of an evaluation.
        DataError: One is of another task, has other ``settings``, was trained on another split of the same data, or is
            an evaluation of other data or of another split.
        CheckpointError: A run's record cannot be read.
    """
    manifest = request.manifest
    own = {
        "task": request.config.task, "split": request.split, "split_hash": manifest.split_hash,
        "data_hash": manifest.data_hash,
    }  # fmt: skip
    for option, place in request.others.named():
        _require_run(place, option)
        if _is_run(place):
            _require_same_training(place, request, ("task", *settings), option)
        else:
            refuse(differing(_card(place, option), own, SAME), option)


def find(place: Path, subject: Subject, request: Request, card: Mapping[str, Any], option: str) -> OtherRun:
    """Find or make another run's predictions of the same samples.

    Args:
        place: The other run's directory, or the folder of an evaluation of it.
        subject: The samples.
        request: What this evaluation was asked for.
        card: The card of this evaluation, as far as it is known.
        option: Option that named ``place``, for messages.

    Raises:
        DataError: It is of other samples, or of what else ``subject`` and ``card`` name; or it cannot be read.
        CheckpointError: The run cannot be loaded.
    """
    wanted, source = (*SAME, *subject.card), f"taken from its {PREDICTIONS}"
    if _is_run(place):
        own = place / f"evaluation-{request.split}"
        if (own / METRICS).is_file() and _weights_of(own) == _weights_now(place):
            stored = _card(own, option)
            if not differing(stored, card, wanted) and not other_samples(rows := _rows(own, subject, option), subject):
                return OtherRun(in_order(rows, subject), facts_of(stored, source))
        return _ask(place, subject, request, card, option)
    stored = _card(place, option)
    refuse(differing(stored, card, wanted), option)
    rows = _rows(place, subject, option)
    refuse(other_samples(rows, subject), option)
    return OtherRun(in_order(rows, subject), facts_of(stored, source))


def facts_of(card: Mapping[str, Any], source: str) -> dict[str, Any]:
    """What is said of a run beside its figures, from the card of its evaluation."""
    names = ("weights_sha256", "seed", "recipe_sha256", "data_hash", "split_hash")
    return {name: card["run"].get(name) for name in names} | {
        "generate": card.get("generate"),
        "predictions": source,
    }


@contextmanager
def every_image(
    studies: Sequence[Study], config: Config, request: Request, folder: Path, option: str
) -> Iterator[Prepared]:
    """Images of studies as another run sees them.

    Args:
        studies: The studies.
        config: The other run's.
        request: What this evaluation was asked for.
        folder: For the time being.
        option: Option that named the run, for messages.

    Raises:
        DataError: It cannot read images of a study.
    """
    with prepared(studies, config, folder, request.progress) as images:
        if images.unread:
            got = f"{len(images.unread)} of {len(studies)} studies without an image that it can read"
            raise DataError("the other run cannot look at every study", where=option, got=got)
        yield images


def _ask(run: Path, subject: Subject, request: Request, card: Mapping[str, Any], option: str) -> OtherRun:
    """Let another run predict with its own settings of generation; data, cache and labeler are this evaluation's."""
    from medmm.training import run as runs
    from medmm.training.records import read_config

    config, trained = request.config, read_config(run)
    shared = {name: getattr(config, name) for name in ("cache", "score", "data", "labeler")}
    asked = trained.model_copy(update=shared)
    model = adopt(runs.load(run, device=request.others.device), asked)
    with tempfile.TemporaryDirectory(prefix=atomic.PREFIX, dir=request.out) as folder:
        rows = subject.ask(model, asked, Path(folder), option)
    refuse(other_samples(rows, subject), option)
    facts = {**model.provenance, "seed": trained.seed, "recipe_sha256": recipe_hash(trained)}
    writes = trained.generate.model_dump(mode="json") if "generate" in card else None  # only of what writes
    return OtherRun(in_order(rows, subject), facts_of({"run": facts, "generate": writes}, "made anew"))


def _is_run(place: Path) -> bool:
    return (place / "config.yaml").is_file()


def _require_run(place: Path, option: str) -> None:
    evaluated = (place / METRICS).is_file() and (place / PREDICTIONS).is_file()
    if not evaluated and not _is_run(place):
        raise UsageError(
            "neither a run directory nor an evaluation" if place.is_dir() else "no such folder",
            where=option,
            expected="a folder of finetune, with config.yaml, or of evaluate, with metrics.json and predictions.jsonl",
        )


def _require_same_training(run: Path, request: Request, settings: Sequence[str], option: str) -> None:
    from medmm.training.provenance import read_record
    from medmm.training.records import read_config

    trained, manifest, record = read_config(run, option), request.manifest, read_record(run)
    theirs, own = ({name: _setting(one, name) for name in settings} for one in (trained, request.config))
    refuse(differing(theirs, own, settings), option)
    same_data = record.get("data_hash") == manifest.data_hash
    if same_data and record.get("split_hash") not in {None, manifest.split_hash}:
        raise DataError(
            "the other run was trained on another split of the same data: it may know these patients",
            where=option,
            got=f"split_hash {shown(record['split_hash'])}",
            expected=f"split_hash {shown(manifest.split_hash)}",
            fix="Compare runs of the same data.splits.",
        )


def _setting(config: Config, name: str) -> Any:
    return reduce(getattr, name.split("."), config)


def _card(folder: Path, option: str) -> dict[str, Any]:
    try:
        card = json.loads((folder / METRICS).read_text(encoding="utf-8"))["card"]
        return {**card, "run": dict(card["run"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError("the evaluation cannot be read", where=option, fix="Evaluate that run again.") from error


def _rows(folder: Path, subject: Subject, option: str) -> list[dict[str, Any]]:
    rows, spoilt = lines.read(folder / PREDICTIONS, (*subject.key, subject.said, subject.known))
    if spoilt or not rows:
        raise DataError(
            "the evaluation's predictions cannot be read",
            where=f"{option}, {PREDICTIONS}",
            got=f"{spoilt} spoilt lines, {len(rows)} whole ones",
            fix="Evaluate that run again.",
        )
    return rows


def _weights_of(folder: Path) -> str | None:
    try:
        return str(json.loads((folder / METRICS).read_text(encoding="utf-8"))["card"]["run"]["weights_sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _weights_now(run: Path) -> str | None:
    from medmm.models.weights import file_sha256

    file = run / "model" / "model.safetensors"
    return file_sha256(file) if file.is_file() else None
