"""A folder for results that does not destroy others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medmm.data import pairing
from medmm.errors import UsageError


def require_fresh(out: Path, own: Sequence[str], *, replace: bool) -> None:
    """Check that ``out`` is new or empty; with ``replace`` it may hold files of the same command.

    Args:
        out: The folder.
        own: Names that the command writes there.
        replace: Whether these may be replaced.

    Raises:
        UsageError: It is a file, or holds something else.
    """
    if out.exists() and not out.is_dir():
        raise UsageError("the output is a file", where="--out", expected="a folder")
    names = {one.name for one in out.iterdir() if not one.name.startswith(".")} if out.is_dir() else set()
    data = {one.name for one in (out / "data").iterdir()} if "data" in names else set()
    foreign = (names - {*own, "data"}) | (data - set(pairing.FILES))
    if foreign or (names and not replace):
        fix = "Choose another --out." if foreign else "Choose another --out, or add --resume to replace them."
        raise UsageError("the folder holds files already", where="--out", got=len(names), fix=fix)
