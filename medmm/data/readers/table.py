"""Any CSV, TSV or Parquet file whose rows name images and reports.

Every row is a study, or, with ``data.columns.study``, a view of one; the rows of a study need not stand together. Where
rows bring questions, those of one image are a study without being told.
Columns named ``sex`` and ``age`` are read too. Without ``data.columns.patient`` every study is its own patient.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from medmm.config.schema import DataConfig
from medmm.data.readers._common import age_band, lone_patient_key, patient_key, sex_code, split_name
from medmm.data.readers._files import Presence, fault, report_from, root_folder, source_path
from medmm.data.readers._grouping import Groups
from medmm.data.readers._rows import Row, Table, open_table
from medmm.errors import DataError, Reason
from medmm.types import Finding, ImageRef, Rejection, Report, Status, Study

_SHOWN_VALUES = 20
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.ASCII | re.IGNORECASE)
_PERSONAL = ("image", "report", "patient", "study", "mask", "question", "answer")  # never listed in an error


def read(config: DataConfig) -> Iterator[Study | Rejection]:
    """Read studies from a table.

    A row whose image is missing, a report file that cannot be read or a split of another name is set aside; a study
    without report is yielded without one, and an empty cell set aside as a report without text.

    Raises:
        DataError: There is no such table or root, a column does not exist, no row matches ``data.where``, or none of
            the images is there.
    """
    path = source_path(config.path)
    table = open_table(path, "data.path")
    table.require(_wanted(config))
    if config.columns.image is None:
        expected, fix = table.listed(), "Say which column holds the image files."
        raise DataError("is not set", where="data.columns.image", expected=expected, fix=fix)
    if (config.columns.question is None) != (config.columns.answer is None):
        lacking = "question" if config.columns.question is None else "answer"
        fix = "Questions and answers need a column each."
        raise DataError("is not set", where=f"data.columns.{lacking}", expected=table.listed(), fix=fix)
    images = root_folder(config.image_root, path.parent, "data.image_root")
    masks = images if config.mask_root is None else root_folder(config.mask_root, path.parent, "data.mask_root")
    return _Reading(config, table, images, masks, Presence("data.image_root")).items()


def _wanted(config: DataConfig) -> dict[str, str]:
    single = config.columns.model_dump(exclude={"label"})
    columns = {f"data.columns.{key}": name for key, name in single.items() if name is not None}
    for place, name in enumerate(config.columns.labels):
        columns[f"data.columns.label[{place}]" if place else "data.columns.label"] = name
    return columns | {f"data.where.{name}": name for name in config.where}


@dataclass(frozen=True, slots=True)
class _Reading:
    config: DataConfig
    table: Table
    images: Path
    masks: Path
    presence: Presence

    def items(self) -> Iterator[Study | Rejection]:
        """Yield a study a group of rows, and what had to be set aside."""
        if not self._gathers:
            for study_id, rows in self._single_rows():
                yield from self._study(study_id, rows) if rows else [_too_wide(study_id)]
        else:
            with Groups() as groups:
                yield from self._gather(groups)
                for study_id, rows in groups:
                    yield from self._study(study_id, rows)
        self.presence.finish()

    def _matching(self) -> Iterator[tuple[int, Row | None, bool]]:
        """Yield row number, row and whether it matches ``data.where``.

        Raises:
            DataError: No row matches, or there is none.
        """
        filters = _Filter(self.config, self.table)
        needed = [*_wanted(self.config).values(), *self._named("sex", "age")]
        number = 0
        answers = () if self.config.columns.answer is None else (self.config.columns.answer,)
        for number, row in self.table.rows(needed, literal=answers):
            yield number, row, row is not None and filters.match(row)
        if number == 0:
            raise DataError("the table has no rows", where="data.path", expected="a row a study or a view")
        filters.finish()

    def _single_rows(self) -> Iterator[tuple[str, list[Row]]]:
        """Yield a study id and its row: the image's name at its first appearance in the table, later with the row's
        number, so that an id does not depend on ``data.where``.
        """  # noqa: D205
        seen: set[str] = set()
        image = str(self.config.columns.image)
        for number, row, matches in self._matching():
            if row is None:
                yield f"row {number}", []
                continue
            name = row[image]
            study_id = name if name and name not in seen else f"{name}#{number}"
            seen.add(name)
            if matches:
                yield study_id, [row]

    @property
    def _gathers(self) -> bool:
        """Whether several rows may be a study: where a column says so, or where an image has a row a question."""
        return self.config.columns.study is not None or self.config.columns.question is not None

    def _gather(self, groups: Groups) -> Iterator[Rejection]:
        columns = self.config.columns
        column, what = (columns.study, "study id") if columns.study else (str(columns.image), "image")
        parts: dict[str, str] = {}
        for number, row, matches in self._matching():
            if row is None:
                yield _too_wide(f"row {number}")
            elif matches and row[column]:
                part = row[columns.split] if columns.split and not columns.study else ""
                is_other = parts.setdefault(row[column], part) != part  # an image whose questions stand in two splits
                groups.add(f"{row[column]}#{part}" if is_other else row[column], row)
            elif matches:
                yield Rejection(f"row {number}", Reason.ROW_INVALID, f"row {number} has no {what}")

    def _named(self, *names: str) -> list[str]:
        return [column for name in names for column in self.table.alike(name)]

    def _study(self, study_id: str, rows: Sequence[Row]) -> Iterator[Study | Rejection]:
        columns = self.config.columns
        patients = _values(rows, columns.patient)
        splits = list({split_name(word) for word in _values(rows, columns.split)})
        if len(patients) > 1:
            yield Rejection(study_id, Reason.ROW_INVALID, "the study's rows name different patients")
            return
        split = splits[0] if len(splits) == 1 else None
        if splits and split is None:
            got = "its rows name several splits" if len(splits) > 1 else "its split is neither train, val nor test"
            yield Rejection(study_id, Reason.SPLIT_UNKNOWN, got)
            return
        images: list[ImageRef] = []
        yield from self._images(study_id, rows, images)
        reports: list[Report] = []
        yield from self._reports(study_id, rows, reports)
        if not images:
            if reports:
                yield Rejection(study_id, Reason.REPORT_WITHOUT_IMAGE, "a report, but none of the study's images")
            return
        if columns.question is not None and (lacking := _unanswered(rows, columns.question, str(columns.answer))):
            yield Rejection(study_id, Reason.ROW_INVALID, f"{lacking} rows lack a question or its answer")
        if columns.report is not None and not _values(rows, columns.report):
            yield Rejection(study_id, Reason.REPORT_EMPTY, "the study's rows hold no report")
        masks: dict[str, Path] = {}
        yield from self._masks(study_id, rows, masks)
        yield Study(
            study_id=study_id,
            patient_key=patient_key(patients[0]) if patients else lone_patient_key(self._lone(study_id, rows)),
            images=tuple(images),
            report=reports[0] if reports else None,
            findings={
                _snake(name): Finding(Status.PRESENT) for label in columns.labels for name in _values(rows, label)
            },
            masks=masks,
            questions=_questions(rows, columns.question, columns.answer),
            sex=sex_code(self._first(rows, "sex")),
            age_band=age_band(self._first(rows, "age")),
            split=split,
            values=_numbers(rows, columns.labels),
        )

    def _lone(self, study_id: str, rows: Sequence[Row]) -> str:
        """What stands for a patient who is not known: the study, or the image where rows are gathered by that."""
        return rows[0][str(self.config.columns.image)] if self._gathers and not self.config.columns.study else study_id

    def _first(self, rows: Sequence[Row], name: str) -> str | None:
        return next((value for column in self._named(name) for value in _values(rows, column)), None)

    def _images(self, study_id: str, rows: Sequence[Row], images: list[ImageRef]) -> Iterator[Rejection]:
        """Fill ``images``; yield what is no image."""
        column, view = str(self.config.columns.image), self.config.columns.view
        named = {row[column]: row for row in reversed(rows) if row[column]}
        for name, row in reversed(named.items()):
            path = self.images / name
            if found := self.presence.check(path):
                yield Rejection(study_id, found[0], f"image: {found[1]}", path)
            else:
                images.append(ImageRef(path=path, sop_uid=name, view=(row[view] or None) if view else None))
        if not named and not _values(rows, self.config.columns.report):
            yield Rejection(study_id, Reason.FILE_MISSING, "no image is named")

    def _reports(self, study_id: str, rows: Sequence[Row], reports: list[Report]) -> Iterator[Rejection]:
        """Fill ``reports`` with at most one; yield what is no report and what is one too many."""
        for number, text in enumerate(_values(rows, self.config.columns.report)):
            if number:
                yield Rejection(
                    study_id, Reason.REPORT_SURPLUS, "the study's rows hold several reports; the first counts"
                )
                return
            found = report_from(text, (self.table.path.parent, self.images, Path.cwd()), study_id)
            if isinstance(found, Report):
                reports.append(found)
            else:
                yield found

    def _masks(self, study_id: str, rows: Sequence[Row], masks: dict[str, Path]) -> Iterator[Rejection]:
        """Fill ``masks``, named ``mask``, ``mask_2``, ...; yield what is no mask."""
        for name in _values(rows, self.config.columns.mask):
            path = self.masks / name
            if found := fault(path):
                yield Rejection(study_id, found[0], f"mask: {found[1]}", path)
            else:
                masks[f"mask_{len(masks) + 1}" if masks else "mask"] = path


class _Filter:
    """``data.where``, with the values that were met, to say what exists when nothing matches."""

    def __init__(self, config: DataConfig, table: Table) -> None:
        self._where = {
            column: tuple(one.strip() for one in ((value,) if isinstance(value, str) else value))
            for column, value in config.where.items()
        }
        columns = config.columns.model_dump()
        personal = {table.column(columns[key]) for key in _PERSONAL if columns[key] is not None}
        self._secret = {column for column in self._where if table.column(column) in personal}
        self._values: dict[str, dict[str, None]] = {column: {} for column in self._where}
        self._matched = False

    def match(self, row: Row) -> bool:
        """Whether every column has its value, or one of its values."""
        if not self._matched:
            for column, values in self._values.items():
                if len(values) <= _SHOWN_VALUES or row[column] in self._where[column]:
                    values[row[column]] = None
        matches = all(row[column] in allowed for column, allowed in self._where.items())
        self._matched |= matches
        return matches

    def finish(self) -> None:
        """Call after the last row.

        Raises:
            DataError: No row matched.
        """
        if self._matched:
            return
        never = [column for column, allowed in self._where.items() if not set(allowed) & set(self._values[column])]
        got = ", ".join(f"data.where.{column}={' | '.join(self._where[column])}" for column in never or self._where)
        if not never:
            raise DataError("no row has all of these values together", where="data.where", got=got)
        expected = "; ".join(f"{column}: {self._shown(column)}" for column in never)
        raise DataError("no row has this value", where="data.where", got=got, expected=expected)

    def _shown(self, column: str) -> str:
        values = [value for value in self._values[column] if value]
        if column in self._secret or len(values) > _SHOWN_VALUES or any(len(value) > 40 for value in values):
            return "another of its many values"
        return " | ".join(sorted(values)) or "nothing but empty cells"


def _values(rows: Sequence[Row], column: str | None) -> list[str]:
    """Distinct cells of a column that are not empty, in their order."""
    return [] if column is None else list(dict.fromkeys(row[column] for row in rows if row[column]))


def _numbers(rows: Sequence[Row], columns: Sequence[str]) -> dict[str, float]:
    """Column to its number, without those whose cells hold no finite number, or several."""
    found = {}
    for column in columns:
        numbers = {float(text) if _NUMBER.fullmatch(text) else math.nan for text in _values(rows, column)}
        if len(numbers) == 1 and math.isfinite(number := numbers.pop()):
            found[column] = number
    return found


def _questions(rows: Sequence[Row], question: str | None, answer: str | None) -> tuple[tuple[str, str], ...]:
    if question is None or answer is None:
        return ()
    return tuple(dict.fromkeys((row[question], row[answer]) for row in rows if row[question] and row[answer]))


def _unanswered(rows: Sequence[Row], question: str, answer: str) -> int:
    return sum(bool(row[question]) != bool(row[answer]) for row in rows)


def _snake(name: str) -> str:
    return re.sub(r"\W+", "_", name.lower()).strip("_")


def _too_wide(study_id: str) -> Rejection:
    return Rejection(study_id, Reason.ROW_INVALID, f"{study_id} has more fields than the table has columns")
