"""Which studies of an archive a search is about: by modality, view, finding and day."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medmm.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa

Rows = npt.NDArray[np.bool_]
_NAMED = 8  # values that an error lists


@dataclass(frozen=True, slots=True)
class StudyFilter:
    """What studies must have to be found; None asks for nothing.

    Attributes:
        modality: DICOM modality.
        view: One of the study's views has this name.
        finding: The study's report or labels call it present.
        after: Days since the patient's first study are more than this.
        before: They are fewer than this.
    """

    modality: str | None = None
    view: str | None = None
    finding: str | None = None
    after: int | None = None
    before: int | None = None

    def passing(self, table: pa.Table) -> Rows | None:
        """Which rows of an archive pass, bool ``[N]``; None where nothing is asked for.

        Capital letters count in no name; in findings, spaces stand for underscores.

        Raises:
            UsageError: No study passes, with what there is instead.
        """
        passed = [
            *self._by_name(table, "modality", self.modality),
            *self._by_name(table, "views", self.view, "--view"),
            *self._by_name(table, "findings", self.finding and "_".join(self.finding.split()), "--finding"),
            *self._by_day(table),
        ]
        if not passed:
            return None
        rows = np.logical_and.reduce(passed)
        if not rows.any():
            got = f"{len(passed)} filters that leave nothing together"
            raise UsageError("no study of the archive passes", where="--index", got=got, fix="Leave one of them out.")
        return rows

    @staticmethod
    def _by_name(table: pa.Table, column: str, name: str | None, where: str = "--modality") -> list[Rows]:
        if name is None:
            return []
        places, values = _named(table.column(column))
        lowered = np.array([value.lower() for value in values], dtype=object)
        rows = np.zeros(table.num_rows, dtype=bool)
        rows[places[lowered[: len(values)] == name.lower()]] = True
        if rows.any():
            return [rows]
        raise UsageError(
            "no study of the archive passes",
            where=where,
            got=f"'{name}'",
            expected=_choices(values),
            fix=_near(name, values),
        )

    def _by_day(self, table: pa.Table) -> list[Rows]:
        bounds = [("--after", self.after, np.greater), ("--before", self.before, np.less)]
        if self.after is None and self.before is None:
            return []
        days = table.column("days").to_numpy(zero_copy_only=False).astype(np.float64)  # NaN where unknown
        known = days[~np.isnan(days)]
        passed: list[Rows] = []
        for where, bound, compare in bounds:
            if bound is None:
                continue
            rows: Rows = compare(days, bound)
            if not rows.any():
                span = f"{known.min():.0f} to {known.max():.0f} days" if len(known) else "studies whose day is known"
                raise UsageError("no study of the archive passes", where=where, got=bound, expected=span)
            passed.append(rows)
        return passed


def _named(column: Any) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Names in a column and the rows that they stand in; a row of a list has several."""
    import pyarrow as pa
    import pyarrow.compute as pc

    joined = column.combine_chunks()
    if pa.types.is_list(joined.type):
        places, values = pc.list_parent_indices(joined), pc.list_flatten(joined)
        if pa.types.is_struct(values.type):
            values = pc.struct_field(values, "name")
    else:
        places, values = pa.array(range(len(joined))), joined
    there = pc.is_valid(values)
    return places.filter(there).to_numpy().astype(np.int64), values.filter(there).to_pylist()


def _choices(values: Iterable[str]) -> str:
    names = sorted(set(values))
    more = f" | and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return " | ".join(names[:_NAMED]) + more if names else "an archive that says it of its studies"


def _near(name: str, values: Iterable[str]) -> str | None:
    near = difflib.get_close_matches(name.lower(), set(values), n=1)
    return f"Did you mean '{near[0]}'?" if near else None
