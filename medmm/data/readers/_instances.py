"""What a file in a folder of studies is: an image, something else, or broken; and what is kept of an image's header."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medmm.data.headers import Instance
from medmm.data.readers._files import file_id, is_storable
from medmm.errors import Reason, StudyError
from medmm.types import Rejection

_DICOM_NAMES = frozenset({".dcm", ".dicom", ".dic", ".ima"})
_OTHER_KINDS = frozenset(
    ".csv .tsv .json .jsonl .parquet .xlsx .md .html .pdf .doc .docx .rtf .png .jpg .jpeg .gif .bmp .tif .tiff .nii "
    ".gz .tgz .zip .tar .7z .py .sh .log .db .ini .yaml .yml .safetensors .pt .npy .npz .exe".split()
)


def other_kind(path: Path) -> Rejection | None:
    """Why a file is not even tried; None where it may be DICOM."""
    if not is_storable(path):
        return Rejection(file_id(path), Reason.FILE_UNREADABLE, "the path is no valid UTF-8; rename it", path)
    if path.suffix.lower() in _OTHER_KINDS and not _says_dicom(path):
        return Rejection(file_id(path), Reason.NOT_AN_IMAGE, "a file of another kind", path)
    return None


def unreadable(path: Path, error: StudyError) -> Rejection:
    """A file that claims to be DICOM, by its name or its preamble, is broken; another is merely of another kind."""
    claims = path.suffix.lower() in _DICOM_NAMES or _says_dicom(path)
    guessed = error.reason in {Reason.NOT_AN_IMAGE, Reason.HEADER_INVALID}
    if guessed and not claims:
        return Rejection(file_id(path), Reason.NOT_AN_IMAGE, "a file of another kind", path)
    reason = Reason.FILE_UNREADABLE if error.reason is Reason.NOT_AN_IMAGE else error.reason
    return Rejection(file_id(path), reason, str(error), path)


def _says_dicom(path: Path) -> bool:
    """Whether ``DICM`` stands behind a preamble of 128 bytes (PS3.10 7.1)."""
    try:
        if not path.is_file():  # a pipe would be waited for
            return False
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def record_of(path: Path, instance: Instance) -> dict[str, Any]:
    """What is kept of an image: a manifest's row (:func:`medmm.data.records.image_of`), whose it is, and its slice."""
    header = instance.header
    return {
        "part": instance.part,
        "path": str(path),
        "sop_uid": header.sop_uid,
        "series_uid": header.series_uid,
        "modality": header.modality,
        "view": header.view,
        "laterality": header.laterality,
        "rows": header.rows,
        "columns": header.columns,
        "frames": header.frames,
        "spacing_mm": header.spacing_mm,
        "body_part": header.body_part,
        "patient_id": header.patient_id or "",
        "sex": header.sex,
        "age": header.age_years,
        "device": header.device,
    }


def masks_of(records: Sequence[dict[str, Any]]) -> dict[str, Path]:
    """``segmentation``, ``segmentation_2``, ..., ``structure_set``, ...: DICOM objects, in the order of their paths."""
    masks: dict[str, Path] = {}
    for kind, path in sorted((record["mask_kind"], record["mask"]) for record in records if "mask" in record):
        number = 1 + sum(name.startswith(kind) for name in masks)
        masks[kind if number == 1 else f"{kind}_{number}"] = Path(path)
    return masks
