"""How parallel slices follow each other: their order, their step, what is missing between them, and their tilt."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_SAME_MM = 0.01
"""Slices closer than this lie at the same place."""
_UNEVEN = 0.05
"""Part of the usual step by which a step may differ without being called uneven: positions are rounded decimals."""
_GAP = 1.7
"""Steps longer than so many usual ones are gaps."""
_TILTED_PIXELS, _TILTED_MM = 0.1, 0.05
"""Slices may lie so far beside the straight line along the normal, by one measure or the other, without being tilted:
positions are rounded decimals."""
_MOST_SAID = 8


@dataclass(frozen=True, eq=False, slots=True)
class SliceSpacing:
    """Order and spacing of parallel planes.

    Attributes:
        order: Indices of the planes, sorted along the normal.
        along_mm: float64 ``[N]``, sorted places along the normal, from 0.
        beside_mm: float64 ``[N, 2]``, how far each sorted plane lies beside the first one, down its columns and
            along its rows.
        places: For each sorted plane the number of its place; planes at the same place share one.
        pixel_mm: The smaller of the planes' pixel spacings.
    """

    order: tuple[int, ...]
    along_mm: npt.NDArray[np.float64]
    beside_mm: npt.NDArray[np.float64]
    places: tuple[int, ...]
    pixel_mm: float

    @property
    def has_repeats(self) -> bool:
        """Whether several planes lie at the same place."""
        return self.places[-1] + 1 < len(self.places)

    @property
    def step_mm(self) -> float:
        """The usual step: the lower median, which is a step that is there and no mean with a gap; 0 for one plane."""
        steps = np.sort(np.diff(self.along_mm))
        return float(steps[(len(steps) - 1) // 2]) if len(steps) else 0.0

    @property
    def is_tilted(self) -> bool:
        """Whether the planes do not lie straight above each other."""
        return bool(np.abs(self.beside_mm).max() > max(_TILTED_MM, _TILTED_PIXELS * self.pixel_mm))

    @property
    def gaps(self) -> npt.NDArray[np.bool_]:
        """Which steps are gaps, bool ``[N - 1]``."""
        return np.diff(self.along_mm) > _GAP * self.step_mm

    @property
    def is_even(self) -> bool:
        """Whether all steps are the usual one."""
        steps = np.diff(self.along_mm)
        return bool((np.abs(steps - self.step_mm) <= max(_SAME_MM, _UNEVEN * self.step_mm)).all())

    def notes(self) -> tuple[str, ...]:
        """Name every gap, and an uneven spacing; slices are counted from 0 in sorted order."""
        if self.has_repeats or self.is_even:
            return ()
        steps, usual = np.diff(self.along_mm), self.step_mm
        gaps = np.flatnonzero(self.gaps)
        said = [_gap(int(index), float(steps[index]), usual) for index in gaps[:_MOST_SAID]]
        if len(gaps) > _MOST_SAID:
            said.append(f"{len(gaps) - _MOST_SAID} more gaps follow.")
        others = np.delete(steps, gaps)
        if (np.abs(others - usual) > max(_SAME_MM, _UNEVEN * usual)).any():
            off = int(np.abs(np.where(self.gaps, usual, steps) - usual).argmax())
            said.append(
                f"Uneven spacing: steps from {others.min():.3f} to {others.max():.3f} mm, {usual:.3f} mm usual; the "
                f"oddest is {steps[off]:.3f} mm between slices {off} and {off + 1}."
            )
        return tuple(said)


def _gap(index: int, step: float, usual: float) -> str:
    missing = max(1, round(step / usual) - 1)
    return (
        f"Gap of {step:.3f} mm between slices {index} and {index + 1}, where {usual:.3f} mm are usual: "
        f"{missing} {'slice is' if missing == 1 else 'slices are'} missing."
    )


def slice_spacing_of(positions: npt.NDArray[np.float64], pixel_mm: float) -> SliceSpacing:
    """Sort planes along their normal.

    Args:
        positions: float64 ``[N, 3]``, millimetres along the normal, down the columns and along the rows. Planes at the
            same place keep their order.
        pixel_mm: The smaller of the planes' pixel spacings.
    """
    order = np.argsort(positions[:, 0], kind="stable")
    sorted_places = positions[order] - positions[order[0]]
    along = sorted_places[:, 0]
    places = np.concatenate([[0], np.cumsum(np.diff(along) >= _SAME_MM)])
    return SliceSpacing(tuple(order.tolist()), along, sorted_places[:, 1:], tuple(places.tolist()), pixel_mm)
