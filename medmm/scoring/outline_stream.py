"""Studies on their way from files to masks: each image is outlined and its masks are written on its own grid."""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medmm.data.case_reading import CaseReaders, Request
from medmm.data.prepared import Prepared, request
from medmm.errors import ImageError
from medmm.interop.seg import write_segmentation
from medmm.io.atomic import full_disk_named
from medmm.io.image import Format, sniff
from medmm.io.mask_file import write_nifti_mask, write_png_mask
from medmm.scoring.reading import reading_processes
from medmm.scoring.segmentation_evaluation import segmentation_of
from medmm.scoring.stream import Stream
from medmm.tasks.segmentation import Segmentation
from medmm.types import ImageRef, Rejection, Study

MASKS = "masks"
LABEL_MAP = "label"
SEGMENTATION = "segmentation.dcm"
_CHANNEL = re.compile(r"(.+)_\d{4}\.(?:nii|nii\.gz|png)", re.IGNORECASE)


@dataclass(frozen=True)
class _Asked:
    """An image on its way from the files to the model: its place among the study's, from 1, and whether it is the last.

    ``references`` are its files where these are its channels.
    """

    study: Study
    fingerprint: str
    references: tuple[ImageRef, ...]
    place: int
    is_last: bool


@dataclass
class OutlineStream(Stream):
    """One pass over a folder of studies, as :class:`medmm.scoring.stream.Stream`; images are outlined one by one."""

    def run(self) -> None:
        """Outline everything that is not done.

        Raises:
            DataError: The folder holds nothing that could be scored or set aside.
            UsageError: The run outlines nothing.
            ResourceError: Out of disk or memory.
        """
        task, waiting = segmentation_of(self.model), deque[_Asked]()
        drawn: list[dict[str, Any]] = []
        failed: list[Rejection] = []
        with CaseReaders(reading_processes(self.config)) as readers:
            for found in readers.each(self._requests(task, waiting)):
                asked = waiting.popleft()
                try:
                    if isinstance(found, ImageError):
                        raise found
                    drawn.append(self._outlined(task, asked, found))
                except ImageError as error:
                    path = asked.references[0].path
                    failed.append(Rejection(asked.study.study_id, error.reason, error.detail, path))
                if asked.is_last:
                    self._settle(asked.study, asked.fingerprint, drawn, failed)
                    drawn, failed = [], []

    def _requests(self, task: Segmentation, waiting: deque[_Asked]) -> Iterator[Request]:
        """What has to be read, image by image; what it is of is put into ``waiting``."""
        for study, print_ in self._wanted():
            images = task.images_of([image.source for image in study.images])
            joined = len(images) < len(study.images)
            for place, source in enumerate(images, 1):
                references = study.images if joined else study.images[place - 1 : place]
                waiting.append(_Asked(study, print_, references, place, place == len(images)))
                yield request(source, task.grid)

    def _studies(self) -> Iterator[Study]:
        """Yield the studies, and set aside what is none; files of one channel each make a study a case."""
        if len(segmentation_of(self.model).channel_names) == 1:
            yield from super()._studies()
            return
        for case, files in groupby(super()._studies(), _case):
            found = list(files)
            images = tuple(image for one in found for image in one.images)
            yield found[0] if len(found) == 1 else replace(found[0], study_id=case, images=images)

    def _settle(self, study: Study, print_: str, drawn: list[dict[str, Any]], failed: list[Rejection]) -> None:
        """Write a study's line, and what could not be outlined to the quarantine."""
        if not drawn:
            first, *failed = failed
            self._set_aside(first)
        for one in failed:
            self.ledger.set_aside(one, scope="image")
        if drawn:
            self.tally["images_left_out"] += len(failed)
            self.ledger.add(
                {
                    "study_id": study.study_id,
                    "tag": study.tag,
                    "masks": drawn,
                    "abstained": False,
                    "notes": [note for one in drawn for note in one.pop("notes")],
                    "sources": [source for one in drawn for source in one.pop("sources")],
                    "fingerprint": print_,
                    "provenance": dict(self.model.provenance),
                }
            )
            self.tally["scored"] += 1
            self.tally["images"] += len(drawn)
        self._say()

    def _outlined(self, task: Segmentation, asked: _Asked, image: Prepared) -> dict[str, Any]:
        """Outline an image, write its masks, and say where they lie and how large they are."""
        coded = task.outline(image)
        name = hashlib.sha256(asked.study.study_id.encode()).hexdigest()[:16]
        folder = self.ledger.folder / MASKS / name / str(asked.place)
        with full_disk_named(folder):
            folder.mkdir(parents=True, exist_ok=True)
        mark = str(self.model.provenance.get("weights_sha256"))
        files, notes = _write(folder, task, image, coded, asked.references[0], mark)
        sources = [one.sop_uid or one.path.name for one in asked.references]
        return {
            "source": sources[0],
            "sources": sources,
            "files": [str(file.relative_to(self.ledger.folder)) for file in files],
            "labels": {one: number for number, one in enumerate(task.code.classes, 1)} if task.code.exclusive else None,
            "classes": _sizes(task, image, coded),
            "notes": [*image.notes, *notes],
        }


def _case(study: Study) -> str:
    """The case of a study's lone file, by nnU-Net's names (``CASE_0000.nii.gz``); else the study itself."""
    found = _CHANNEL.fullmatch(study.study_id)
    return found[1] if found else study.study_id


def _write(
    folder: Path, task: Segmentation, image: Prepared, coded: npt.NDArray[Any], reference: ImageRef, mark: str
) -> tuple[list[Path], list[str]]:
    """Write a label map, or a file a class where classes overlap; of DICOM a segmentation object too."""
    named = {LABEL_MAP: coded} if task.code.exclusive else {
        name: mask.astype(np.uint8) for name, mask in task.code.masks(coded).items()
    }  # fmt: skip
    files = [reference.path] if not reference.slices else list(reference.slices)
    kind = sniff(files[0]) if files[0].is_file() else Format.DICOM
    written = []
    for name, mask in named.items():
        if image.affine is not None and mask.ndim == 3:
            written.append(folder / f"{name}.nii.gz")
            write_nifti_mask(written[-1], mask, image.affine, files[0] if kind is Format.NIFTI else None)
        else:
            written.append(folder / f"{name}.png")
            write_png_mask(written[-1], mask if task.code.exclusive else mask * 255)
    if kind is not Format.DICOM:
        return written, []
    files = files if files[0].is_file() else sorted(one for one in files[0].rglob("*") if one.is_file())
    try:
        path = folder / SEGMENTATION
        write_segmentation(path, coded, task.code, image.affine, files, lesions=task.lesions, mark=mark)
        return [*written, path], []
    except ImageError as error:
        return written, [f"No DICOM segmentation was written: {error.what}."]


def _sizes(task: Segmentation, image: Prepared, coded: npt.NDArray[Any]) -> dict[str, dict[str, float]]:
    """Voxels of each class, and its volume or area where the spacing is known."""
    found: dict[str, dict[str, float]] = {}
    unit = None if image.spacing_mm is None else float(np.prod(image.spacing_mm))
    for number, name in enumerate(task.code.classes):
        voxels = int(np.count_nonzero(task.code.mask(coded, number)))
        found[name] = {"voxels": voxels}
        if unit is not None:
            found[name] |= {"volume_ml": round(voxels * unit / 1000, 3)} if coded.ndim == 3 else {
                "area_cm2": round(voxels * unit / 100, 3)
            }  # fmt: skip
    return found
