"""``medmm finetune --task report_gen``: train a model, resumable at any step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from medmm import registry
from medmm.pipelines import _cli, _training

_NOT_BY_TASK = {*registry.KINDS.values(), "pretraining"}
Task = StrEnum("Task", {name: name for name in registry.TASKS if name not in _NOT_BY_TASK})  # type: ignore[misc]
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
    """Train a model on scans and on what the task learns from: reports, labels, masks, or questions with answers.

    Phantom studies are made on the spot when no data are given.
    """
    own: dict[str, Any] = {"task": str(task)} | ({} if init is None else {"model": {"init": str(init)}})
    config = call.load_config(f"finetune/{task}.yaml", **own)
    return _training.train_stage(call, config)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the stage as a program; never returns."""
    _cli.run(command, "finetune", arguments)


if __name__ == "__main__":
    main()
