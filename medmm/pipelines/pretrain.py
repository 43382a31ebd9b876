"""``medmm pretrain``: learn from scans and their reports before anything is labelled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from medmm.pipelines import _cli, _training

_OUT = "Run directory; if not given a new one, runs/pretraining and so on, with --resume the last of them."


@partial(_cli.stage, out=_OUT)
def command(
    call: _cli.Invocation,
    init: Annotated[
        Path | None, typer.Option("--init", metavar="RUN", help="Begin with the weights of another run that fit.")
    ] = None,
) -> Mapping[str, Any]:
    """Train image encoder and language model together on scans and reports; without data on phantom studies."""
    own: dict[str, Any] = {"task": "pretraining"} | ({} if init is None else {"model": {"init": str(init)}})
    return _training.train_stage(call, call.load_config("pretrain/pretrain.yaml", **own))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the stage as a program; never returns."""
    _cli.run(command, "pretrain", arguments)


if __name__ == "__main__":
    main()
