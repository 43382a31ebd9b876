"""Filling polygons in pixel space, exactly: a pixel belongs to a polygon if its centre lies inside."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from medmm.errors import ImageError, Reason

_DECIMALS = 5
"""Coordinates are rounded to 1e-5 pixels, so that a vertex meant to lie on a pixel's centre does."""
_MOST_CROSSINGS = 1 << 28
_AT_ONCE = 1 << 22


def fill(polygons: Sequence[npt.NDArray[np.float64]], rows: int, columns: int) -> npt.NDArray[np.bool_]:
    """Fill closed polygons by the even-odd rule.

    A pixel is inside if its centre, at whole coordinates, is enclosed by an odd number of polygons: a polygon within
    another one is a hole, and the two coincident sides of a keyhole cancel out. A centre that lies on a side counts as
    inside at the left and upper side of an area and as outside at its right and lower side, so that polygons which
    share a side share no pixel.

    Args:
        polygons: Each ``[N, 2]``: row and column of its corners; the last one is joined to the first.
        rows: Height of the result.
        columns: Its width.

    Returns:
        ``[rows, columns]``, True inside.

    Raises:
        ImageError: ``TOO_LARGE``: the sides cross too many rows.
    """
    start, end = _sides(polygons)
    counts = np.zeros((rows, columns + 1), np.uint8)  # odd or even is all that matters, so they may wrap
    low = np.clip(np.ceil(start[:, 0]), 0, rows).astype(np.int64)
    crossed = np.clip(np.ceil(end[:, 0]), 0, rows).astype(np.int64) - low
    total = int(crossed.sum())
    if total > _MOST_CROSSINGS:
        limit = f"at most {_MOST_CROSSINGS:,}"
        what = "contours with too many sides"
        raise ImageError(Reason.TOO_LARGE, what, where="contours", got=f"{total:,} rows crossed", expected=limit)
    bounds = np.searchsorted(np.cumsum(crossed), np.arange(_AT_ONCE, total, _AT_ONCE))
    for part in np.split(np.arange(len(start)), np.unique(bounds)):
        _count(counts, start[part], end[part], low[part], crossed[part])
    return np.asarray(np.cumsum(counts, axis=1, dtype=np.uint8)[:, :columns] % 2 == 1)


def _sides(polygons: Sequence[npt.NDArray[np.float64]]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Upper and lower ends of all sides: the same two ends give the same numbers, whichever way a side runs."""
    corners = [np.round(one, _DECIMALS) for one in polygons]
    first = np.concatenate([np.zeros((0, 2)), *corners])
    second = np.concatenate([np.zeros((0, 2)), *(np.roll(one, -1, axis=0) for one in corners)])
    swapped = (first[:, 0] > second[:, 0])[:, None]
    return np.where(swapped, second, first), np.where(swapped, first, second)


def _count(
    counts: npt.NDArray[np.uint8],
    start: npt.NDArray[np.float64],
    end: npt.NDArray[np.float64],
    low: npt.NDArray[np.int64],
    crossed: npt.NDArray[np.int64],
) -> None:
    """Count for each row which sides cross its line, at the first pixel whose centre is not left of the crossing.

    A side crosses the lines of the rows in [start, end): a corner on a line is counted once.
    """
    side = np.repeat(np.arange(len(start)), crossed)
    row = np.arange(len(side)) - np.repeat(np.cumsum(crossed) - crossed, crossed) + low[side]
    upper, lower = start[side], end[side]
    part = (row - upper[:, 0]) / (lower[:, 0] - upper[:, 0])
    crossing = np.round(upper[:, 1] + part * (lower[:, 1] - upper[:, 1]), _DECIMALS)
    column = np.clip(np.ceil(crossing), 0, counts.shape[1] - 1).astype(np.int64)
    np.add.at(counts, (row, column), 1)
