"""Images and masks of layouts for segmentation: their grids, read from headers, must agree."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from medmm.data.readers._files import Presence, fault
from medmm.data.readers._listing import is_value
from medmm.errors import ImageError, Reason
from medmm.io.nifti_header import NiftiGrid, read_nifti_header
from medmm.types import ImageRef, Rejection

MASK = "label"
"""Name of the one mask that such a layout gives an image; its voxels hold a value a structure."""
_NIFTI = (".nii", ".nii.gz")
_CODES = {  # PS3.3 C.7.3.1.1.1; datasets write sequences of MR where they mean a channel
    "CT": r"ct", "MR": r"mri?|flair|t[12].*|adc|dwi|swi|pd.*", "PT": r"pet|pt", "US": r"us|ultrasound", "CR": r"cr",
    "DX": r"dx", "MG": r"mg|mammography",
}  # fmt: skip


def modality_code(names: Iterable[str]) -> str | None:
    """DICOM modality of channels, ``MR`` for FLAIR and T1; None where a name says nothing or they do not agree."""
    found = {
        next((code for code, words in _CODES.items() if re.fullmatch(words, name.strip(), re.IGNORECASE)), None)
        for name in names
    }
    return found.pop() if len(found) == 1 else None


def channel_names(table: object) -> list[str]:
    """Names of channels in their order, from ``{"0": "T1", "1": "T2"}`` or a list."""
    if isinstance(table, Mapping):
        return [str(name) for _, name in sorted(table.items(), key=lambda entry: _number(entry[0]))]
    return [str(name) for name in table] if isinstance(table, list) else []


def _number(key: object) -> tuple[int, str]:
    text = str(key)
    return (int(text), "") if is_value(text) else (1 << 30, text)


class Case:
    """One study of such a layout while it is read.

    Args:
        study_id: Its id.
        presence: Notices that every file is missing.
        modality: DICOM modality of its images.
    """

    def __init__(self, study_id: str, presence: Presence, modality: str | None) -> None:
        self.study_id, self.images = study_id, list[ImageRef]()
        self.masks: dict[str, Path] = {}
        self._presence, self._modality = presence, modality
        self._grid: NiftiGrid | None = None

    def add_image(self, path: Path, name: str, channels: int | None = None) -> Iterator[Rejection]:
        """Take an image, or yield why it is none.

        Args:
            path: The file.
            name: Its name in the layout.
            channels: How many channels the layout promises; None where it says nothing.
        """
        wrong = self._presence.check(path)
        grid = None if wrong else self._grid_of(path)
        if isinstance(grid, ImageError):
            wrong, grid = (grid.reason, grid.detail), None
        elif grid is not None and channels is not None and grid.channels != channels:
            said = f"the file has {grid.channels} channels; its list names {channels}"
            wrong = (Reason.DIMENSIONS_MISMATCH, said)
        elif grid is not None and self._grid is not None and not _alike(grid, self._grid):
            wrong = (Reason.DIMENSIONS_MISMATCH, "the grid is not that of the study's first image")
        if wrong:
            yield Rejection(self.study_id, wrong[0], f"image: {wrong[1]}", path)
            return
        self._grid = self._grid or grid
        self.images.append(_reference(path, name, self._modality, grid))

    def add_mask(self, path: Path) -> Iterator[Rejection]:
        """Take the study's mask, or yield why it is none."""
        wrong = fault(path)
        grid = None if wrong else self._grid_of(path)
        if isinstance(grid, ImageError):
            wrong = (grid.reason, grid.detail)
        elif grid is not None and grid.channels != 1:
            wrong = (Reason.DIMENSIONS_MISMATCH, f"the file has {grid.channels} channels; a mask has one")
        elif grid is not None and self._grid is not None and not _alike(grid, self._grid):
            wrong = (Reason.DIMENSIONS_MISMATCH, "the grid is not the image's")
        if wrong:
            yield Rejection(self.study_id, wrong[0], f"mask: {wrong[1]}", path)
        else:
            self.masks[MASK] = path

    def _grid_of(self, path: Path) -> NiftiGrid | ImageError | None:
        """Grid of a NIfTI file; None for a picture, whose header is not read here."""
        if not path.name.lower().endswith(_NIFTI):
            return None
        try:
            return read_nifti_header(path)
        except ImageError as error:
            return error


def _alike(one: NiftiGrid, other: NiftiGrid) -> bool:
    return (one.frames, one.rows, one.columns) == (other.frames, other.rows, other.columns)


def _reference(path: Path, name: str, modality: str | None, grid: NiftiGrid | None) -> ImageRef:
    if grid is None:
        return ImageRef(path=path, sop_uid=name, modality=modality)
    return ImageRef(
        path=path, sop_uid=name, modality=modality, rows=grid.rows, columns=grid.columns, frames=grid.frames,
        spacing_mm=grid.spacing_mm,
    )  # fmt: skip
