"""What lies in a folder to be scored: studies of DICOM files, or else one study a picture or volume."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from medmm.config.schema import DataConfig
from medmm.errors import DataError
from medmm.scoring.lines import printable
from medmm.types import ImageRef, Rejection, Study

_DICOM_ENDINGS = (".dcm", ".dicom", ".dic", ".ima")
_OTHER_ENDINGS = (".png", ".jpg", ".jpeg", ".nii", ".nii.gz")
_MAGIC, _PREAMBLE = b"DICM", 128  # PS3.10 7.1


@dataclass(frozen=True, slots=True)
class Listing:
    """Files of a folder.

    Attributes:
        root: The folder.
        dicom: Files that are DICOM by their name or content.
        other: PNG, JPEG and NIfTI files; they count only where there is no DICOM file.
        ignored: Number of files that are neither.
    """

    root: Path
    dicom: tuple[Path, ...]
    other: tuple[Path, ...]
    ignored: int

    @property
    def files(self) -> tuple[Path, ...]:
        """What is scored: the DICOM files, or else the other ones."""
        return self.dicom or self.other

    @property
    def left_out(self) -> int:
        """Number of files that are not scored."""
        return self.ignored + (len(self.other) if self.dicom else 0)

    def hash(self) -> str:
        """SHA-256 over the place, size and time of change of each file that is scored."""
        digest = hashlib.sha256()
        for path in self.files:
            digest.update(_stamp(path, self.root))
        return digest.hexdigest()


def list_files(folder: Path, apart_from: Path | None = None) -> Listing:
    """List what can be scored in a folder and the folders below it; hidden ones are passed over.

    Args:
        folder: The folder, or a single file.
        apart_from: A folder that is not entered, such as the output.

    Raises:
        DataError: There is no such folder, it is empty, or holds no image.
    """
    root = folder.expanduser().resolve()
    if not root.exists():
        raise DataError("there is no such folder", where="--input", got=f"'{folder}'")
    paths = [root] if root.is_file() else list(_walk(root, None if apart_from is None else apart_from.resolve()))
    dicom, other = [], []
    for path in paths:
        if _is_dicom(path):
            dicom.append(path)
        elif path.name.lower().endswith(_OTHER_ENDINGS):
            other.append(path)
    if not dicom and not other:
        raise DataError(
            "there is no image to score",
            where="--input",
            got=f"{len(paths)} files, none of them an image" if paths else "an empty folder",
            expected="DICOM, PNG, JPEG or NIfTI files",
            fix="Check --input.",
        )
    return Listing(
        root if root.is_dir() else root.parent, tuple(dicom), tuple(other), len(paths) - len(dicom) - len(other)
    )


def studies(listing: Listing) -> Iterator[Study | Rejection]:
    """Yield the studies of a listing: DICOM files by Study Instance UID, other files one by one."""
    if not listing.dicom:
        yield from (_single(path, listing.root) for path in listing.other)
        return
    from medmm.data.readers import dicom

    yield from dicom.read(DataConfig(reader="dicom", path=listing.root))


def fingerprint(study: Study, root: Path) -> str:
    """Tell whether a study's files are the ones that were scored before, without reading them.

    Args:
        study: Its images lie under ``root``.
        root: Folder that is scored.

    Returns:
        16 hex digits of a SHA-256 over the images' places below ``root``, sizes and times of change.
    """
    digest = hashlib.sha256()
    for path in sorted(image.path for image in study.images):
        digest.update(_stamp(path, root))
    return digest.hexdigest()[:16]


def _stamp(path: Path, root: Path) -> bytes:
    """One line with a file's place below ``root``, its size and its time of change; both are 0 if it has gone."""
    try:
        status = path.stat()
        size, changed = status.st_size, status.st_mtime_ns
    except OSError:
        size, changed = 0, 0
    return f"{_place(path, root)}\0{size}\0{changed}\n".encode()


def _place(path: Path, root: Path) -> str:
    return printable(os.path.relpath(path, root).replace(os.sep, "/"))


def _walk(root: Path, apart_from: Path | None) -> Iterator[Path]:
    for folder, folders, files in os.walk(root):
        here = Path(folder)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and here / name != apart_from)
        yield from (here / name for name in sorted(files) if not name.startswith("."))


def _is_dicom(path: Path) -> bool:
    name = path.name.lower()
    if name.endswith(_DICOM_ENDINGS):
        return True
    if name.endswith(_OTHER_ENDINGS):
        return False
    try:
        with path.open("rb") as file:
            file.seek(_PREAMBLE)
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def _single(path: Path, root: Path) -> Study:
    place = _place(path, root)
    key = hashlib.sha256(place.encode()).hexdigest()[:32]  # nothing is known of the patient: each file is its own
    return Study(study_id=place, patient_key=key, images=(ImageRef(path=path, sop_uid=place),))
