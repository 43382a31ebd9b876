"""Everything in the beam: shapes with what each adds to the attenuation; line integrals, masks, voxel values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medmm.data.phantom.geometry import Array, Points, View
from medmm.data.phantom.solids import Solid
from medmm.data.phantom.tubes import Tubes

SEEN_MM = 0.5
"""A ray belongs to a finding's mask when more than this of it lies in the finding."""


@dataclass(frozen=True)
class Component:
    """A shape and what it adds to the linear attenuation of what was there.

    Attributes:
        name: Anatomy or device.
        adds: Difference of attenuation in 1/mm; 0 for a shape that only marks a finding.
        shape: Where.
        finding: Name of the finding whose mask it belongs to, None for anatomy.
        seen_mm: Length of a ray inside from which on it belongs to the mask.
    """

    name: str
    adds: float
    shape: Solid | Tubes
    finding: str | None = None
    seen_mm: float = SEEN_MM


@dataclass(frozen=True)
class Scene:
    """The sum of its components: attenuation at a point, or its integral along rays."""

    components: tuple[Component, ...]

    def attenuation(self, points: Points) -> npt.NDArray[np.float64]:
        """Linear attenuation in 1/mm at points (..., 3) of the patient frame."""
        total = np.zeros(points.shape[:-1])
        for component in self.components:
            total += component.adds * component.shape.amount(points)
        return total

    def depth(self, view: View) -> tuple[Array, dict[str, npt.NDArray[np.bool_]]]:
        """Optical depth of each ray and the projected masks.

        Returns:
            The line integral of the attenuation [rows, columns], float32, and for each finding with components a
            mask [rows, columns].
        """
        total = np.zeros((view.rows, view.columns), np.float32)
        masks: dict[str, npt.NDArray[np.bool_]] = {}
        for component in self.components:
            if component.finding is None:
                component.shape.draw(view, total, component.adds)
                continue
            length = np.zeros_like(total)
            component.shape.draw(view, length, 1.0)
            total += np.float32(component.adds) * length
            mask = masks.setdefault(component.finding, np.zeros(total.shape, bool))
            mask |= length > component.seen_mm
        return np.maximum(total, 0), masks
