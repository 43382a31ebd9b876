"""nnU-Net's raw data: ``Dataset001_Name/`` with ``dataset.json``, ``imagesTr``, ``labelsTr`` and perhaps ``imagesTs``.

An image file a channel, ``CASE_0000.nii.gz``, ``CASE_0001.nii.gz``, ..., and a mask a case, ``CASE.nii.gz``; see
``documentation/dataset_format.md`` of https://github.com/MIC-DKFZ/nnUNet. ``dataset.json`` is version 2's
(``channel_names``, ``labels`` by name, ``file_ending``), perhaps with each case's files under ``dataset``, or version
1's (``modality``, ``labels`` by value, ``training``). A study has one mask, ``label``; :func:`labels` says what its
values stand for.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medmm.config.schema import DataConfig
from medmm.data.readers import _listing, decathlon
from medmm.data.readers._common import lone_patient_key
from medmm.data.readers._files import Presence, source_path
from medmm.data.readers._volumes import Case, channel_names, modality_code
from medmm.errors import DataError, Reason
from medmm.types import Rejection, Study

_NAME, _SPLITS = "dataset.json", "splits_final.json"
_EXPECTED = 'a dataset.json with "channel_names", "labels" and "file_ending", beside imagesTr/ and labelsTr/'
_ENDINGS = (".nii.gz", ".nii", ".png")
_PREPROCESSED = "nnUNet_preprocessed"
_CHANNEL = re.compile(r"(.+)_(\d{4})")
_LABELLED_TEST = "labelsTs"
_IGNORE = "ignore"


def read(config: DataConfig) -> Iterator[Study | Rejection]:
    """Read studies from a ``dataset.json``, its folder, or a folder of one such folder (``nnUNet_raw``).

    Cases of ``imagesTs`` are the test part where a folder ``labelsTs`` lies beside; else they are set aside as
    ``reference_withheld``, which is no failure. ``splits_final.json`` in the dataset's folder, or in that of the same
    name in ``nnUNet_preprocessed`` beside ``nnUNet_raw``, shares its first fold out as train and val.

    Raises:
        DataError: There is no such dataset, its ``dataset.json`` is none, its files end in what medmm does not read,
            or none of the images is there.
    """
    layout = _layout(config)
    if layout.ending.lower() not in _ENDINGS:
        got, expected = f"file_ending '{layout.ending}'", " or ".join(_ENDINGS)
        fix = "Convert images and labels, and say so in dataset.json."
        raise DataError("files of this kind are not read", where="data.path", got=got, expected=expected, fix=fix)
    return _Reading(layout, _folds(layout.folder), Presence("data.path")).items()


def labels(config: DataConfig) -> dict[str, tuple[int, ...]]:
    """What the values of the masks' voxels stand for: name to values, several for a region, without the background 0.

    The name ``ignore`` is nnU-Net's for voxels that nobody has labelled; its value is the highest one.

    Raises:
        DataError: There is no such dataset, or its labels are no such table.
    """
    table = _layout(config).about.get("labels")
    if not isinstance(table, Mapping) or not table:
        raise DataError("no labels", where="data.path", got=type(table).__name__, expected=_EXPECTED)
    if all(_listing.is_value(key) for key in table):
        return decathlon.named_values(table)
    found: dict[str, tuple[int, ...]] = {}
    for name, value in table.items():
        values = value if isinstance(value, list) else [value]
        if not all(_listing.is_value(one) for one in values):
            raise DataError("a label without a value", where="data.path", expected=_EXPECTED)
        if (kept := tuple(int(one) for one in values)) != (0,):
            found[str(name)] = kept
    _check_ignored(found)
    return found


def channels(config: DataConfig) -> tuple[str, ...]:
    """Names of an image's channels, in the order of their files.

    Raises:
        DataError: As :func:`labels`.
    """
    return tuple(_layout(config).channels)


def _check_ignored(table: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse a label ``ignore`` that is a region or not the highest value: nnU-Net would not take it either."""
    given = table.get(_IGNORE)
    highest = max(value for values in table.values() for value in values) if table else 0
    if given is not None and given != (highest,):
        raise DataError(f"the label '{_IGNORE}' is not the highest value", where="data.path",
                        got=", ".join(map(str, given)), expected="one value above all others")  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Layout:
    folder: Path
    about: Mapping[str, Any]
    channels: list[str]
    ending: str


def _layout(config: DataConfig) -> _Layout:
    file = _listing.dataset_file(source_path(config.path), _NAME, _EXPECTED)
    about = _listing.load_object(file, _EXPECTED)
    channels = channel_names(about.get("channel_names") or about.get("modality"))
    if not channels or not (isinstance(about.get("dataset"), Mapping) or (file.parent / "imagesTr").is_dir()):
        what = "neither channel_names nor modality" if not channels else "there is no folder imagesTr"
        raise DataError(what, where="data.path", expected=_EXPECTED)
    ending = str(about.get("file_ending", ".nii.gz"))
    one_picture = ending.lower() == ".png" and [name.lower()[:1] for name in channels] == ["r", "g", "b"]
    return _Layout(file.parent, about, channels[:1] if one_picture else channels, ending)


def _folds(folder: Path) -> dict[str, str] | None:
    """Case to train or val of the first fold; None where there is no ``splits_final.json``.

    Raises:
        DataError: There is one, but it is no list of folds.
    """
    places = (folder / _SPLITS, folder.parent.parent / _PREPROCESSED / folder.name / _SPLITS)
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        return None
    expected = 'a list of folds, {"train": [...], "val": [...]}'
    folds = _listing.load(file, expected)
    first = folds[0] if isinstance(folds, list) and folds else None
    if not isinstance(first, dict) or not all(isinstance(first.get(part), list) for part in ("train", "val")):
        raise DataError(f"{_SPLITS} holds no folds", where="data.path", expected=expected)
    return {str(case): part for part in ("train", "val") for case in first[part]}


@dataclass(frozen=True, slots=True)
class _Reading:
    layout: _Layout
    folds: Mapping[str, str] | None
    presence: Presence

    def items(self) -> Iterator[Study | Rejection]:
        """Yield a study a case in the order of their names, training first, and what had to be set aside."""
        explicit = self.layout.about.get("dataset")
        if isinstance(explicit, Mapping):
            yield from self._named_cases(explicit)
        else:
            yield from self._cases_in_folders()
        self.presence.finish()

    def _named_cases(self, named: Mapping[str, Any]) -> Iterator[Study | Rejection]:
        """Cases whose files ``dataset.json`` names itself: ``{"case": {"images": [...], "label": ...}}``."""
        if not named:
            raise DataError("the dataset holds no image", where="data.path", expected=_EXPECTED)
        for case, entry in sorted(named.items()):
            names = [*entry["images"], entry["label"]] if _is_entry(entry) else []
            if len(names) != len(self.layout.channels) + 1:
                detail = "the case does not name an image a channel and a label"
                yield Rejection(case, Reason.ROW_INVALID, detail)
                continue
            files = [_listing.inside(self.layout.folder, name) for name in names]
            if None in files:
                yield Rejection(case, Reason.PATH_OUTSIDE, f"{_NAME} names a file outside of its folder")
                continue
            *images, mask = [file for file in files if file is not None]
            yield from self._case(case, images, mask, self._part(case, False))

    def _cases_in_folders(self) -> Iterator[Study | Rejection]:
        folder, files = self.layout.folder, self._cases("imagesTr")
        for case in (*self._cases("labelsTr", plain=True), *self._listed()):
            files.setdefault(case, {})
        tested = (folder / _LABELLED_TEST).is_dir()
        tests = self._cases("imagesTs")
        if not files and not tests:
            raise DataError("the dataset holds no image", where="data.path", expected=_EXPECTED)
        for case in sorted(files):
            yield from self._case(case, *self._files(case, "Tr", files[case]), self._part(case, tested))
        yield from self._count(len(files))
        for case in sorted(tests):
            if tested:
                yield from self._case(case, *self._files(case, "Ts", tests[case]), "test")
            else:
                path = folder / "imagesTs" / min(tests[case].values())
                detail = "a test image whose label the data do not bring"
                yield Rejection(case, Reason.REFERENCE_WITHHELD, detail, path)

    def _part(self, case: str, tested: bool) -> str | None:
        """Part of a training case; empty where the first fold does not name it."""
        return ("train" if tested else None) if self.folds is None else self.folds.get(case, "")

    def _files(self, case: str, part: str, found: Mapping[int, str]) -> tuple[list[Path], Path]:
        """A case's images by channel and its mask, as they are or should be called."""
        folder, ending = self.layout.folder, self.layout.ending
        names = [found.get(one, f"{case}_{one:04d}{ending}") for one in range(len(self.layout.channels))]
        return [folder / f"images{part}" / name for name in names], folder / f"labels{part}" / f"{case}{ending}"

    def _cases(self, name: str, plain: bool = False) -> dict[str, dict[int, str]]:
        """Case to its files by channel in one of the folders; ``plain`` names have no channel."""
        folder, ending = self.layout.folder / name, self.layout.ending
        found: dict[str, dict[int, str]] = {}
        for file in sorted(os.listdir(folder)) if folder.is_dir() else ():
            if not file.endswith(ending) or _listing.is_fork(file):
                continue
            case = file[: -len(ending)]
            channel = _CHANNEL.fullmatch(case)
            if plain:
                found[case] = {}
            elif channel:
                found.setdefault(channel[1], {})[int(channel[2])] = file
        return found

    def _listed(self) -> Iterable[str]:
        """Cases that version 1's ``dataset.json`` names; their images' names carry no channel."""
        entries = self.layout.about.get("training")
        for entry in entries if isinstance(entries, list) else ():
            name = entry.get("image") if isinstance(entry, Mapping) else None
            if isinstance(name, str) and not _listing.is_fork(name):
                yield _listing.stem(name)

    def _count(self, found: int) -> Iterator[Rejection]:
        promised = self.layout.about.get("numTraining")
        if isinstance(promised, int) and promised > found:
            detail = f"dataset.json says {promised} training cases, {found} are there"
            yield Rejection(_NAME, Reason.FILE_MISSING, detail, self.layout.folder / _NAME)

    def _case(self, case: str, images: list[Path], mask: Path, split: str | None) -> Iterator[Study | Rejection]:
        if split == "":
            yield Rejection(case, Reason.SPLIT_UNKNOWN, f"the first fold of {_SPLITS} does not name the case")
            return
        study = Case(case, self.presence, modality_code(self.layout.channels))
        for path in images:
            yield from study.add_image(path, path.name, 1)
        if len(study.images) < len(images):
            return
        if not mask.is_file():
            detail = "no label of the case's name"
            yield Rejection(case, Reason.IMAGE_WITHOUT_MASK, detail, study.images[0].path)
            return
        yield from study.add_mask(mask)
        if study.masks:
            key = lone_patient_key(case, public=True)
            yield Study(study_id=case, patient_key=key, images=tuple(study.images), masks=study.masks, split=split)


def _is_entry(entry: object) -> bool:
    """Whether an entry of ``dataset`` names its files."""
    if not isinstance(entry, Mapping) or not isinstance(entry.get("images"), list):
        return False
    return all(isinstance(name, str) and name for name in (*entry["images"], entry.get("label")))
