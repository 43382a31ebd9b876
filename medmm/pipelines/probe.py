"""``medmm probe --run RUN``: what a pretrained run learns from a few labelled studies, beside zero-shot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from medmm.pipelines import _cli

_DATA = "Where studies come from; those that the run was trained on if not given."
_OUT = "Folder to write to; RUN/probe if not given."


@partial(_cli.stage, data=_DATA, out=_OUT)
def command(
    call: _cli.Invocation,
    run: Annotated[Path, typer.Option("--run", metavar="RUN", help="Run directory of pretrain.")],
) -> Mapping[str, Any]:
    """Learn findings from 1 to 16 studies each: writes metrics.json, metrics.md and shots.png.

    An earlier probe is replaced only with --resume, other files never.
    """
    from medmm.training.records import read_config

    trained = read_config(run, "--run")
    config = call.load_config(None, base=trained.model_dump(mode="json"))
    from medmm.pipelines import _data, _fresh_folder
    from medmm.scoring import labelled, probe_page

    labelled.require_pretraining(trained)
    out = call.out or run / "probe"
    own = (probe_page.METRICS, probe_page.PAGE, probe_page.PICTURE, probe_page.QUARANTINE)
    _fresh_folder.require_fresh(out, own, replace=call.resume)
    if call.dry_run:
        shots = ", ".join(map(str, config.probe.shots))
        call.console.line(f"would learn from {shots} shots in {config.probe.seeds} draws and judge on test")
        return {"dry_run": True, "shots": config.probe.shots, "draws": config.probe.seeds}
    manifest = _data.manifest_of_run(run, trained, config, out, call.console)
    with call.console.progress("probing") as progress:
        found = probe_page.probe(labelled.open_archive(run, manifest, config, out, progress))
    for table in found.shown:
        call.console.table(*table)
    for sentence in found.notes:
        call.console.line(f"note: {sentence}")
    call.console.line(f"wrote {out / probe_page.METRICS}, {probe_page.PAGE} and {probe_page.PICTURE}")
    aside = _data.reasons_in(out / probe_page.QUARANTINE) if found.broken else {}
    _data.show_aside(aside, out / probe_page.QUARANTINE, call.console)
    return {"out": out, **found.metrics, "aside": aside, "exit_code": _cli.exit_code(aside)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the stage as a program; never returns."""
    _cli.run(command, "probe", arguments)


if __name__ == "__main__":
    main()
