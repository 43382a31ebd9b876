"""Figures of outlines against true masks: of an image and class, then averaged over images, then over classes.

Shape legend: S spatial axes, N images, C classes, R resamples.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

FIGURES = ("dice", "iou", "hd95", "surface_dice", "volume_error_ml")
"""Of an image and class; ``hd95`` in the unit of the spacing, the error of the volume without its sign."""
SIZES_MM = (10.0, 30.0)
"""Diameters that part small, middle and large lesions."""
SIZE_NAMES = ("below_10_mm", "10_to_30_mm", "above_30_mm")


def outline_figures(drawn: Mask, true: Mask, spacing: Sequence[float], tolerance: float) -> dict[str, float]:
    """Compare a mask with the true one.

    Args:
        drawn: ``[*S]``.
        true: ``[*S]``.
        spacing: Of the voxels along S, in millimetres (or 1 where it is not known).
        tolerance: Distance up to which surfaces agree, in the same unit.

    Returns:
        Values of :data:`FIGURES`; empty where both masks are. Where one is, there is no distance, and a Dice of 0. The
        volume is that of 3D masks only. Distances are MONAI's (``compute_hausdorff_distance``, percentile 95;
        ``compute_surface_dice``).
    """
    sizes, common = (int(np.count_nonzero(mask)) for mask in (drawn, true)), int(np.count_nonzero(drawn & true))
    one, other = sizes
    if not one + other:
        return {}
    found = {"dice": 2 * common / (one + other), "iou": common / (one + other - common)}
    if one and other:
        found |= _distances(drawn, true, spacing, tolerance)
    else:
        found["surface_dice"] = 0.0
    if true.ndim == 3:
        found["volume_error_ml"] = abs(one - other) * float(np.prod(spacing)) / 1000
    return found


def _distances(drawn: Mask, true: Mask, spacing: Sequence[float], tolerance: float) -> dict[str, float]:
    import torch
    from monai.metrics.hausdorff_distance import compute_hausdorff_distance
    from monai.metrics.surface_dice import compute_surface_dice
    from scipy import ndimage

    box = ndimage.find_objects((drawn | true).astype(np.uint8))[0]
    one, other = (torch.from_numpy(np.pad(mask[box], 1))[None, None] for mask in (drawn, true))
    steps = [float(step) for step in spacing]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of MONAI's, about its own arguments
        hd95 = compute_hausdorff_distance(one, other, include_background=True, percentile=95, spacing=steps)
        agree = compute_surface_dice(one, other, [tolerance], include_background=True, spacing=steps)
    return {"hd95": float(hd95), "surface_dice": float(agree)}


class OutlineScores:
    """Averages over images, then classes, on any resample of images.

    Args:
        figures: For each image, class to its figures; a class that neither mask shows has none.
        classes: The classes.
        averaged: Those that ``NAME_mean`` is over; all if empty.
        unit: Of distances, ``mm`` or ``px``.
    """

    def __init__(
        self,
        figures: Sequence[Mapping[str, Mapping[str, float]]],
        classes: Sequence[str],
        averaged: Sequence[str] = (),
        unit: str = "mm",
    ) -> None:
        self.classes, self.averaged = tuple(classes), tuple(averaged) or tuple(classes)
        self.unit = unit
        self.values: dict[str, Floats] = {
            name: np.array([[row.get(one, {}).get(name, np.nan) for one in classes] for row in figures], np.float64)
            for name in FIGURES
        }

    def scores(self, counts: Floats | None = None) -> dict[str, Floats]:
        """Every score on resamples.

        Args:
            counts: ``[R, N]``, how often each image counts; None: each once.

        Returns:
            Score name to ``[R]``; what nothing can be said of is left out. ``dice_mean``, ``iou_mean``, ``hd95_UNIT``,
            ``surface_dice`` and ``volume_error_ml``, and each as ``FIGURE/CLASS``.
        """
        counts = np.ones((1, len(self.values["dice"]))) if counts is None else counts
        heads = {"dice": "dice_mean", "iou": "iou_mean", "hd95": f"hd95_{self.unit}"}
        found: dict[str, Floats] = {}
        for name, values in self.values.items():
            means = _means(values, counts)
            named = f"hd95_{self.unit}" if name == "hd95" else name
            shown = {one: means[:, place] for place, one in enumerate(self.classes) if _known(values[:, place])}
            averaged = [mean for one, mean in shown.items() if one in self.averaged]
            if averaged:
                found[heads.get(name, name)] = _over_classes(np.stack(averaged))
            found |= {f"{named}/{one}": mean for one, mean in shown.items()}
        return found


def _known(values: Floats) -> bool:
    return bool(np.isfinite(values).any())


def _means(values: Floats, counts: Floats) -> Floats:
    """Weighted means ``[R, C]`` of ``[N, C]`` over the images that have a value; NaN where none was drawn."""
    known = np.isfinite(values)
    weight = counts @ known
    with np.errstate(invalid="ignore", divide="ignore"):
        means: Floats = np.where(weight > 0, counts @ np.where(known, values, 0) / weight, np.nan)
    return means


def _over_classes(means: Floats) -> Floats:
    """Mean ``[R]`` of ``[C, R]`` over the classes that a resample shows."""
    known = np.isfinite(means)
    with np.errstate(invalid="ignore", divide="ignore"):
        averaged: Floats = np.where(known, means, 0).sum(0) / known.sum(0)
    return averaged


@dataclass(frozen=True)
class Lesion:
    """One true lesion.

    Attributes:
        name: Its class.
        diameter_mm: Of the ball (disc) of the same volume (area).
        covered: Share of it that was drawn.
        dice: Of it and of the drawn parts that touch it.
    """

    name: str
    diameter_mm: float
    covered: float
    dice: float


def lesions_of(name: str, drawn: Mask, true: Mask, spacing_mm: Sequence[float]) -> list[Lesion]:
    """The connected parts of a true mask ``[*S]``, and how well each was drawn."""
    from scipy import ndimage

    around = np.ones((3,) * true.ndim, bool)
    parts, number = ndimage.label(true, around)
    pieces, _ = ndimage.label(drawn, around)
    unit = float(np.prod(spacing_mm))
    sizes = np.bincount(pieces.ravel())
    found = []
    for part in range(1, number + 1):
        mine = parts == part
        size = int(np.count_nonzero(mine))
        touching = np.unique(pieces[mine])
        touching = touching[touching > 0]
        common = int(np.count_nonzero(pieces[mine]))
        diameter = (6 * size * unit / np.pi) ** (1 / 3) if true.ndim == 3 else 2 * (size * unit / np.pi) ** 0.5
        dice = 2 * common / (size + int(sizes[touching].sum()))
        found.append(Lesion(name, float(diameter), common / size, dice))
    return found


def size_name(diameter_mm: float) -> str:
    """Which of :data:`SIZE_NAMES` a diameter falls into."""
    return SIZE_NAMES[int(np.searchsorted(SIZES_MM, diameter_mm, side="right"))]
