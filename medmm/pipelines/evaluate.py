"""``medmm evaluate --run RUN``: score a run on a split, beside its baselines, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medmm.config.schema import Config
from medmm.errors import MedmmError
from medmm.pipelines import _cli
from medmm.pipelines._console import Console

if TYPE_CHECKING:
    from medmm.data.manifest import Manifest
    from medmm.scoring.evaluation import Evaluation


_DATA = "Where studies come from; those that the run was trained on if not given."
_OUT = "Folder to write to; RUN/evaluation-SPLIT if not given."


class Split(StrEnum):
    """Part of the data."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"
    ALL = "all"


@partial(_cli.stage, data=_DATA, out=_OUT)
def command(
    call: _cli.Invocation,
    run: Annotated[Path, typer.Option("--run", metavar="RUN", help="Run directory of finetune.")],
    split: Annotated[Split, typer.Option("--split", help="Part of the data.")] = Split.TEST,
    against: Annotated[
        Path | None,
        typer.Option("--against", metavar="RUN", help="Compare with another run, or a folder of its evaluation."),
    ] = None,
    seeds: Annotated[
        list[Path] | None,
        typer.Option("--seeds", metavar="RUN", help="A run that differs by its seed alone; several for several."),
    ] = None,
) -> Mapping[str, Any]:
    """Score a run: writes metrics.json, metrics.md, predictions.jsonl and plots.

    An earlier evaluation of the same run and split is replaced, another one only with --resume, other files never.
    """
    from medmm.training.records import read_config

    trained = read_config(run, "--run")
    config = call.load_config(None, base=trained.model_dump(mode="json"))
    from medmm.pipelines import _data, _dry_run, _evaluation_folder

    out = call.out or run / f"evaluation-{split}"
    _evaluation_folder.require_free(out, run, str(split), replace=call.resume)
    if call.dry_run:
        return _dry_run.evaluation(run, trained, config, str(split), call.console)
    manifest = _data.manifest_of_run(run, trained, config, out, call.console)
    from medmm.scoring.evaluation import Others, evaluate

    others = Others(against, tuple(seeds or ()), config.device)
    for sentence in _evaluation_folder.lost(out, [place for _, place in others.named()], manifest.data_hash):
        call.console.line(f"note: {sentence}")
    with call.console.progress("evaluating") as progress:
        evaluation = evaluate(run, manifest, config, str(split), out, config.device, progress, others)
    return _told(call.console, config, run, manifest, evaluation)


def _told(console: Console, config: Config, run: Path, manifest: Manifest, evaluation: Evaluation) -> Mapping[str, Any]:
    """Say what was found, add it to MLflow, and name what was set aside, by an index that was made for it too."""
    from medmm.pipelines import _data

    out = evaluation.out
    for table in evaluation.shown:
        console.table(*table)
    for sentence in (*evaluation.warnings, *evaluation.notes):
        console.line(f"note: {sentence}")
    console.line(f"wrote {out / 'metrics.json'} and {out / 'metrics.md'}")
    _track(console, config, run, evaluation.metrics)
    aside = _data.reasons_in(out / "quarantine.jsonl") if evaluation.broken else {}
    _data.show_aside(aside, out / "quarantine.jsonl", console)
    indexed = _data.rejected_by_index(out / "data") if manifest.path.parent == out / "data" else {}
    said = {"out": out, **evaluation.metrics, "aside": aside, "aside_by_index": indexed}
    return {**said, "exit_code": _cli.exit_code({*aside, *indexed})}


def _track(console: Console, config: Config, run: Path, metrics: Mapping[str, Any]) -> None:
    """Add the figures to the run's entry in MLflow; those on other data than it was trained on under their hash.

    The figures are written already: a store that cannot be opened is a note, not a failure.
    """
    from medmm.tracking import open_tracker
    from medmm.training.records import tracked_as

    card = metrics["card"]
    split = card["split"]
    place = split if card["data_as_trained"] else f"{split}-{card['data_hash'][:8]}"
    try:
        with open_tracker(config.tracking, f"evaluate {config.task}", tracked_as(run)) as tracker:
            tracker.log_metrics({f"{place}/{name}": value for name, value in metrics["test"].items()})
    except MedmmError as error:
        console.line(f"note: MLflow does not have these figures. {error}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the stage as a program; never returns."""
    _cli.run(command, "evaluate", arguments)


if __name__ == "__main__":
    main()
