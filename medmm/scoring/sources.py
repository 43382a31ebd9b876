"""What lies in a folder to be scored: studies of DICOM files, or else one study a picture or volume."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from medmm.config.schema import DataConfig
from medmm.errors import DataError, ImageError, Reason
from medmm.io.dicom import read_header
from medmm.io.image import Format, sniff
from medmm.io.tree import walk
from medmm.scoring.lines import printable
from medmm.types import ImageRef, Rejection, Study

_DICOM_ENDINGS = (".dcm", ".dicom", ".dic", ".ima")
_OTHER_ENDINGS = (".png", ".jpg", ".jpeg", ".nii", ".nii.gz")
_NO_MATTER = frozenset(  # for scoring: what is said of reports, and of files that are no image
    {Reason.NOT_AN_IMAGE, Reason.REPORT_EMPTY, Reason.REPORT_SHARED, Reason.REPORT_SURPLUS, Reason.REPORT_UNREADABLE,
     Reason.REPORT_WITHOUT_IMAGE}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Listing:
    """Files of a folder.

    Attributes:
        root: The folder.
        dicom: Files that are DICOM by their name or content.
        other: PNG, JPEG and NIfTI files; they count only where there is no DICOM file.
        ignored: Number of files that are neither.
        is_file: Whether a single file was given, which is then the only one.
    """

    root: Path
    dicom: tuple[Path, ...]
    other: tuple[Path, ...]
    ignored: int
    is_file: bool = False

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
    dicom: list[Path] = []
    other: list[Path] = []
    for path in paths:
        is_dicom = _is_dicom(path)
        if is_dicom is not None:
            (dicom if is_dicom else other).append(path)
    if not dicom and not other:
        raise DataError(
            "there is no image to score",
            where="--input",
            got=f"{len(paths)} {'file' if len(paths) == 1 else 'files'}, none an image" if paths else "an empty folder",
            expected="DICOM, PNG, JPEG or NIfTI files",
            fix="Check --input.",
        )
    return Listing(
        root if root.is_dir() else root.parent, tuple(dicom), tuple(other), len(paths) - len(dicom) - len(other)
    )


def studies(listing: Listing) -> Iterator[Study | Rejection]:
    """Yield the studies of a listing: DICOM files by Study Instance UID, other files one by one.

    Reports that lie beside images play no part, and files of other kinds are passed over.

    Raises:
        DataError: None of the DICOM files can be read; each has been yielded as a rejection before.
    """
    if not listing.dicom:
        yield from (_lone_file(path, listing.root) for path in listing.other)
    elif listing.is_file:
        yield _lone_dicom(listing.dicom[0])
    else:
        from medmm.data.readers import dicom

        for found in dicom.read(DataConfig(reader="dicom", path=listing.root)):
            if isinstance(found, Study) or found.reason not in _NO_MATTER:
                yield found


def fingerprint(study: Study, root: Path) -> str:
    """Tell whether a study's files are the ones that were scored before, without reading them.

    Args:
        study: Its images lie under ``root``.
        root: Folder that is scored.

    Returns:
        16 hex digits of a SHA-256 over the images' places below ``root``, sizes and times of change.
    """
    digest = hashlib.sha256()
    for path in sorted(one for image in study.images for one in image.slices or (image.path,)):
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
    for folder, folders, files in walk(root):
        here = Path(folder)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and here / name != apart_from)
        yield from (here / name for name in sorted(files) if not name.startswith("."))


def _is_dicom(path: Path) -> bool | None:
    """Whether a file is DICOM, by its content, or by its name where it is broken; None for a file that is no image."""
    try:
        return sniff(path) is Format.DICOM
    except ImageError:
        name = path.name.lower()
        if name.endswith(_DICOM_ENDINGS):
            return True
        return False if name.endswith(_OTHER_ENDINGS) else None


def _lone_file(path: Path, root: Path) -> Study:
    place = _place(path, root)
    key = hashlib.sha256(place.encode()).hexdigest()[:32]  # nothing is known of the patient: each file is its own
    return Study(study_id=place, patient_key=key, images=(ImageRef(path=path, sop_uid=place),))


def _lone_dicom(path: Path) -> Study | Rejection:
    from medmm.data.readers.dicom import study_key

    try:
        header = read_header(path)
    except ImageError as error:
        return Rejection(printable(path.name), error.reason, error.detail, path)
    study_id = header.study_uid or header.series_uid or printable(path.name)
    if not header.has_pixels:
        return Rejection(study_id, Reason.NO_PIXELS, "an object without an image", path)
    image = ImageRef(path, header.sop_uid, header.series_uid, header.modality, header.view)
    return Study(study_id=study_id, patient_key=study_key(header.patient_id or "", study_id), images=(image,))
