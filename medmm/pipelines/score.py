"""``medmm score --run RUN --input DIR``: a folder of studies through a run, unattended."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medmm.errors import UsageError
from medmm.pipelines import _cli
from medmm.pipelines._console import Console, number_of

if TYPE_CHECKING:
    from medmm.scoring.engine import ScoreSummary

_DATA = "Not for this stage: its studies lie in --input."
_OUT = "Folder to write to; if not given a new one, runs/score, runs/score-2 and so on, with --resume the last of them."


@partial(_cli.stage, data=_DATA, out=_OUT)
def command(
    call: _cli.Invocation,
    run: Annotated[Path, typer.Option("--run", metavar="RUN", help="Run directory of finetune.")],
    input: Annotated[Path, typer.Option("--input", metavar="DIR", help="Folder of studies; images suffice.")],
) -> Mapping[str, Any]:
    """Draft reports, call findings, outline or answer for a folder of studies, as the run was trained to.

    Writes predictions.jsonl, quarantine.jsonl and manifest.json, and the masks of a run that outlines.
    """
    from medmm.training.records import read_config

    if "data" in call.given:
        raise UsageError("score reads a folder of studies", where="--data", fix="Name the folder with --input DIR.")
    config = call.load_config(None, base=read_config(run, "--run").model_dump(mode="json"))
    from medmm.scoring import engine
    from medmm.scoring.ledger import check_folder

    if call.dry_run:
        if call.out is not None:
            check_folder(call.out, resume=call.resume)
        from medmm.pipelines import _dry_run

        return _dry_run.scoring(run, config, engine.survey(input), call.console)
    out, started = call.folder("runs/score"), time.monotonic()
    with call.console.progress("scoring") as progress:
        summary = engine.score_folder(
            input, run, out, config=config, device=config.device, resume=call.resume, progress=progress
        )
    return _told(call.console, summary, time.monotonic() - started)


def _told(console: Console, summary: ScoreSummary, seconds: float) -> Mapping[str, Any]:
    """Say what was scored and what was not; ``seconds`` are those of the progress, loading the model included."""
    from medmm.pipelines import _data

    aside = _data.reasons_in(summary.out / "quarantine.jsonl")
    earlier = f" and {summary.resumed} by earlier calls" if summary.resumed else ""
    console.line(
        f"{number_of(summary.scored, 'study', 'studies')} scored{earlier}, {summary.quarantined} set aside, in"
        f" {seconds:.0f} s, {seconds - summary.seconds:.0f} s of them to load the model; wrote {summary.out}"
    )
    if left_out := summary.images_left_out:
        console.line(f"  without {number_of(left_out, 'image')} of theirs, which could not be read")
    _data.show_aside(aside, summary.out / "quarantine.jsonl", console)
    counts = {"scored": summary.scored, "resumed": summary.resumed, "quarantined": summary.quarantined}
    return {"out": summary.out, **counts, "aside": aside, "exit_code": _cli.exit_code(aside)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the stage as a program; never returns."""
    _cli.run(command, "score", arguments)


if __name__ == "__main__":
    main()
