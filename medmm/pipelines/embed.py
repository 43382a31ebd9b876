"""``medmm embed --run RUN``: embeddings of an archive and an index over them, to search with words and pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medmm.config.schema import Config
from medmm.errors import UsageError
from medmm.pipelines import _cli
from medmm.pipelines._console import number_of
from medmm.pipelines.evaluate import Split

if TYPE_CHECKING:
    from medmm.types import Rejection, Study

_DATA = "Where studies come from; those that the run was trained on if not given."
_OUT = "Folder to write to; if not given a new one, runs/embed, runs/embed-2 and so on."


@partial(_cli.stage, data=_DATA, out=_OUT)
def command(
    call: _cli.Invocation,
    run: Annotated[Path, typer.Option("--run", metavar="RUN", help="Run directory of pretrain.")],
    split: Annotated[Split, typer.Option("--split", help="Part of the data.")] = Split.ALL,
    input: Annotated[
        Path | None, typer.Option("--input", metavar="DIR", help="Folder of studies, in place of --data; no reports.")
    ] = None,
) -> Mapping[str, Any]:
    """Embed an archive: writes embeddings.parquet, index.faiss and index.json.

    An earlier archive is replaced only with --resume, other files never.
    """
    from medmm.training.records import read_config

    trained = read_config(run, "--run")
    config = call.load_config(None, base=trained.model_dump(mode="json"))
    if input is not None and ("data" in call.given or split is not Split.ALL):
        raise UsageError(
            "a folder of studies is embedded as it is", where="--input", fix="Leave --data and --split out."
        )
    if call.resume and call.out is None:
        raise UsageError("which archive is to be replaced is not said", where="--resume", fix="Add --out DIR.")
    from medmm.scoring import archive, nearest

    nearest.require_faiss()
    if call.out is not None:
        archive.require_free(call.out, replace=call.resume)
    if call.dry_run:
        return _would_do(call, run, trained, config, split, input)
    out = call.folder("runs/embed")
    if input is not None:
        from medmm.scoring import sources

        listing = sources.list_files(input, apart_from=out)
        return _embed(call, run, config, out, sources.studies(listing), {"input_hash": listing.hash()})
    from medmm.pipelines import _data

    manifest = _data.manifest_of_run(run, trained, config, out, call.console)
    said = {"data_hash": manifest.data_hash, "split": str(split)}
    return _embed(call, run, config, out, manifest.studies(str(split)), said, manifest.counts()[str(split)])


def _embed(  # noqa: PLR0913, PLR0917 - what the command was given
    call: _cli.Invocation,
    run: Path,
    config: Config,
    out: Path,
    studies: Iterable[Study | Rejection],
    said: Mapping[str, Any],
    total: int | None = None,
) -> Mapping[str, Any]:
    """Embed the studies, and tell what came of it; what an index made for this set aside counts too."""
    from medmm.data.pairing import write_quarantine
    from medmm.pipelines import _data
    from medmm.scoring import archive, embedding

    model = embedding.load(run, config.device)
    with call.console.progress("embedding") as progress:
        found = embedding.embed_archive(studies, model, config, out, said=said, total=total, progress=progress)
    quarantine = out / archive.QUARANTINE
    write_quarantine(quarantine, found.rejections)
    call.console.line(f"{number_of(found.number, 'study', 'studies')} embedded; wrote {out}")
    _data.show_aside(found.reasons, quarantine, call.console)
    call.console.line(f"next: medmm search 'small left pleural effusion' --index {out} --run {run}")
    indexed = _data.rejected_by_index(out / archive.INDEXED)
    told = {"out": out, "studies": found.number, "aside": found.reasons, "aside_by_index": indexed}
    return {**told, "exit_code": _cli.exit_code({*found.reasons, *indexed})}


def _would_do(
    call: _cli.Invocation, run: Path, trained: Config, config: Config, split: Split, folder: Path | None
) -> Mapping[str, Any]:
    """Say how many studies would be embedded."""
    from medmm.pipelines import _data

    if folder is not None:
        from medmm.scoring import engine

        number = engine.survey(folder)["studies"]
    else:
        with _data.dry_manifest_of_run(run, trained, config, call.console) as (_, counts):
            number = counts["studies" if split is Split.ALL else str(split)]
    call.console.line(f"would embed {number_of(number, 'study', 'studies')}")
    return {"dry_run": True, "studies": number}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the stage as a program; never returns."""
    _cli.run(command, "embed", arguments)


if __name__ == "__main__":
    main()
