"""``medmm score --run RUN --input DIR``: draft reports for a folder of studies, unattended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from medmm.errors import UsageError
from medmm.pipelines import _cli


@_cli.stage
def command(
    call: _cli.Invocation,
    run: Annotated[Path, typer.Option("--run", metavar="RUN", help="Run directory of finetune.")],
    input: Annotated[Path, typer.Option("--input", metavar="DIR", help="Folder of studies; no reports needed.")],
) -> Mapping[str, Any]:
    """Draft reports for a folder of studies: writes predictions.jsonl, quarantine.jsonl and manifest.json."""
    from medmm.training.records import planned_memory_gb, read_config

    if "data" in call.given:
        raise UsageError("score reads a folder of studies", where="--data", fix="Name the folder with --input DIR.")
    config = call.load_config(None, base=read_config(run).model_dump(mode="json"))
    from medmm.scoring import engine

    if call.dry_run:
        counts = engine.survey(input)
        memory = planned_memory_gb(run)
        call.console.line(
            f"would score {counts['studies']} studies with {counts['images']} images in at most {memory:.1f} GB"
        )
        return {"dry_run": True, **counts, "memory_gb": memory}
    out = call.folder("runs/score")
    with call.console.progress("scoring") as progress:
        summary = engine.score_folder(
            input, run, out, config=config, device=config.device, resume=call.resume, progress=progress
        )
    call.console.line(
        f"{summary.scored} scored, {summary.quarantined} quarantined in {summary.seconds:.0f} s; wrote {out}"
    )
    return {"out": out, "scored": summary.scored, "quarantined": summary.quarantined, "exit_code": summary.exit_code}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the stage as a program; never returns."""
    _cli.run(command, "score", arguments)


if __name__ == "__main__":
    main()
