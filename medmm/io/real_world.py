"""Real World Value Mapping: stored values as a physical quantity (PS3.3 C.7.6.16.2.11).

It stands beside the greyscale pipeline and is no part of it: windows count in values after the modality LUT.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medmm.errors import ImageError
from medmm.io import elements

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

MAPPINGS = 0x00409096
_FIRST, _LAST, _DOUBLE_FIRST, _DOUBLE_LAST = 0x00409216, 0x00409211, 0x00409214, 0x00409213
_INTERCEPT, _SLOPE, _ENTRIES = 0x00409224, 0x00409225, 0x00409212
_LARGEST = 1e20
"""Bound of slope, intercept and entries: beyond it 32-bit samples leave the range of float32."""
_UNITS, _CODE_VALUE = 0x004008EA, 0x00080100


@dataclass(frozen=True, slots=True)
class Piece:
    """The mapping of a range of stored values.

    Attributes:
        first, last: Least and largest stored value that is mapped.
        slope, intercept: Of the line; without meaning where there are entries.
        entries: Real-world values of ``first``, ``first + 1``, ...; float64 ``[N]``, None for a line.
        units: Code of the units, None where it is not given.
    """

    first: float
    last: float
    slope: float
    intercept: float
    entries: npt.NDArray[np.float64] | None
    units: str | None

    def apply(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Real-world values of any shape; beyond a table's ends its end is taken, a line goes on."""
        if self.entries is None:
            return values * self.slope + self.intercept
        return self.entries[np.clip(values.astype(np.int64) - int(self.first), 0, len(self.entries) - 1)]


@dataclass(frozen=True, slots=True)
class Mapping:
    """The real-world values of a frame: one piece, or several of the same units beside each other."""

    pieces: tuple[Piece, ...]

    @property
    def line(self) -> tuple[float, float] | None:
        """Slope and intercept, where that is all."""
        only = self.pieces[0]
        return (only.slope, only.intercept) if len(self.pieces) == 1 and only.entries is None else None

    def apply(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Real-world values of stored values; the first piece stands for values that no piece maps."""
        mapped = self.pieces[0].apply(values)
        for piece in self.pieces[1:]:
            inside = (values >= piece.first) & (values <= piece.last)
            mapped[inside] = piece.apply(values[inside])
        return mapped


def mapping_of(items: list[Dataset], signed: bool) -> Mapping | None:
    """Read the items of a Real World Value Mapping Sequence.

    Several items may map the same values to several quantities, or ranges of values to one quantity. The first readable
    item decides which quantity it is; later ones of the same units join it where their range is another.

    Args:
        items: The items, in their order.
        signed: Whether stored values are signed; implicit VR leaves it open what the ends of the range are.

    Returns:
        The mapping, None where no item can be read.
    """
    pieces: list[Piece] = []
    for item in items:
        try:
            piece = _piece(item, signed)
        except ImageError:
            continue
        if piece is not None and all(_joins(piece, other) for other in pieces):
            pieces.append(piece)
    return Mapping(tuple(pieces)) if pieces else None


def _joins(piece: Piece, other: Piece) -> bool:
    apart = piece.first > other.last or piece.last < other.first
    return apart and piece.units is not None and piece.units == other.units


def _piece(item: Dataset, signed: bool) -> Piece | None:
    kind = "SS" if signed else "US"
    first, last = elements.number(item, _FIRST, kind), elements.number(item, _LAST, kind)
    first = elements.number(item, _DOUBLE_FIRST, "FD") if first is None else first
    last = elements.number(item, _DOUBLE_LAST, "FD") if last is None else last
    codes = elements.items(item, _UNITS)
    units = elements.text(codes[0], _CODE_VALUE) if codes else None
    slope, intercept = elements.number(item, _SLOPE, "FD"), elements.number(item, _INTERCEPT, "FD")
    entries = np.array(elements.numbers(item, _ENTRIES, "FD"))
    low, high = -np.inf if first is None else first, np.inf if last is None else last
    if slope and intercept is not None and max(abs(slope), abs(intercept)) < _LARGEST:
        return Piece(low, high, slope, intercept, None, units)
    if first is not None and np.isfinite(first) and len(entries) and (np.abs(entries) < _LARGEST).all():
        return Piece(low, high, 1.0, 0.0, entries, units)
    return None
