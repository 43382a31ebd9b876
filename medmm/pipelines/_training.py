"""What stages that train share: the plan that is told, one folder for all processes, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer

from medmm.config.schema import Config
from medmm.errors import ExitCode, UsageError
from medmm.pipelines import _cli
from medmm.pipelines._console import Console


def train_stage(call: _cli.Invocation, config: Config) -> Mapping[str, Any]:
    """Train as a config says, alone or as one of several processes, or say what would be done.

    Raises:
        UsageError: Several processes have no folder to write to; the folder holds something else.
        MedmmError: As :func:`medmm.training.run.finetune`.
    """
    from medmm.training import plan as plans
    from medmm.training import records

    plans.choose_device(config.device)  # before anything is read or claimed
    if call.dry_run and plans.rank() > 0:
        raise typer.Exit(ExitCode.DONE)  # the plan is the same for all; the first process says it
    if call.dry_run:
        if call.out is not None or call.resume:
            records.require_free(call.folder(f"runs/{config.task}"), config, resume=call.resume)
        return dry_run(call, config)
    if plans.processes() == 1:
        return _train(call, config)
    if call.out is None:
        raise UsageError("several processes need one folder to write to", where="--out", fix="Add --out DIR.")
    if plans.rank() > 0:
        _train(replace(call, console=Console(quiet=True)), _untracked(config))
        raise typer.Exit(ExitCode.DONE)  # the first process says how it went
    return {**_train(call, config), "exit_code": ExitCode.DONE}  # to torchrun any other code is a crash


def dry_run(call: _cli.Invocation, config: Config) -> Mapping[str, Any]:
    """Say what would be trained, on how many studies, with how much memory."""
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
