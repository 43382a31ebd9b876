"""``medmm phantom``: make studies with known findings, as DICOM with reports, masks and the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from medmm.pipelines import _cli

_BYTES_A_STUDY = 100_000  # one radiograph of 256 x 256 in 16 bits, two masks, a report


@_cli.stage
def command(
    call: _cli.Invocation,
    studies: Annotated[int | None, typer.Option("--studies", metavar="N", help="How many studies.")] = None,
) -> Mapping[str, Any]:
    """Make studies with known findings: DICOM, reports, masks and truth.parquet."""
    extra = {"data": {"phantom": {"studies": studies}}} if studies is not None else {}
    config = call.load_config(None, **extra)
    wanted = config.data.phantom
    if call.dry_run:
        megabytes = wanted.studies * _BYTES_A_STUDY * (wanted.size / 256) ** 2 / 1e6
        call.console.line(
            f"would make {wanted.studies} studies of {wanted.size} x {wanted.size} pixels, about {megabytes:.0f} MB "
            "on disk, in about 0.3 GB of memory a core"
        )
        return {"dry_run": True, "studies": wanted.studies, "megabytes": megabytes}
    from medmm.data.phantom import generate

    out = call.folder("runs/phantom")
    with call.console.progress("generating studies") as progress:
        generate(out, wanted.studies, config.seed, wanted.size, progress=lambda done: progress(done, wanted.studies))
    call.console.line(f"wrote {wanted.studies} studies and truth.parquet to {out}")
    return {"out": out, "studies": wanted.studies, "seed": config.seed}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the stage as a program; never returns."""
    _cli.run(command, "phantom", arguments)


if __name__ == "__main__":
    main()
