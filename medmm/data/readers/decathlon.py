"""The Medical Segmentation Decathlon's ``dataset.json``, which MONAI writes too.

``{"modality": {"0": "CT"}, "labels": {"0": "background", "1": "liver"}, "training": [{"image": "./imagesTr/x.nii.gz",
"label": "./labelsTr/x.nii.gz"}], "test": ["./imagesTs/y.nii.gz"]}``, see Antonelli et al. 2022
(https://doi.org/10.1038/s41467-022-30695-9). MONAI adds ``validation``, and lists of files for an image in several
parts. A study has one mask, ``label``; :func:`labels` says what its values stand for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from medmm.config.schema import DataConfig
from medmm.data.readers import _listing
from medmm.data.readers._common import lone_patient_key, split_name
from medmm.data.readers._files import Presence, root_folder, source_path
from medmm.data.readers._volumes import Case, channel_names, modality_code
from medmm.errors import DataError, Reason
from medmm.types import Rejection, Study

_NAME = "dataset.json"
_EXPECTED = 'a dataset.json with "labels" and a list "training" of images and labels'
_LISTS = ("training", "validation", "test")


def read(config: DataConfig) -> Iterator[Study | Rejection]:
    """Read studies from a ``dataset.json``, its folder, or a folder of one such folder.

    Without a validation list and without labels in the test list the file brings no split. A test image without label
    is set aside as ``reference_withheld``, which is no failure. Files that the list names outside of the folder are
    refused.

    Raises:
        DataError: There is no such file, it is no JSON of that form, lists nothing, or none of the images is there.
    """
    file = _listing.dataset_file(source_path(config.path), _NAME, _EXPECTED)
    root = root_folder(config.image_root, file.parent, "data.image_root")
    listed = _listing.load_object(file, _EXPECTED)
    if not isinstance(listed.get("training"), list):
        raise DataError(f"{file.name} has no list 'training'", where="data.path", expected=_EXPECTED)
    return _Reading(listed, root, Presence("data.image_root")).items()


def labels(config: DataConfig) -> dict[str, tuple[int, ...]]:
    """What the values of the masks' voxels stand for, as the file says: name to values, without the background 0.

    Raises:
        DataError: There is no such file, or it is no JSON of that form.
    """
    listed = _listing.load_object(_listing.dataset_file(source_path(config.path), _NAME, _EXPECTED), _EXPECTED)
    return named_values(listed.get("labels"))


def channels(config: DataConfig) -> tuple[str, ...]:
    """Names of an image's channels, as the file says; empty where it says nothing.

    Raises:
        DataError: There is no such file, or it is no JSON of that form.
    """
    file = _listing.dataset_file(source_path(config.path), _NAME, _EXPECTED)
    return tuple(channel_names(_listing.load_object(file, _EXPECTED).get("modality")))


def named_values(table: object) -> dict[str, tuple[int, ...]]:
    """Turn ``{"0": "background", "1": "liver"}`` round.

    Raises:
        DataError: It is no such table.
    """
    expected = 'a table such as {"0": "background", "1": "liver"}'
    if not isinstance(table, Mapping):
        raise DataError("no labels", where="data.path", got=type(table).__name__, expected=expected)
    found: dict[str, tuple[int, ...]] = {}
    for value, name in table.items():
        if not _listing.is_value(value) or not isinstance(name, str):
            raise DataError("a label without a value", where="data.path", expected=expected)
        if int(value) != 0:
            found[name] = (*found.get(name, ()), int(value))
    return found


@dataclass(frozen=True, slots=True)
class _Reading:
    listed: Mapping[str, Any]
    root: Path
    presence: Presence

    def items(self) -> Iterator[Study | Rejection]:
        """Yield a study an entry, list after list, and what had to be set aside."""
        lists = {name: self._entries(name) for name in _LISTS}
        if not any(lists.values()):
            raise DataError("the file lists no image", where="data.path", expected=_EXPECTED)
        tested = any(isinstance(entry, Mapping) and "label" in entry for entry in lists["test"])
        keeps = bool(lists["validation"]) or tested
        seen: set[str] = set()
        for name, entries in lists.items():
            for number, entry in enumerate(entries):
                yield from self._entry(name, number, entry, keeps, seen)
        self.presence.finish()

    def _entries(self, name: str) -> Sequence[Any]:
        entries = self.listed.get(name) or []
        if not isinstance(entries, list):
            raise DataError(f"'{name}' is no list", where="data.path", expected=_EXPECTED)
        return entries

    def _entry(self, part: str, number: int, entry: Any, keeps: bool, seen: set[str]) -> Iterator[Study | Rejection]:
        images, label = _named(entry)
        if not images:
            yield Rejection(f"{part} {number + 1}", Reason.ROW_INVALID, "the entry names no image")
            return
        if any(map(_listing.is_fork, images)):
            return
        study_id = _listing.stem(images[0])
        study_id = str(PurePosixPath(images[0])) if study_id in seen else study_id
        seen.add(study_id)
        paths = [_listing.inside(self.root, name) for name in (*images, *([label] if label else []))]
        if None in paths:
            yield Rejection(study_id, Reason.PATH_OUTSIDE, "the list names a file outside of its folder")
            return
        files = [path for path in paths if path is not None]
        if label is None and part == "test":
            yield _withheld(study_id, files[0])
            return
        yield from self._study(study_id, images, files, split_name(part) if keeps else None)

    def _study(
        self, study_id: str, names: Sequence[str], files: Sequence[Path], split: str | None
    ) -> Iterator[Study | Rejection]:
        """Yield the study if all of its images are there; ``files`` are the images', then the mask's."""
        channels = channel_names(self.listed.get("modality"))
        case = Case(study_id, self.presence, modality_code(channels))
        promised = len(channels) if channels and len(names) == 1 else None
        for name, path in zip(names, files, strict=False):
            yield from case.add_image(path, str(PurePosixPath(name)), promised)
        if len(case.images) < len(names):
            return
        if len(files) == len(names):
            yield Rejection(study_id, Reason.IMAGE_WITHOUT_MASK, "the list names no label for the image", files[0])
            return
        yield from case.add_mask(files[-1])
        if case.masks:
            key = lone_patient_key(study_id, public=True)
            yield Study(study_id=study_id, patient_key=key, images=tuple(case.images), masks=case.masks, split=split)


def _named(entry: Any) -> tuple[list[str], str | None]:
    """Names of an entry's images and of its label."""
    if isinstance(entry, str):
        return [entry], None
    if not isinstance(entry, Mapping):
        return [], None
    images, label = entry.get("image"), entry.get("label")
    names = [images] if isinstance(images, str) else images if isinstance(images, list) else []
    if not all(isinstance(name, str) and name for name in names):
        names = []
    return list(names), label if isinstance(label, str) and label else None


def _withheld(study_id: str, path: Path) -> Rejection:
    return Rejection(study_id, Reason.REFERENCE_WITHHELD, "a test image whose label the data do not bring", path)
