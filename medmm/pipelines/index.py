"""``medmm index``: pair scans with reports, split by patient, say what was not paired and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any

import typer

from medmm.errors import UsageError
from medmm.pipelines import _cli
from medmm.pipelines._console import number_of

_OUT = "Folder to write to; if not given a new one, runs/index, runs/index-2 and so on."


@partial(_cli.stage, out=_OUT)
def command(
    call: _cli.Invocation,
    deep: Annotated[
        bool, typer.Option("--deep", help="Open every image: find broken ones and such as several patients share.")
    ] = False,
) -> Mapping[str, Any]:
    """Pair scans with reports: writes manifest.parquet, pairing.json and pairing.html, and names doubtful pairs.

    An index of the same source and settings is replaced, another one only with --resume, other files never.
    """
    config = call.load_config(None)
    if call.resume and call.out is None:
        raise UsageError("which index is to be replaced is not said", where="--resume", fix="Add --out DIR.")
    from medmm.data import pairing
    from medmm.pipelines import _data

    if call.dry_run:
        with _data.dry_manifest(config, call.console) as (_, counts):
            studies, images = number_of(counts["studies"], "study", "studies"), number_of(counts["images"], "image")
            call.console.line(f"would index {studies}, {images}, in under 1 GB of memory")
            return {"dry_run": True, **counts}
    out = call.folder("runs/index")
    config = _data.ready(config, call.console)
    pairing.require_free(out, config.data, replace=call.resume)
    result = _data.index_into(config, out, call.console, deep)
    _data.show_pairing(result, call.console)
    call.console.line(f"wrote {out / 'manifest.parquet'} and {out / 'pairing.html'}")
    told = {"rejected": dict(result.rejected), "doubts": dict(result.doubts)}
    return {"out": out, **result.counts, **told, "exit_code": _cli.exit_code(result.rejected)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the stage as a program; never returns."""
    _cli.run(command, "index", arguments)


if __name__ == "__main__":
    main()
