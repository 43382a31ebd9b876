"""What the layouts' writers share: studies made in order by several processes, their parts, pictures and tables."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medmm.data.phantom import files, pool, subject
from medmm.data.phantom.study import PhantomStudy, make_study
from medmm.types import Laterality

_PARTS = ("train", "val", "test", "train", "train", "train", "train", "train", "train", "test")
"""Parts of patients in a row: seven tenths train, two test, and all three among the first three."""
_CHUNK = 8


def studies(seed: int, numbers: Sequence[int], size: int) -> Iterator[PhantomStudy]:
    """Make the studies, in the order of their numbers."""
    jobs = [(seed, number, size) for number in numbers]
    return pool.in_order(_made, jobs, chunk=_CHUNK)


def parts(seed: int, numbers: Sequence[int]) -> dict[int, str]:
    """Study number to ``train``, ``val`` or ``test``; a patient's studies stay together."""
    patients = list(dict.fromkeys(subject.visit(seed, number).patient for number in numbers))
    of_patient = {patient: _PARTS[place % len(_PARTS)] for place, patient in enumerate(patients)}
    return {number: of_patient[subject.visit(seed, number).patient] for number in numbers}


def side_of(study: PhantomStudy, name: str) -> Laterality | None:
    """Side of a finding that the study has."""
    return next(condition.side for condition in study.conditions if condition.name == name)


def day_of(study: PhantomStudy) -> str:
    """The study's date as ``YYYYMMDD``, the same as in its DICOM file."""
    return files.study_date(study.place.days)


def grey(study: PhantomStudy, bits: int = 8) -> npt.NDArray[np.unsignedinteger]:
    """The radiograph ``[H, W]`` in 8 or 16 bits, air dark."""
    kind = np.uint8 if bits <= 8 else np.uint16  # noqa: PLR2004 - the width of a byte
    return np.rint(np.clip(study.grey, 0, 1) * (2**bits - 1)).astype(kind)


def write_picture(path: Path, pixels: npt.NDArray[np.unsignedinteger]) -> None:
    """Write a PNG or a JPEG, as the name ends; folders are made."""
    import cv2

    path.parent.mkdir(parents=True, exist_ok=True)
    quality = [cv2.IMWRITE_JPEG_QUALITY, 95] if path.suffix == ".jpg" else []
    _, data = cv2.imencode(path.suffix, pixels, quality)
    path.write_bytes(data.tobytes())


def write_table(path: Path, rows: Sequence[Mapping[str, object]], columns: Sequence[str] | None = None) -> None:
    """Write a CSV, compressed where the name ends in ``.gz``; the same rows give the same bytes.

    Args:
        path: The file.
        rows: Column to cell; a column that a row lacks stays empty.
        columns: Their order; None: the first row's.
    """
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns or list(rows[0]), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    data = text.getvalue().encode()
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def _made(job: tuple[int, int, int]) -> PhantomStudy:
    return make_study(*job)
