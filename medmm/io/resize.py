"""Stretching to the size that a model needs."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from medmm.errors import UsageError

LARGEST_SIZE = 16384
"""Pixels along a side that may be asked for."""


def check_request(size: int | None, window: str | None) -> None:
    """Refuse a size or window that no reader knows.

    Raises:
        UsageError: ``size`` is no whole number from 1 to ``LARGEST_SIZE``; ``window`` is neither ``auto`` nor None.
    """
    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= LARGEST_SIZE):
        expected = f"None or a whole number from 1 to {LARGEST_SIZE}"
        raise UsageError("size must be the pixels along a side", got=repr(size), expected=expected)
    if window not in ("auto", None):
        raise UsageError("unknown window", got=repr(window), expected="'auto' or None")


def resize_area(plane: npt.NDArray[Any], size: int | None) -> npt.NDArray[np.float32]:
    """Stretch a plane to ``size`` x ``size`` pixels: the mean of the area that a pixel covers, linear where enlarged.

    Args:
        plane: ``[H, W]``, any real type.
        size: Pixels along each side; None leaves the size as it is.

    Returns:
        float32 ``[size, size]``, a copy of its own.
    """
    wide = plane.dtype.itemsize > 2 and plane.dtype != np.float32  # float32 would round before the mean is taken
    values: npt.NDArray[np.floating[Any]] = np.ascontiguousarray(plane, np.float64 if wide else np.float32)
    rows, columns = values.shape
    if size is not None and (rows, columns) != (size, size):
        import cv2

        smaller = (min(size, columns), min(size, rows))
        if smaller != (columns, rows):
            values = np.asarray(cv2.resize(values, smaller, interpolation=cv2.INTER_AREA))
        if smaller != (size, size):
            values = np.asarray(cv2.resize(values, (size, size), interpolation=cv2.INTER_LINEAR))
    with np.errstate(over="ignore"):  # a double beyond float32 becomes inf
        return values.astype(np.float32, copy=values.base is not None or values is plane)


def resized_spacing(spacing_mm: tuple[float, ...] | None, rows: int, columns: int, size: int | None) -> Any:
    """Spacing after :func:`resize_area`: the last two axes, rows and columns, now have ``size`` pixels."""
    if spacing_mm is None or size is None:
        return spacing_mm
    return (*spacing_mm[:-2], spacing_mm[-2] * rows / size, spacing_mm[-1] * columns / size)
