"""``medmm finetune --task report_gen``: train a model, resumable at any step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer

from medmm import registry
from medmm.config.schema import Config
from medmm.pipelines import _cli

Task = StrEnum("Task", {name: name for name in registry.TASKS})  # type: ignore[misc]
_DEFAULT_TASK = Task("report_gen")


@_cli.stage
def command(
    call: _cli.Invocation,
    task: Annotated[Task, typer.Option("--task", help="What to train.")] = _DEFAULT_TASK,
) -> Mapping[str, Any]:
    """Train a model on scans and reports; phantom studies are made on the spot when no data are given."""
    config = call.load_config(f"finetune/{task}.yaml", task=str(task))
    from medmm.pipelines import _data

    if call.dry_run:
        with _data.dry_manifest(config, call.console) as (manifest, counts):
            return {"dry_run": True, **counts, **_show_plan(config, manifest, call)}
    return _train(call, config)


def _show_plan(config: Config, manifest: Any, call: _cli.Invocation) -> dict[str, Any]:
    from medmm.training.plan import plan

    chosen = plan(config, manifest.counts()["train"])
    for line in chosen.lines():
        call.console.line(line)
    return {"plan": chosen.as_dict()}


def _train(call: _cli.Invocation, config: Config) -> Mapping[str, Any]:
    from medmm.pipelines import _data
    from medmm.tracking import open_tracker
    from medmm.training import records
    from medmm.training import run as runs

    out = call.folder(f"runs/{config.task}")
    records.claim(out, config, resume=call.resume)
    manifest = _data.manifest_for_training(config, out / "data", call.console)
    _show_plan(config, manifest, call)
    with (
        open_tracker(config.tracking, config.task, records.tracked_as(out)) as tracker,
        call.console.progress("training") as progress,
    ):
        trained = runs.finetune(config, manifest, out, resume=call.resume, tracker=tracker, progress=progress)
    call.console.line(
        f"trained {trained.steps} steps in {trained.minutes:.1f} min; validation loss {trained.best_loss:.3f}"
    )
    call.console.line(f"next: python -m medmm.pipelines.evaluate --run {out}")
    return {"out": out, "steps": trained.steps, "minutes": trained.minutes, "best_loss": trained.best_loss}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the stage as a program; never returns."""
    _cli.run(command, "finetune", arguments)


if __name__ == "__main__":
    main()
