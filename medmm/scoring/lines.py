"""Files with one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from medmm.io import atomic

PRIVATE = 0o600
"""Drafts, references and study ids are the patient's; only the user who wrote them reads them."""


def read(path: Path, keys: tuple[str, ...] = ("study_id", "fingerprint")) -> tuple[list[dict[str, Any]], int]:
    """Read the whole lines that are JSON objects and hold ``keys``.

    Returns:
        The lines, and how many others there are: spoilt ones, and a last one that a kill has torn. No file is no lines.
    """
    good: list[dict[str, Any]] = []
    spoilt = 0
    *whole, rest = (path.read_bytes() if path.exists() else b"").split(b"\n")
    for text in whole:
        try:
            line = json.loads(text)
        except ValueError:
            line = None
        if isinstance(line, dict) and all(key in line for key in keys):
            good.append(line)
        else:
            spoilt += 1
    return good, spoilt + bool(rest)


def rewrite(path: Path, objects: Iterable[Mapping[str, Any]]) -> None:
    """Write the file anew, whole or not at all, for its owner's eyes only.

    Raises:
        ResourceError: The disk is full.
    """
    atomic.write_text(path, "".join(dump(one) + "\n" for one in objects), PRIVATE)


def dump(obj: Mapping[str, Any]) -> str:
    """One line of strict JSON without its line break."""
    return json.dumps(obj, ensure_ascii=False, allow_nan=False)


def printable(text: str) -> str:
    """The text with the bytes that are no UTF-8 written as escapes; file names may hold such bytes."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
