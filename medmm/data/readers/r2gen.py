"""The layout of R2Gen and its successors: ``annotation.json`` with a list of studies a split, images in ``images/``.

``{"train": [{"id": ..., "report": ..., "image_path": [...]}, ...], "val": [...], "test": [...]}``, as in
https://github.com/zhjohnchan/R2Gen. The split is taken as it is. ``subject_id``, where an item has it, is the patient.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from medmm.config.schema import DataConfig
from medmm.data.readers._common import cell, lone_patient_key, patient_key, split_name
from medmm.data.readers._files import Presence, report_from, root_folder, source_path
from medmm.errors import DataError, Reason
from medmm.types import ImageRef, Rejection, Report, Study

_BLOCK_CHARACTERS = 1 << 16
_SPACE = " \t\r\n"


def read(config: DataConfig) -> Iterator[Study | Rejection]:
    """Read studies from an ``annotation.json`` or the folder that holds it.

    Raises:
        DataError: There is no annotation file, it is no JSON of that form, or none of the images is there.
    """
    path = source_path(config.path)
    file = path / "annotation.json" if path.is_dir() else path
    if not file.is_file():
        raise DataError(
            "the folder holds no annotation.json", where="data.path", expected="annotation.json and images/"
        )
    images = (
        root_folder(config.image_root, file.parent, "data.image_root") if config.image_root else file.parent / "images"
    )
    return _items(file, images)


def _items(file: Path, images: Path) -> Iterator[Study | Rejection]:
    presence = Presence("data.image_root")
    number = 0
    for number, (split, item) in enumerate(_stream(file), start=1):
        if not isinstance(item, Mapping):
            what = "the file lists ids, not studies" if isinstance(item, str) else "an item is no study"
            raise DataError(what, where="data.path", expected="items with id, report and image_path")
        yield from _study(split, item, number, images, presence)
    if number == 0:
        raise DataError("the file holds no study", where="data.path", expected="lists train, val and test")
    presence.finish()


def _study(
    split: str, item: Mapping[str, Any], number: int, images: Path, presence: Presence
) -> Iterator[Study | Rejection]:
    study_id = cell(item.get("id")) or f"item {number}"
    part = split_name(split)
    if part is None:
        yield Rejection(study_id, Reason.SPLIT_UNKNOWN, "its list is named neither train, val nor test")
        return
    text = cell(item.get("report"))
    report = report_from(text, (images.parent,), study_id) if text else None
    if isinstance(report, Rejection):
        yield report
        report = None
    names = item.get("image_path") or ()
    found: list[ImageRef] = []
    for name in [names] if isinstance(names, str) else names:
        path = images / str(name)
        if fault := presence.check(path):
            yield Rejection(study_id, fault[0], f"image: {fault[1]}", path)
        else:
            found.append(ImageRef(path=path, sop_uid=str(name)))
    if not found:
        yield _imageless(study_id, report)
        return
    if not text:
        yield Rejection(study_id, Reason.REPORT_EMPTY, "the item's report holds no text")
    patient = cell(item.get("subject_id"))
    key = patient_key(patient) if patient else lone_patient_key(study_id)
    yield Study(study_id=study_id, patient_key=key, images=tuple(found), report=report, split=part)


def _imageless(study_id: str, report: Report | None) -> Rejection:
    if report is None:
        return Rejection(study_id, Reason.FILE_MISSING, "neither an image nor a report")
    return Rejection(study_id, Reason.REPORT_WITHOUT_IMAGE, "a report, but none of the study's images")


def _stream(file: Path) -> Iterator[tuple[str, Any]]:
    """Yield (name of the list, item) of a JSON object of lists, an item at a time.

    Raises:
        DataError: The file is no such JSON.
    """
    with file.open(encoding="utf-8-sig") as text:
        source = _Json(text)
        try:
            source.expect("{")
            while source.peek() != "}":
                name = source.value()
                source.expect(":")
                source.expect("[")
                while source.peek() != "]":
                    yield str(name), source.value()
                    source.separate("]")
                source.expect("]")
                source.separate("}")
        except (ValueError, RecursionError) as error:
            expected = '{"train": [...], "val": [...], "test": [...]}'
            raise DataError(
                "the file is no such JSON", where="data.path", got=_place(error), expected=expected
            ) from None


def _place(error: Exception) -> str:
    return (
        f"text that is not UTF-8 at byte {error.start}"
        if isinstance(error, UnicodeDecodeError)
        else "a break in its form"
    )


class _Json:
    """Reads one JSON value after the other from a text file, holding little more than one in memory."""

    def __init__(self, text: Any) -> None:
        self._text, self._buffer, self._at = text, "", 0
        self._decoder = json.JSONDecoder()

    def peek(self) -> str:
        """Next character that is not white space, empty at the end."""
        while True:
            while self._at < len(self._buffer) and self._buffer[self._at] in _SPACE:
                self._at += 1
            if self._at < len(self._buffer):
                return self._buffer[self._at]
            if not self._more():
                return ""

    def expect(self, character: str) -> None:
        """Take ``character``.

        Raises:
            ValueError: Something else comes.
        """
        if self.peek() != character:
            raise ValueError(f"expected {character}")
        self._at += 1

    def separate(self, closing: str) -> None:
        """Take a comma unless ``closing`` comes.

        Raises:
            ValueError: Something else comes.
        """
        if self.peek() != closing:
            self.expect(",")

    def value(self) -> Any:
        """Take a whole value.

        Raises:
            ValueError: The file ends or is malformed there.
        """
        self.peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._buffer, self._at)
            except ValueError:
                if not self._more():
                    raise
                continue
            if end < len(self._buffer) or not self._more():  # a number may go on in the next block
                self._at = end
                return value

    def _more(self) -> bool:
        block = self._text.read(max(_BLOCK_CHARACTERS, len(self._buffer) - self._at))  # doubling keeps it linear
        self._buffer, self._at = self._buffer[self._at :] + block, 0
        return bool(block)
