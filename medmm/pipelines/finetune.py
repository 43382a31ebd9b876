"""``medmm finetune --task report_gen``: train a model, resumable at any step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from medmm import registry
from medmm.config.schema import Config
from medmm.errors import ExitCode, UsageError
from medmm.pipelines import _cli
from medmm.pipelines._console import Console

Task = StrEnum("Task", {name: name for name in registry.TASKS})  # type: ignore[misc]
_DEFAULT_TASK = Task("report_gen")
_OUT = "Run directory; if not given a new one, runs/TASK, runs/TASK-2 and so on, with --resume the last of them."


@partial(_cli.stage, out=_OUT)
def command(
    call: _cli.Invocation,
    task: Annotated[Task, typer.Option("--task", help="What to train.")] = _DEFAULT_TASK,
    init: Annotated[
        Path | None, typer.Option("--init", metavar="RUN", help="Begin with the weights of another run that fit.")
    ] = None,
) -> Mapping[str, Any]:
    """Train a model on scans and reports; phantom studies are made on the spot when no data are given."""
    own: dict[str, Any] = {"task": str(task)} | ({} if init is None else {"model": {"init": str(init)}})
    config = call.load_config(f"finetune/{task}.yaml", **own)
    from medmm.training import plan as plans
    from medmm.training import records

    plans.choose_device(config.device)  # before anything is read or claimed
    if call.dry_run and plans.rank() > 0:
        raise typer.Exit(ExitCode.DONE)  # the plan is the same for all; the first process says it
    if call.dry_run:
        if call.out is not None or call.resume:
            records.require_free(call.folder(f"runs/{config.task}"), config, resume=call.resume)
        return _dry(call, config)
    if plans.processes() == 1:
        return _train(call, config)
    if call.out is None:
        raise UsageError("several processes need one folder to write to", where="--out", fix="Add --out DIR.")
    if plans.rank() > 0:
        _train(replace(call, console=Console(quiet=True)), _untracked(config))
        raise typer.Exit(ExitCode.DONE)  # the first process says how it went
    return {**_train(call, config), "exit_code": ExitCode.DONE}  # to torchrun any other code is a crash


def _dry(call: _cli.Invocation, config: Config) -> Mapping[str, Any]:
    from medmm.pipelines import _data
    from medmm.training.run import fresh_plan

    with _data.dry_manifest(config, call.console) as (manifest, counts):
        chosen = fresh_plan(config, manifest, counts.get("train", 0))
    _say(chosen.lines(), call)
    return {"dry_run": True, **counts, "plan": chosen.as_dict()}


def _say(lines: Sequence[str], call: _cli.Invocation) -> None:
    for line in lines:
        call.console.line(line)


def _untracked(config: Config) -> Config:
    return config.model_copy(update={"tracking": config.tracking.model_copy(update={"enabled": False})})


def _begin(call: _cli.Invocation, config: Config, out: Path) -> Any:
    """Claim the folder and index into it; of several processes the first does, and the others end where it fails."""
    from medmm.pipelines import _data
    from medmm.training import plan as plans
    from medmm.training import records
    from medmm.training import run as runs

    runs.agreed(None, config.device)  # all have started
    if plans.rank() == 0:
        try:
            records.claim(out, config, resume=call.resume)
            manifest = _data.manifest_for_training(config, out / "data", call.console)
        except BaseException:
            runs.agreed(False, config.device)
            raise
        runs.agreed(True, config.device)
        return manifest
    if not runs.agreed(None, config.device):
        raise typer.Exit(ExitCode.USAGE)
    return _data.manifest_for_training(config, out / "data", call.console)


def _train(call: _cli.Invocation, config: Config) -> Mapping[str, Any]:
    from medmm.tracking import open_tracker
    from medmm.training import records
    from medmm.training import run as runs

    out = call.folder(f"runs/{config.task}")
    manifest = _begin(call, config, out)
    chosen = runs.plan_for(config, manifest, out, call.resume)
    _say(chosen.lines(), call)
    with (
        open_tracker(config.tracking, config.task, records.tracked_as(out)) as tracker,
        call.console.progress("training") as progress,
    ):
        trained = runs.finetune(
            config, manifest, out, resume=call.resume, tracker=tracker, progress=progress, chosen=chosen
        )
    return _told(trained, call)


def _told(trained: Any, call: _cli.Invocation) -> Mapping[str, Any]:
    from medmm.pipelines import _data

    out, kind = trained.out, "validation" if trained.validated else "training"
    call.console.line(
        f"trained {trained.learned:,} parameters for {trained.steps} steps in {trained.minutes:.1f} min;"
        f" {kind} loss {trained.best_loss:.3f}"
    )
    indexed = _data.rejected_by_index(out / "data")
    _data.show_aside(indexed, out / "data" / "quarantine.jsonl", call.console)
    _data.show_aside(trained.aside, out / "quarantine.jsonl", call.console)
    call.console.line(f"next: python -m medmm.pipelines.evaluate --run {out}")
    said = {"out": out, "steps": trained.steps, "minutes": trained.minutes, "best_loss": trained.best_loss}
    aside = {"aside": dict(trained.aside), "aside_by_index": indexed}
    return {**said, **aside, "exit_code": _cli.exit_code({*trained.aside, *indexed})}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the stage as a program; never returns."""
    _cli.run(command, "finetune", arguments)


if __name__ == "__main__":
    main()
