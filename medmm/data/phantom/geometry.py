"""Convex quadrics and what is cut out of them: closed-form intervals for parallel rays, and membership of points.

Patient frame: millimetres, RAS (x towards the patient's right, y anterior, z superior). A radiograph and a CT volume
come from the same shapes: rays ask for the length inside a shape, voxels for whether their centre lies in it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Points = npt.NDArray[np.float64]
FAR_MM = 1.0e4
"""Stands for infinity along a ray; every solid is bounded by something far smaller."""
PARALLEL = 1.0e-9
"""Curvatures (1/mm2) and slopes under this count as zero: the ray runs along a generator of the quadric."""


class Window(NamedTuple):
    """Half-open pixel ranges ``[top, bottom)`` and ``[left, right)``."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def empty(self) -> bool:
        """Whether no pixel is inside."""
        return self.top >= self.bottom or self.left >= self.right

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index of the window in an image."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def meet(self, other: Window) -> Window:
        """Pixels in both windows."""
        return Window(
            max(self.top, other.top),
            min(self.bottom, other.bottom),
            max(self.left, other.left),
            min(self.right, other.right),
        )


@dataclass(frozen=True)
class View:
    """Parallel rays onto a grid of pixels.

    Attributes:
        origin: Point (3,) in mm that falls on the middle of the image.
        axes: Orthonormal rows (3, 3): direction of growing column, of growing row, of the beam.
        spacing_mm: Distance between pixel centres.
        rows, columns: Size of the image.
    """

    origin: Points
    axes: Points
    spacing_mm: float
    rows: int
    columns: int

    @property
    def full(self) -> Window:
        """The whole image."""
        return Window(0, self.rows, 0, self.columns)

    def across(self, window: Window) -> Points:
        """Column coordinates (mm from the middle) of the window's pixel centres."""
        return np.asarray((np.arange(window.left, window.right) - (self.columns - 1) / 2) * self.spacing_mm)

    def down(self, window: Window) -> Points:
        """Row coordinates (mm from the middle) of the window's pixel centres."""
        return np.asarray((np.arange(window.top, window.bottom) - (self.rows - 1) / 2) * self.spacing_mm)

    def project(self, points: Points) -> Points:
        """Coordinates (..., 3) of points (..., 3) along columns, rows and the beam, in mm from ``origin``."""
        return (points - self.origin) @ self.axes.T

    def pixels(self, points: Points) -> Points:
        """Row and column (..., 2) of points (..., 3), as fractions of pixels; 0 is the centre of the first one."""
        plane = self.project(points)[..., :2] / self.spacing_mm
        return plane[..., ::-1] + np.array([(self.rows - 1) / 2, (self.columns - 1) / 2])

    def around(self, low: Points, high: Points) -> Window:
        """Window that covers the coordinates ``low`` to ``high`` (column, row in mm from the middle)."""
        middle = np.array([(self.columns - 1) / 2, (self.rows - 1) / 2])
        first = np.floor(np.clip(low[:2] / self.spacing_mm + middle, -1, 1e6)).astype(int)
        last = np.ceil(np.clip(high[:2] / self.spacing_mm + middle, -2, 1e6)).astype(int) + 1
        return Window(int(first[1]), int(last[1]), int(first[0]), int(last[0])).meet(self.full)


class Interval(NamedTuple):
    """Entry and exit of each ray in mm along the beam, each [rows, columns]; empty where ``enter >= leave``."""

    enter: Array
    leave: Array


class Stretches(NamedTuple):
    """Pieces of rays, each [n]: flat pixel index, entry and exit in mm along the beam, and how often each counts.

    Pieces that count -1 take away what others hold there.
    """

    place: npt.NDArray[np.integer]
    enter: Array
    leave: Array
    weight: Array


@dataclass(frozen=True)
class Quadric:
    """The convex set ``x'Ax + 2b'x + c <= 0``, A positive semidefinite: ellipsoid, cylinder, paraboloid, half-space.

    Attributes:
        matrix: A (3, 3), in 1/mm2.
        vector: b (3,), in 1/mm.
        constant: c.
        middle: Centre (3,) of a bounded quadric, None for an unbounded one.
        spread: Inverse of A (3, 3), whose quadratic form gives squared half widths; None for an unbounded one.
    """

    matrix: Points
    vector: Points
    constant: float
    middle: Points | None = None
    spread: Points | None = None

    def contains(self, points: Points) -> npt.NDArray[np.bool_]:
        """Whether points (..., 3) lie inside or on the surface."""
        value = ((points @ self.matrix) * points).sum(-1) + 2 * points @ self.vector + self.constant
        return value <= 0

    def half_width(self, direction: Points) -> float:
        """Half the extent of a bounded quadric along a unit vector, in mm."""
        assert self.spread is not None
        return float(np.sqrt(direction @ self.spread @ direction))

    def window(self, view: View) -> Window:
        """Pixels that a ray through the quadric can have."""
        if self.middle is None or self.spread is None:
            return view.full
        centre = view.project(self.middle)
        half = np.sqrt(((view.axes @ self.spread) * view.axes).sum(1))
        return view.around(centre - half, centre + half)

    def meets(self, points: Points, direction: Points) -> npt.NDArray[np.bool_]:
        """Whether the lines through points (n, 3) along a unit vector hit a quadric that is curved along it."""
        curve = direction @ self.matrix @ direction
        slope = points @ (self.matrix @ direction) + self.vector @ direction
        value = ((points @ self.matrix) * points).sum(-1) + 2 * points @ self.vector + self.constant
        return slope**2 - curve * value > 0

    def interval(self, view: View, window: Window) -> Interval:
        """Where each ray of the window is inside: roots of a quadratic whose curvature is one number for all rays."""
        form = view.axes @ self.matrix @ view.axes.T
        linear = view.axes @ (self.matrix @ view.origin + self.vector)
        at_origin = view.origin @ self.matrix @ view.origin + 2 * self.vector @ view.origin + self.constant
        u, v = view.across(window)[None, :], view.down(window)[:, None]
        along_u = (form[0, 0] * u + 2 * linear[0]) * u + at_origin
        along_v = (form[1, 1] * v + 2 * linear[1]) * v
        value = along_u.astype(np.float32) + along_v.astype(np.float32)
        if abs(form[0, 1]) > PARALLEL:
            value += (2 * form[0, 1] * u).astype(np.float32) * v.astype(np.float32)
        if form[2, 2] < PARALLEL:
            return _flat(value, float(linear[2]))
        half_slope = (form[0, 2] * u + linear[2]).astype(np.float32) + (form[1, 2] * v).astype(np.float32)
        root = half_slope * half_slope
        value *= np.float32(form[2, 2])
        root -= value
        inside = root > 0
        np.maximum(root, 0, out=root)
        np.sqrt(root, out=root)
        scale = np.float32(1 / form[2, 2])
        root *= scale
        half_slope *= -scale
        enter, leave = half_slope - root, half_slope + root
        enter[~inside] = FAR_MM
        leave[~inside] = -FAR_MM
        return Interval(enter, leave)


def _flat(value: Array, half_slope: float) -> Interval:
    """Interval of a quadric without curvature along the beam: bounded on one side, or all or nothing."""
    far = np.float32(FAR_MM)
    if abs(half_slope) < PARALLEL:
        inside = value <= 0
        return Interval(np.where(inside, -far, far), np.where(inside, far, -far))
    at = np.clip(value * np.float32(-0.5 / half_slope), -far, far)
    edge = np.full_like(at, far)
    return Interval(-edge, at) if half_slope > 0 else Interval(at, edge)


def ellipsoid(middle: npt.ArrayLike, half: npt.ArrayLike, turn: Points | None = None) -> Quadric:
    """Ellipsoid with half axes ``half`` (3,) in mm along the columns of the rotation ``turn`` (3, 3)."""
    rotation = np.eye(3) if turn is None else turn
    centre = np.asarray(middle, float)
    squares = np.asarray(half, float) ** 2
    matrix = (rotation / squares) @ rotation.T
    return Quadric(
        matrix, -matrix @ centre, float(centre @ matrix @ centre - 1), centre, (rotation * squares) @ rotation.T
    )


def moved(part: Quadric, by: Points) -> Quadric:
    """The quadric, displaced by (3,) mm."""
    vector = part.vector - part.matrix @ by
    constant = part.constant - 2 * part.vector @ by + by @ part.matrix @ by
    middle = None if part.middle is None else part.middle + by
    return replace(part, vector=vector, constant=float(constant), middle=middle)


def cylinder(point: npt.ArrayLike, half: tuple[float, float], turn: Points | None = None) -> Quadric:
    """Endless elliptic cylinder around the third column of ``turn`` (default: z), half axes along the first two."""
    rotation = np.eye(3) if turn is None else turn
    centre = np.asarray(point, float)
    matrix = (rotation * np.array([1 / half[0] ** 2, 1 / half[1] ** 2, 0.0])) @ rotation.T
    return Quadric(matrix, -matrix @ centre, float(centre @ matrix @ centre - 1))


def bowl(bottom: npt.ArrayLike, half: tuple[float, float], up: bool = True) -> Quadric:
    """Inside of a paraboloid around z: 1 mm above its lowest point ``bottom`` it is ``half`` mm wide to each side."""
    centre = np.asarray(bottom, float)
    matrix = np.diag([1 / half[0] ** 2, 1 / half[1] ** 2, 0.0])
    lean = np.array([0.0, 0.0, -0.5 if up else 0.5])
    vector = -matrix @ centre + lean
    return Quadric(matrix, vector, float(centre @ matrix @ centre - 2 * lean @ centre))


def half_space(point: npt.ArrayLike, outward: npt.ArrayLike) -> Quadric:
    """Points on the side of the plane through ``point`` that ``outward`` (3,) leads away from."""
    normal = np.asarray(outward, float)
    normal = normal / np.linalg.norm(normal)
    return Quadric(np.zeros((3, 3)), normal / 2, float(-normal @ np.asarray(point, float)))


def rotation(yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> Points:
    """Rotation matrix (3, 3): ``roll`` about y, ``pitch`` about x, then ``yaw`` about z; right-handed, degrees."""
    a, b, c = np.radians([yaw, pitch, roll])
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    about_y = np.array([[np.cos(c), 0, np.sin(c)], [0, 1, 0], [-np.sin(c), 0, np.cos(c)]])
    return about_z @ about_x @ about_y
