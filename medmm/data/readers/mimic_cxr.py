"""MIMIC-CXR and MIMIC-CXR-JPG: ``files/p10/p10000032/s50414267.txt`` and, beside it, a folder of DICOM or JPEG images.

``data.path`` holds ``files``; ``data.image_root`` may name a second such tree with the images, as the two collections
come apart. The tables ``mimic-cxr-2.0.0-{metadata,split,chexpert,negbio}.csv.gz`` are used where they lie in one of
the two; without them the folders alone are read. Patients are read one after the other, so memory does not grow with
the images.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from medmm.config.schema import DataConfig
from medmm.data.readers._common import patient_key, timelines
from medmm.data.readers._files import fault, file_id, report_at, root_folder, source_path
from medmm.data.readers._mimic_tables import Facts, Tables
from medmm.errors import DataError, Reason, StudyError
from medmm.types import ImageRef, Rejection, Report, Study

_KINDS = (".dcm", ".jpg", ".jpeg", ".png")  # the first counts where an image lies in several forms
_GROUP, _PATIENT, _STUDY = re.compile(r"p\d\d"), re.compile(r"p\d{3,}"), re.compile(r"s\d+")
_EXPECTED = "files/p10/p10000032/s50414267.txt and images in files/p10/p10000032/s50414267"


def read(config: DataConfig) -> Iterator[Study | Rejection]:
    """Read studies from the collection's folders.

    A study's images are those in its folder; one that the metadata name and that is not there is set aside, and so are
    a report without images, a study that the tables name and of which no file is there, and, where the official split
    is there, a study without one. A study without report is yielded without.

    Raises:
        DataError: There is no such folder, it holds no study or no image, or a table cannot be used.
    """
    path = source_path(config.path)
    if not path.is_dir():
        what = "is a file, not the collection's folder"
        raise DataError(what, where="data.path", got=f"'{path.suffix}'", expected=_EXPECTED)
    folders = [path]
    if config.image_root is not None:
        folders.insert(0, root_folder(config.image_root, path, "data.image_root"))
    roots = [folder / "files" if (folder / "files").is_dir() else folder for folder in folders]
    if not any(_named(root, _GROUP) for root in roots):
        raise DataError("the folder holds no patients", where="data.path", expected=_EXPECTED)
    beside = [root.parent for root in roots if root.name == "files"]
    return _Reading(roots, Tables([*folders, *beside])).items()


@dataclass(slots=True)
class _Place:
    """Where a study's files lie: the report, and image id to file."""

    report: Path | None = None
    images: dict[str, Path] = field(default_factory=dict)


@dataclass(slots=True)
class _Reading:
    roots: Sequence[Path]
    tables: Tables
    _images: int = 0

    def items(self) -> Iterator[Study | Rejection]:
        """Yield studies patient by patient, by number, and what had to be set aside."""
        yield from self.tables.load()
        seen: set[str] = set()
        for patient, folders in _patients(self.roots):
            places: dict[str, _Place] = {}
            yield from _gather(folders, places)
            seen.update(places)
            yield from self._patient(patient, places)
        if not seen:
            raise DataError("the folder holds no study", where="data.path", expected=_EXPECTED)
        if not self._images:
            got, fix = f"{len(seen)} studies", "Set data.image_root to the folder with the images."
            raise DataError("no study has an image", where="data.path", got=got, expected=_EXPECTED, fix=fix)
        for study_id in self.tables.studies:
            if study_id not in seen:
                detail = "the tables name the study; neither report nor image is there"
                yield Rejection(study_id, Reason.FILE_MISSING, detail)

    def _patient(self, patient: str, places: dict[str, _Place]) -> Iterator[Study | Rejection]:
        key = patient_key(patient.removeprefix("p"))
        studies: dict[str, list[ImageRef]] = {}
        days: list[tuple[str, str, date | None]] = []
        for study_id, place in sorted(places.items()):
            facts = self.tables.studies.get(study_id) or Facts()
            images: list[ImageRef] = []
            read_days: list[date] = []
            yield from self._pictures(study_id, place, facts, images, read_days)
            if images:
                studies[study_id] = images
                days.append((key, study_id, facts.day or (read_days[0] if read_days else None)))
            elif place.report is not None:
                detail = "a report, but none of the study's images"
                yield Rejection(study_id, Reason.REPORT_WITHOUT_IMAGE, detail, place.report)
            elif not place.images:
                yield Rejection(study_id, Reason.FILE_MISSING, "the study's folder holds no image")
        placed = timelines(days)
        for study_id, images in studies.items():
            yield from self._study(study_id, key, images, places[study_id], placed[study_id])

    def _pictures(
        self, study_id: str, place: _Place, facts: Facts, images: list[ImageRef], days: list[date]
    ) -> Iterator[Rejection]:
        """Fill ``images`` and, where no table says them, ``days``; yield what is no image."""
        self._images += len(place.images)
        if place.images:
            for name in sorted(facts.shots.keys() - place.images.keys()):
                other = next(iter(place.images.values()))
                path = other.with_name(f"{name}{other.suffix}")
                yield Rejection(study_id, Reason.FILE_MISSING, "image: the metadata name it, it is not there", path)
        for name, path in sorted(place.images.items()):
            if found := fault(path):
                yield Rejection(study_id, found[0], f"image: {found[1]}", path)
                continue
            shot = facts.shots.get(name)
            if shot is not None:
                view, rows, columns = shot.view, shot.rows, shot.columns
                images.append(ImageRef(path=path, sop_uid=name, view=view, rows=rows, columns=columns))
            elif path.suffix.lower() == ".dcm":
                yield from _from_header(study_id, name, path, images, days)
            else:
                images.append(ImageRef(path=path, sop_uid=name))

    def _study(
        self,
        study_id: str,
        key: str,
        images: list[ImageRef],
        place: _Place,
        placed: tuple[int | None, tuple[str, ...]],
    ) -> Iterator[Study | Rejection]:
        facts = self.tables.studies.get(study_id) or Facts()
        split = facts.splits[0] if len(facts.splits) == 1 else None
        if self.tables.has_split and split is None:
            detail = "the official split puts it nowhere" if not facts.splits else "its split is no single known one"
            yield Rejection(study_id, Reason.SPLIT_UNKNOWN, detail)
            return
        report: Report | Rejection | None = None
        if place.report is None:
            folder = images[0].path.parent
            path = folder.with_name(f"{study_id}.txt")
            yield Rejection(study_id, Reason.FILE_MISSING, "report: there is no such file", path)
        else:
            report = report_at(place.report, study_id)
        if isinstance(report, Rejection):
            yield report
            report = None
        yield Study(
            study_id=study_id,
            patient_key=key,
            images=tuple(images),
            report=report,
            findings=facts.findings,
            days=placed[0],
            priors=placed[1],
            split=split,
        )


def _from_header(study_id: str, name: str, path: Path, images: list[ImageRef], days: list[date]) -> Iterator[Rejection]:
    """Take an image as its DICOM header describes it, where no table does."""
    from medmm.io.dicom import read_header

    try:
        header = read_header(path)
    except StudyError as error:
        yield Rejection(study_id, error.reason, str(error), path)
        return
    if header.rows is None or not header.has_pixels:
        yield Rejection(study_id, Reason.NO_PIXELS, f"an object without an image ({header.modality})", path)
        return
    if header.study_date is not None:
        days.append(header.study_date)
    images.append(
        ImageRef(
            path=path,
            sop_uid=name,
            series_uid=header.series_uid,
            modality=header.modality,
            view=header.view,
            laterality=header.laterality,
            rows=header.rows,
            columns=header.columns,
            frames=header.frames or 1,
            spacing_mm=header.spacing_mm,
        )
    )


def _patients(roots: Sequence[Path]) -> Iterator[tuple[str, list[Path]]]:
    """Yield each patient with the folders that hold its studies, in the order of the roots."""
    for group in sorted({name for root in roots for name in _named(root, _GROUP)}):
        inside = [root / group for root in roots]
        for patient in sorted({name for folder in inside for name in _named(folder, _PATIENT)}):
            yield patient, [folder / patient for folder in inside if (folder / patient).is_dir()]


def _named(folder: Path, pattern: re.Pattern[str]) -> list[str]:
    if not folder.is_dir():
        return []
    return [entry.name for entry in os.scandir(folder) if pattern.fullmatch(entry.name) and entry.is_dir()]


def _gather(folders: Sequence[Path], places: dict[str, _Place]) -> Iterator[Rejection]:
    """Fill ``places`` with the studies of a patient; yield folders that cannot be listed."""
    for folder in folders:
        try:
            for entry in os.scandir(folder):
                stem, suffix = os.path.splitext(entry.name)
                if suffix == ".txt" and _STUDY.fullmatch(stem):
                    place = places.setdefault(stem, _Place())
                    place.report = place.report or Path(entry.path)
                elif not suffix and _STUDY.fullmatch(stem) and entry.is_dir():
                    _add_images(Path(entry.path), places.setdefault(stem, _Place()))
        except OSError:
            yield Rejection(file_id(folder), Reason.FILE_UNREADABLE, "the folder cannot be listed", folder)


def _add_images(folder: Path, place: _Place) -> None:
    """Note the folder's images; what an earlier root has stays."""
    found: dict[str, Path] = {}
    for entry in os.scandir(folder):
        stem, suffix = os.path.splitext(entry.name)
        if suffix.lower() in _KINDS:
            path = Path(entry.path)
            other = found.get(stem)
            if other is None or _KINDS.index(suffix.lower()) < _KINDS.index(other.suffix.lower()):
                found[stem] = path
    place.images = found | place.images
