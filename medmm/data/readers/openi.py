"""Open-i's Indiana University chest X-rays: an XML file a report, in a folder or in ``NLMCXR_reports.tgz``.

Images are looked for in ``data.image_root``, else beside the reports, as ``<parentImage id>.png`` (the name in
``NLMCXR_png.tgz``), ``.jpg`` or ``.dcm``. The collection names no patients: every study is one of its own, under
a key that is the same everywhere, because its ids are public. Findings are those that annotators coded.
:mod:`medmm.data.readers._indiana` reads the same collection in its CSV form.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

from medmm.config.schema import DataConfig
from medmm.data.readers import _indiana
from medmm.data.readers._common import lone_patient_key
from medmm.data.readers._files import Presence, root_folder, source_path
from medmm.data.readers._mesh import coded_findings
from medmm.errors import DataError, Reason, StudyError
from medmm.reports.parse import OpeniReport, parse_openi_xml
from medmm.types import ImageRef, Rejection, Report, Study

_IMAGE_KINDS = (".png", ".jpg", ".jpeg", ".dcm")
_PNG = "NLMCXR_png"  # what the collection's archive of images unpacks to
_ARCHIVES = (".tgz", ".tar.gz", ".tar")
_LARGEST_XML = 4 << 20  # bytes; the collection's longest report has 30 kB
_ID = re.compile(r"[\w.\-]+")  # an image id that cannot lead out of its folder


def read(config: DataConfig) -> Iterator[Study | Rejection]:
    """Read studies from a folder of XML reports, from the published archive, without unpacking it, or the CSV pair.

    A report none of whose images is there is set aside, and so is an image in ``data.image_root`` that no report names.

    Raises:
        DataError: There is no such source, it holds no reports, or none of the images is there.
    """
    path = source_path(config.path)
    if (pair := _indiana.pair_of(path)) is not None:
        return _indiana.read(pair, config.image_root)
    if not path.is_dir() and not path.name.lower().endswith(_ARCHIVES):
        expected = "a folder of .xml reports, indiana_reports.csv or " + ", ".join(_ARCHIVES)
        raise DataError("not an Open-i source", where="data.path", got=f"'{path.suffix}'", expected=expected)
    beside = path if path.is_dir() else path.parent
    unpacked = next((one for one in (beside / _PNG, beside.parent / _PNG) if one.is_dir()), beside)
    root = root_folder(config.image_root, unpacked, "data.image_root")
    return _items(path, root, config.image_root is not None)


def texts(config: DataConfig) -> Iterator[tuple[str, Report]]:
    """Yield patient key and report of every report of the XML form, whether or not its images are there.

    Raises:
        DataError: There is no such source, or it holds no reports.
    """
    for _, data in _reports(source_path(config.path)):
        try:
            report = parse_openi_xml(data)
        except StudyError:
            continue
        yield lone_patient_key(report.uid, public=True), report.report


def _items(path: Path, root: Path, only_images: bool) -> Iterator[Study | Rejection]:
    presence = Presence("data.image_root")
    named: set[str] = set()
    for name, data in _reports(path):
        try:
            report = parse_openi_xml(data)
        except StudyError as error:
            yield Rejection(name, error.reason, str(error), path / name)
        else:
            named.update(report.image_ids)
            yield from _study(report, root, presence)
    presence.finish()
    if only_images:
        yield from _unnamed(root, named)


def _study(report: OpeniReport, root: Path, presence: Presence) -> Iterator[Study | Rejection]:
    images: list[ImageRef] = []
    for image_id in report.image_ids:
        path = _image_path(root, image_id)
        if fault := presence.check(path):
            yield Rejection(report.uid, fault[0], f"image: {fault[1]}", path)
        else:
            images.append(ImageRef(path=path, sop_uid=image_id))
    if not images:
        yield Rejection(report.uid, Reason.REPORT_WITHOUT_IMAGE, "a report, but none of the study's images")
        return
    key = lone_patient_key(report.uid, public=True)
    found = coded_findings(report.mesh_major)
    yield Study(study_id=report.uid, patient_key=key, images=tuple(images), report=report.report, findings=found)


def _image_path(root: Path, image_id: str) -> Path:
    safe = image_id if _ID.fullmatch(image_id) else "unsafe id"
    paths = [root / f"{safe}{kind}" for kind in _IMAGE_KINDS]
    return next((path for path in paths if path.is_file()), paths[0])


def _unnamed(root: Path, named: set[str]) -> Iterator[Rejection]:
    for path in sorted(root.iterdir()):
        if path.suffix.lower() in _IMAGE_KINDS and path.stem not in named:
            yield Rejection(path.stem, Reason.IMAGE_WITHOUT_REPORT, "no report names this image", path)


def _reports(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of each XML file: a folder's by name, an archive's in its order.

    Raises:
        DataError: There is none, or the archive breaks off.
    """
    empty = True
    for report in _folder(path) if path.is_dir() else _archive(path):
        empty = False
        yield report
    if empty:
        raise DataError("the source holds no report", where="data.path", expected=".xml files as Open-i publishes them")


def _folder(path: Path) -> Iterator[tuple[str, bytes]]:
    for file in sorted(path.rglob("*.xml"), key=_natural):
        yield str(file.relative_to(path)), _content(file)


def _archive(path: Path) -> Iterator[tuple[str, bytes]]:
    try:
        with tarfile.open(path, "r|*") as archive:
            for member in archive:
                if member.isreg() and member.name.lower().endswith(".xml"):
                    file = archive.extractfile(member)
                    small = file is not None and member.size <= _LARGEST_XML
                    yield member.name, file.read() if file is not None and small else b""
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DataError("the archive breaks off or is none", where="data.path", got=type(error).__name__) from error


def _content(file: Path) -> bytes:
    """A file's bytes; none, which the parser refuses, where it cannot be read or is far too long for a report."""
    try:
        return file.read_bytes() if file.is_file() and file.stat().st_size <= _LARGEST_XML else b""
    except OSError:
        return b""


def _natural(path: Path) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", str(path))]
