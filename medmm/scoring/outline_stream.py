"""Studies on their way from files to masks: each image is outlined and its masks are written on its own grid."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medmm.errors import ImageError
from medmm.interop.seg import write_segmentation
from medmm.io.atomic import full_disk_named
from medmm.io.image import Format, sniff
from medmm.io.mask_file import write_nifti_mask, write_png_mask
from medmm.scoring.segmentation_evaluation import segmentation_of
from medmm.scoring.stream import Stream
from medmm.tasks.segmentation import Segmentation
from medmm.types import Image, ImageRef, Rejection, Study

MASKS = "masks"
LABEL_MAP = "label"
SEGMENTATION = "segmentation.dcm"


@dataclass
class OutlineStream(Stream):
    """One pass over a folder of studies, as :class:`medmm.scoring.stream.Stream`; images are read one by one."""

    def run(self) -> None:
        """Outline everything that is not done.

        Raises:
            DataError: The folder holds nothing that could be scored or set aside.
            UsageError: The run outlines nothing.
            ResourceError: Out of disk or memory.
        """
        task = segmentation_of(self.model)
        for study, print_ in self._wanted():
            drawn: list[dict[str, Any]] = []
            failed: list[Rejection] = []
            for place, image in enumerate(study.images):
                try:
                    drawn.append(self._outlined(task, study, place, image))
                except ImageError as error:
                    failed.append(Rejection(study.study_id, error.reason, error.detail, image.path))
            self._settle(study, print_, drawn, failed)

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
                    "sources": [one["source"] for one in drawn],
                    "fingerprint": print_,
                    "provenance": dict(self.model.provenance),
                }
            )
            self.tally["scored"] += 1
            self.tally["images"] += len(drawn)
        self._say()

    def _outlined(self, task: Segmentation, study: Study, place: int, reference: ImageRef) -> dict[str, Any]:
        """Outline an image, write its masks, and say where they lie and how large they are."""
        image = task.grid.read(reference.source)
        coded = task.outline(image)
        name = hashlib.sha256(study.study_id.encode()).hexdigest()[:16]
        folder = self.ledger.folder / MASKS / name / str(place + 1)
        with full_disk_named(folder):
            folder.mkdir(parents=True, exist_ok=True)
        files, notes = _write(folder, task, image, coded, reference, str(self.model.provenance.get("weights_sha256")))
        return {
            "source": reference.sop_uid or reference.path.name,
            "files": [str(file.relative_to(self.ledger.folder)) for file in files],
            "labels": {one: number for number, one in enumerate(task.code.classes, 1)} if task.code.exclusive else None,
            "classes": _sizes(task, image, coded),
            "notes": [*image.notes, *notes],
        }


def _write(
    folder: Path, task: Segmentation, image: Image, coded: npt.NDArray[Any], reference: ImageRef, mark: str
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


def _sizes(task: Segmentation, image: Image, coded: npt.NDArray[Any]) -> dict[str, dict[str, float]]:
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
