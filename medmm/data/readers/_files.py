"""Where a layout's files lie: its source, its roots, and what is said of a file that is not there."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from pathlib import Path

from medmm.errors import DataError, Reason, StudyError
from medmm.types import Rejection, Report

_REPORT_FILES = (".txt", ".xml", ".hl7", ".json", ".rtf", ".html")
_LONGEST_NAME = 1024
_HOPELESS = 100  # so many files missing, none found: the root is wrong


def source_path(path: Path | None, key: str = "data.path") -> Path:
    """Absolute path of a source that is there.

    Raises:
        DataError: There is no such file or folder.
    """
    if path is None or not path.expanduser().exists():
        raise DataError("there is no such file or folder", where=key, got=f"'{path}'")
    return path.expanduser().resolve()


def file_within(path: Path, pattern: str) -> Path:
    """``path`` where it is a file, else the first file of the folder, by name, that is called like ``pattern``.

    Raises:
        DataError: The folder holds none.
    """
    if path.is_file():
        return path
    found = sorted(one for one in path.glob(pattern) if one.is_file())
    if not found:
        raise DataError("the folder does not hold the layout's table", where="data.path", expected=pattern)
    return found[0]


def root_folder(root: Path | None, beside: Path, key: str) -> Path:
    """Folder that relative paths start from: ``root``, taken from the working folder, else from ``beside``.

    Args:
        root: As configured; None stands for ``beside``.
        beside: The folder of the table that names the files.
        key: The config key of ``root``.

    Raises:
        DataError: There is no such folder.
    """
    if root is None:
        return beside
    for folder in (root.expanduser().absolute(), beside / root):
        if folder.is_dir():
            return folder
    expected = "a folder, taken from the working folder or from the table's own"
    raise DataError("there is no such folder", where=key, got=f"'{root}'", expected=expected)


def is_storable(path: Path) -> bool:
    """Whether a path is text, as the manifest needs; Linux allows any bytes in a file's name."""
    return file_id(path) == str(path)


def file_id(path: Path) -> str:
    """Text that stands for a file which has no id; bytes that are no UTF-8 are escaped."""
    return str(path).encode("utf-8", "backslashreplace").decode()


def fault(path: Path) -> tuple[Reason, str] | None:
    """Why ``path`` can be no image or mask, without opening it; None if it may be one."""
    try:
        status = path.stat()
    except OSError as error:
        missing = isinstance(error, FileNotFoundError | NotADirectoryError)
        reason = Reason.FILE_MISSING if missing else Reason.FILE_UNREADABLE
        return reason, "there is no such file" if missing else "the file cannot be reached"
    if not stat.S_ISREG(status.st_mode):
        return Reason.FILE_UNREADABLE, "a folder stands where a file should"
    return (Reason.FILE_EMPTY, "the file is empty") if status.st_size == 0 else None


class Presence:
    """Notices that a root is wrong: many files are named, none of them is there.

    Args:
        key: The config key of the root.
    """

    def __init__(self, key: str) -> None:
        self._key, self._found, self._missing = key, 0, 0

    def check(self, path: Path) -> tuple[Reason, str] | None:
        """As :func:`fault`, counting.

        Raises:
            DataError: The first hundred files are all missing.
        """
        found = fault(path)
        self._found += found is None or found[0] is not Reason.FILE_MISSING
        self._missing += found is not None
        if not self._found and self._missing >= _HOPELESS:
            self._refuse()
        return found

    def finish(self) -> None:
        """Call when the source has ended.

        Raises:
            DataError: Files were named and every one of them is missing.
        """
        if self._missing and not self._found:
            self._refuse()

    def _refuse(self) -> None:
        got, fix = f"{self._missing} named, none there", f"Set {self._key} to their folder."
        raise DataError("no file is where the source says", where=self._key, got=got, fix=fix)


def report_from(text: str, folders: Sequence[Path], study_id: str) -> Report | Rejection:
    """Report of a table's cell, which holds its text or the path of a report file (``.txt``, ``.xml``, ``.hl7``, ...).

    Args:
        text: The cell, not empty.
        folders: Where a relative path may start, the first choice first.
        study_id: Whose report it is.
    """
    from medmm.reports.parse import parse_report

    try:
        if not _names_report_file(text):
            return parse_report(text)
    except StudyError as error:
        return Rejection(study_id, error.reason, str(error))
    paths = [folder / Path(text).expanduser() for folder in folders]
    return report_at(next((path for path in paths if path.is_file()), paths[0]), study_id)


def report_at(path: Path, study_id: str) -> Report | Rejection:
    """Report of a file, or why there is none."""
    from medmm.reports.parse import read_report

    try:
        return read_report(path)
    except StudyError as error:
        return Rejection(study_id, error.reason, str(error), path)


def _names_report_file(text: str) -> bool:
    return len(text) <= _LONGEST_NAME and "\n" not in text and text.lower().endswith(_REPORT_FILES)
