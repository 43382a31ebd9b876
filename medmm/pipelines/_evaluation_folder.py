"""Folders of evaluations: which may be written to, and what of an earlier evaluation will be gone afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from medmm.data import pairing
from medmm.errors import UsageError
from medmm.io.atomic import PREFIX

_METRICS, _INDEX = "metrics.json", "data"
_OWN = (
    _METRICS, "metrics.md", "predictions.jsonl", "quarantine.jsonl", "drafts-*.jsonl", "findings.png",
    "differences.png", "roc.png", "reliability.png", "risk_coverage.png", "scatter.png", _INDEX,
)  # fmt: skip
_SHOWN = 8  # digits of a hash


def require_free(out: Path, run: Path, split: str, *, replace: bool) -> None:
    """Check that an evaluation written to ``out`` destroys nothing else.

    Free is a folder that is not there, is empty, or holds nothing but an evaluation of the same weights and split, also
    one that was cut off. With ``replace`` it may be any evaluation.

    Raises:
        UsageError: The folder is not free.
    """
    if out.exists() and not out.is_dir():
        raise UsageError("the output is a file", where="--out", expected="a folder")
    foreign = [name for name in _names(out) if not any(fnmatchcase(name, own) for own in _OWN)]
    foreign += [name for name in _names(out / _INDEX) if name not in pairing.FILES]
    if foreign:
        raise UsageError(
            "the folder holds other things than an evaluation",
            where="--out",
            got=len(foreign),
            expected="an empty folder, or an earlier evaluation of the same run and split",
            fix="Choose another --out.",
        )
    earlier = _metrics_in(out)
    if replace or not earlier:
        return
    own, found = (split, _weights_of(run)), (earlier["card"].get("split"), _weights_of(out))
    if own != found:
        which = f"split '{found[0]}'" if own[0] != found[0] else f"weights {str(found[1])[:_SHOWN]}"
        raise UsageError(
            "the folder holds the evaluation of another run or split",
            where="--out",
            got=which,
            fix="Choose another --out, or add --resume to replace that evaluation.",
        )


def lost(out: Path, others: Sequence[Path], data_hash: str) -> Iterator[str]:
    """What an evaluation written to ``out`` replaces there that it does not make again, in sentences.

    Args:
        out: The folder.
        others: Runs or evaluations that this evaluation compares with.
        data_hash: Of the studies that it is of.
    """
    earlier = _metrics_in(out)
    if not earlier:
        return
    kept = {_weights_of(place) for place in others}
    for kind, runs in (
        ("--against", [earlier["against"]["run"]] if "against" in earlier else []),
        ("--seeds", earlier["seeds"]["runs"][1:] if "seeds" in earlier else []),
    ):
        gone = [str(one.get("weights_sha256"))[:_SHOWN] for one in runs if one.get("weights_sha256") not in kept]
        if gone:
            yield f"this replaces the earlier {kind} {', '.join(gone)} in {out}; another --out keeps both"
    if earlier["card"].get("data_hash") != data_hash:
        yield f"this replaces an evaluation on other data in {out}; another --out keeps both"


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.glob("*") if not path.name.startswith(PREFIX)]


def _metrics_in(folder: Path) -> dict[str, Any]:
    """What an evaluation found; nothing where there is none."""
    try:
        found = json.loads((folder / _METRICS).read_bytes())
        return found if "weights_sha256" in found["card"]["run"] else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _weights_of(place: Path) -> str | None:
    """Hash of the weights of a run, or of the run that an evaluation is of."""
    from medmm.models.weights import file_sha256

    if earlier := _metrics_in(place):
        return str(earlier["card"]["run"]["weights_sha256"])
    file = place / "model" / "model.safetensors"
    return file_sha256(file) if file.is_file() else None
