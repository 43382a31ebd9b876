"""Which numbers a study has, and what they look like over the training set.

Shape legend: N studies, T targets.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from medmm.config.schema import Config
from medmm.errors import DataError
from medmm.types import Study

Floats = npt.NDArray[np.float64]
_LEAST = 2
"""Different numbers that a target needs to have a deviation."""


def columns_of(config: Config, targets: Sequence[str]) -> tuple[str, ...]:
    """The column of each target: that of its name, else, of data that call them otherwise, the one at its place."""
    given = config.data.columns.labels
    if len(given) != len(targets) or set(given) == set(targets):
        return tuple(targets)
    return given


def read_values(study: Study, columns: Sequence[str]) -> Floats:
    """Numbers of a study, float64 ``[T]``, NaN where it has none."""
    return np.array([study.values.get(column, np.nan) for column in columns], np.float64)


def measure(values_nt: Floats, columns: Sequence[str]) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each target, ``[T]`` each.

    Args:
        values_nt: ``[N, T]`` of the training studies, NaN where there is none.
        columns: The T columns, for errors.

    Raises:
        DataError: There is no column, or one holds no numbers or but one over and over.
    """
    where = "data.columns.label"
    if not columns:
        raise DataError("is not set", where=where, expected="columns of numbers", fix="Say which column holds them.")
    for column, values in zip(columns, values_nt.T, strict=True):
        numbers = values[np.isfinite(values)]
        got = f"'{column}' with a number in {len(numbers)} of {len(values)} training studies"
        if not len(numbers):
            fix = "Choose another column, or classification.kind=multilabel or single for names of classes."
            raise DataError("a column without numbers", where=where, got=got, expected="numbers, as 63.5", fix=fix)
        if len(np.unique(numbers)) < _LEAST:
            raise DataError("a column with one number alone", where=where, got=got, expected="different numbers")
    return np.nanmean(values_nt, axis=0), np.nanstd(values_nt, axis=0)
