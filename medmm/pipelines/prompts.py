"""``medmm prompts search --run RUN``: the words that a pretrained run tells findings by, chosen on validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from medmm.pipelines import _cli

_DATA = "Where studies come from; those that the run was trained on if not given."
_OUT = "Folder to write to; RUN/prompts if not given."


class Job(StrEnum):
    """What is done with prompts."""

    SEARCH = "search"


@partial(_cli.stage, data=_DATA, out=_OUT)
def command(
    call: _cli.Invocation,
    job: Annotated[Job, typer.Argument(metavar="search", help="Try templates on the validation split.")],
    run: Annotated[Path, typer.Option("--run", metavar="RUN", help="Run directory of pretrain.")],
    candidates: Annotated[
        Path | None, typer.Option("--candidates", metavar="FILE", help="YAML of more templates; as prompts.file.")
    ] = None,
) -> Mapping[str, Any]:
    """Try templates one by one and as ensembles: writes prompts.yaml, metrics.json and metrics.md.

    An earlier search is replaced only with --resume, other files never.
    """
    from medmm.training.records import read_config

    trained = read_config(run, "--run")
    config = call.load_config(None, base=trained.model_dump(mode="json"))
    from medmm.pipelines import _data, _fresh_folder
    from medmm.scoring import labelled, prompt_page
    from medmm.tasks.prompts import load_prompts

    labelled.require_pretraining(trained)
    out = call.out or run / "prompts"
    own = (prompt_page.METRICS, prompt_page.PAGE, prompt_page.FOUND, prompt_page.QUARANTINE)
    _fresh_folder.require_fresh(out, own, replace=call.resume)
    packaged, more = load_prompts(None), prompt_page.candidates(candidates)
    if call.dry_run:
        number = len(prompt_page.merged(packaged, more).present), len(prompt_page.merged(packaged, more).absent)
        call.console.line(f"would try {number[0]} templates of presence with {number[1]} of absence on validation")
        return {"dry_run": True, "present": number[0], "absent": number[1]}
    manifest = _data.manifest_of_run(run, trained, config, out, call.console)
    with call.console.progress("trying prompts") as progress:
        archive = labelled.open_archive(run, manifest, config, out, progress)
        found = prompt_page.search(archive, packaged, more)
    for table in found.shown:
        call.console.table(*table)
    for sentence in found.notes:
        call.console.line(f"note: {sentence}")
    call.console.line(f"wrote {out / prompt_page.FOUND}, {prompt_page.METRICS} and {prompt_page.PAGE}")
    aside = _data.reasons_in(out / prompt_page.QUARANTINE) if found.broken else {}
    _data.show_aside(aside, out / prompt_page.QUARANTINE, call.console)
    return {"out": out, "job": str(job), **found.metrics, "aside": aside, "exit_code": _cli.exit_code(aside)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the stage as a program; never returns."""
    _cli.run(command, "prompts", arguments)


if __name__ == "__main__":
    main()
