"""``medmm phantom``: make studies with known findings, as DICOM with reports, masks and the truth."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any

import typer

from medmm import registry
from medmm.config.sources import PhantomConfig
from medmm.errors import UsageError
from medmm.io.atomic import full_disk_named
from medmm.pipelines import _cli
from medmm.pipelines._console import number_of

_DATA = "Not for this stage: it makes studies and reads none."
_OUT = "Folder to write to; if not given a new one, runs/phantom (or runs/phantom-LAYOUT), runs/phantom-2 and so on."


@partial(_cli.stage, data=_DATA, out=_OUT)
def command(
    call: _cli.Invocation,
    studies: Annotated[int | None, typer.Option("--studies", metavar="N", help="How many studies.")] = None,
) -> Mapping[str, Any]:
    """Make studies with known findings: DICOM or NIfTI, reports, masks and truth.parquet."""
    from medmm.data.phantom.options import Options

    if "data" in call.given:
        fix = "Leave it out; say how many with --studies, and what kind with data.phantom.KEY=VALUE."
        raise UsageError("phantom makes studies and reads none", where="--data", fix=fix)
    extra = {"data": {"phantom": {"studies": studies}}} if studies is not None else {}
    config = call.load_config(None, **extra)
    wanted = config.data.phantom
    options = Options.of(wanted)
    if call.dry_run:
        megabytes = wanted.studies * options.study_bytes(wanted.size) / 1e6
        call.console.line(
            f"would make {wanted.studies} {_each(wanted)}, about {megabytes:.0f} MB "
            f"on disk, in about {0.3 + math.prod(wanted.volume_shape) * options.ct * 40e-9:.1f} GB of memory a core"
        )
        return {"dry_run": True, "studies": wanted.studies, "megabytes": megabytes}
    if wanted.layout is not None:
        return _written(call, config.seed, wanted)
    from medmm.data.phantom import generate

    out = call.folder("runs/phantom")
    with call.console.progress("generating studies") as progress:
        generate(
            out,
            wanted.studies,
            config.seed,
            wanted.size,
            progress=lambda done: progress(done, wanted.studies),
            options=options,
        )
    call.console.line(f"wrote {number_of(wanted.studies, 'study', 'studies')} and truth.parquet to {out}")
    return {"out": out, "studies": wanted.studies, "seed": config.seed}


def _each(wanted: PhantomConfig) -> str:
    """What a study is made of."""
    if wanted.modality == "ct":
        return f"CT scans of {' x '.join(map(str, wanted.volume_shape))} voxels"
    both = ", most upright ones with a lateral view," if "lateral" in wanted.views else ""
    return f"studies of {wanted.size} x {wanted.size} pixels{both}".rstrip(",")


def _written(call: _cli.Invocation, seed: int, wanted: PhantomConfig) -> Mapping[str, Any]:
    """Write the studies as a public collection would have them, into an empty folder."""
    out = call.folder(f"runs/phantom-{wanted.layout}")
    if out.is_dir() and any(out.iterdir()):
        fix = "Name an empty folder, or a new one."
        raise UsageError("the folder is not empty", where="--out", got=f"data.phantom.layout={wanted.layout}", fix=fix)
    with full_disk_named(out), call.console.progress(f"writing {wanted.studies} studies as {wanted.layout}"):
        out.mkdir(parents=True, exist_ok=True)
        registry.resolve("layout", str(wanted.layout))(out, seed, range(wanted.studies), wanted.size)
    call.console.line(f"wrote {number_of(wanted.studies, 'study', 'studies')} in the layout {wanted.layout} to {out}")
    return {"out": out, "studies": wanted.studies, "seed": seed, "layout": wanted.layout}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the stage as a program; never returns."""
    _cli.run(command, "phantom", arguments)


if __name__ == "__main__":
    main()
