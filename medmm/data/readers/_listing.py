"""The JSON file that lists a layout's studies, and the files that it may name."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from medmm.errors import DataError

_LARGEST_BYTES = 1 << 28
_FORKS = "._"  # what macOS puts beside each file of an archive (AppleDouble): it holds no image
_GZIP = ".gz"
_HALF = re.compile(r"\\u[dD][89a-fA-F]")
_LONGEST_NUMBER = 9


def load(path: Path, expected: str) -> Any:
    """Read a JSON file as a whole.

    Args:
        path: The file.
        expected: What it should hold, for errors.

    Raises:
        DataError: It cannot be read, has more than 256 MiB, or is no JSON.
    """
    try:
        size = path.stat().st_size
        if size > _LARGEST_BYTES:
            got = f"{size:,} bytes"
            raise DataError("the file is too large for a list of studies", where="data.path", got=got)
        return _parsed(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        got = error.strerror or type(error).__name__
        raise DataError("the file cannot be read", where="data.path", got=got, expected=expected) from error
    except (ValueError, RecursionError):
        raise DataError(f"{path.name} is no JSON", where="data.path", expected=expected) from None


def _parsed(text: str) -> Any:
    """The JSON value; lone halves of surrogate pairs, which no file can hold, become question marks."""
    found = json.loads(text)
    if not _HALF.search(text):
        return found
    return json.loads(json.dumps(found, ensure_ascii=False).encode("utf-8", "replace"))


def is_value(text: object) -> bool:
    """Whether a key or a number is a voxel's value or a channel's number."""
    return str(text).isdecimal() and len(str(text)) <= _LONGEST_NUMBER


def load_object(path: Path, expected: str) -> Mapping[str, Any]:
    """Read a JSON file that holds an object.

    Raises:
        DataError: As :func:`load`, or it holds anything else.
    """
    found = load(path, expected)
    if not isinstance(found, dict):
        got = type(found).__name__
        raise DataError(f"{path.name} holds no object", where="data.path", got=got, expected=expected)
    return found


def dataset_file(path: Path, name: str, expected: str) -> Path:
    """The file ``name`` that a source means: itself, the one in its folder, or the only one in the folders of that.

    Raises:
        DataError: There is none, or several.
    """
    if path.is_file():
        return path
    if (path / name).is_file():
        return path / name
    below = sorted(path.glob(f"*/{name}"))
    if len(below) == 1:
        return below[0]
    what = f"{len(below)} folders hold a {name}" if below else f"the folder holds no {name}"
    fix = "Name one of them." if below else None
    raise DataError(what, where="data.path", expected=expected, fix=fix)


def inside(root: Path, name: str) -> Path | None:
    """The file that a list names, below ``root``; None where the name leads out of it, for the list is not trusted.

    Links are followed: what lies in the folder is its owner's choice.
    """
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or PureWindowsPath(name).drive or ".." in parts.parts or not parts.parts or "\0" in name:
        return None
    return root / parts


def is_fork(name: str) -> bool:
    """Whether a file is the AppleDouble companion of another one, ``._liver_1.nii.gz``."""
    return name.rpartition("/")[2].startswith(_FORKS)


def stem(name: str) -> str:
    """A file's name without folder and ending; ``.nii.gz`` is one ending."""
    path = PurePosixPath(name.replace("\\", "/"))
    return PurePosixPath(path.stem).stem if path.suffix.lower() == _GZIP else path.stem
