"""Whose report is the text file that lies in a folder of images? By its name, by its folder, or nobody's.

The rules, in their order:

1. A report named as an image of its folder (``a.txt`` beside ``a.dcm``) belongs to that image's study.
2. A report named by a study's UID, its accession number or the one folder of its images belongs to that study,
   wherever it lies.
3. A report in a folder with images of one study, or above folders that hold one study together, belongs to it.

Where several studies remain the report is shared, and nobody gets it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from medmm.data.readers._files import file_id
from medmm.errors import Reason
from medmm.types import Rejection

REPORT_KINDS = (".txt", ".xml", ".hl7", ".json")
_NO_REPORTS = frozenset({"readme", "license", "licence", "copying", "changelog", "dicomdir"})
_Key = TypeVar("_Key", str, Path)
_LOOKED_AT = 65536  # bytes of a JSON file
_SEVERAL = ""  # stands for several studies where one study's id could stand


def is_report(path: Path) -> bool:
    """Whether a file's name is that of a report; a ``.json`` file must also hold a FHIR report."""
    if path.suffix.lower() not in REPORT_KINDS or path.stem.lower() in _NO_REPORTS:
        return False
    return path.suffix.lower() != ".json" or _holds_fhir_report(path)


def _holds_fhir_report(path: Path) -> bool:
    try:
        if not path.is_file():  # a pipe would be waited for
            return False
        with path.open("rb") as file:
            return b'"DiagnosticReport"' in file.read(_LOOKED_AT)
    except OSError:
        return False


class Places:
    """Remembers where studies lie.

    Args:
        root: The folder that is read; nothing above it counts.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._inside: dict[Path, str] = {}
        self._below: dict[Path, str] = {}
        self._named: dict[str, str] = {}
        self._images: dict[Path, str] = {}

    def add(self, study_id: str, path: Path, accession: str | None, keep_name: bool) -> None:
        """Note an image.

        Args:
            study_id: Its study.
            path: Its file, below the root.
            accession: The study's accession number, if it has one.
            keep_name: Reports lie in the same folder, so that the image's name matters.
        """
        folder = path.parent
        _note(self._inside, folder, study_id)
        while True:
            if self._below.get(folder) in {_SEVERAL, study_id}:
                break  # so do the folders above
            _note(self._below, folder, study_id)
            if folder == self._root:
                break
            folder = folder.parent
        for name in filter(None, (study_id, accession)):
            _note(self._named, name, study_id)
        if keep_name:
            _note(self._images, path.with_suffix(""), study_id)

    def finish(self) -> None:
        """Call when all images are noted: folders' names become names of their studies."""
        folders: dict[str, str] = {}
        for folder, study_id in self._inside.items():
            if folder != self._root:
                _note(folders, folder.name, study_id)
        for name, study_id in folders.items():
            if study_id != _SEVERAL:
                self._named.setdefault(name, study_id)

    def owner(self, report: Path) -> str | Rejection:
        """Study that a report belongs to, or why there is none."""
        folder, name = report.parent, report.stem
        found = self._images.get(folder / name, self._named.get(name))
        if found is None:
            found = self._inside.get(folder, self._below.get(folder))
        if found is None:
            return Rejection(file_id(report), Reason.REPORT_WITHOUT_IMAGE, "no image lies near the report", report)
        if found == _SEVERAL:
            return Rejection(file_id(report), Reason.REPORT_SHARED, "several studies lie where the report lies", report)
        return found


def _note(places: dict[_Key, str], key: _Key, study_id: str) -> None:
    if places.setdefault(key, study_id) != study_id:
        places[key] = _SEVERAL
