"""What is not grown: pacemaker, endotracheal tube, catheters, electrodes and their wires, buttons."""

from __future__ import annotations

import numpy as np

from medmm.data.phantom import materials, tubes
from medmm.data.phantom.disease import Facts
from medmm.data.phantom.geometry import Points, View, ellipsoid, half_space, rotation
from medmm.data.phantom.scene import Component
from medmm.data.phantom.solids import Solid
from medmm.data.phantom.thorax import Thorax
from medmm.data.phantom.vessels import airway

COIL = 0.16
"""A lead's coil and its insulation, averaged over its cross-section, in 1/mm."""
LETTERS = {
    "L": (((0, -1), (0, 0)), ((0, 0), (1, 0))),
    "R": (((0, 0), (0, -1)), ((0, -1), (0.7, -1), (1, -0.75), (0.7, -0.5), (0, -0.5)), ((0.4, -0.5), (1, 0))),
}
"""Strokes of the side markers, across and down from the lower left corner."""


def pacemaker(chest: Thorax, side: float, rng: np.random.Generator) -> tuple[Component, ...]:
    """A generator under the clavicle and one or two leads through the cava into the heart."""
    scale = chest.scale
    middle = np.array([side * rng.uniform(0.5, 0.82) * chest.half_width_mm, 100.0, rng.uniform(30, 88) * scale])
    turn = rotation(roll=rng.uniform(-50, 50), yaw=rng.normal(0, 12) + side * 12)
    half = np.array([rng.uniform(19, 25), 30.0, rng.uniform(16, 22)])
    thick = rng.uniform(3.0, 4.5)
    faces = tuple(half_space(middle + sign * thick * turn[:, 1], sign * turn[:, 1]) for sign in (1.0, -1.0))
    box = Solid((ellipsoid(middle, half, turn),), faces)
    low = float(np.mean(chest.floor_mm))
    x = chest.middle_mm
    tips = [
        np.array([x - rng.uniform(22, 48), 48.0, low + rng.uniform(14, 28)]),
        np.array([x + rng.uniform(14, 26), 44.0, low + rng.uniform(48, 66)]),
    ]
    leads = []
    for tip in tips[: 1 + int(rng.random() < 0.65)]:
        bend = rng.normal(0, 3, 3)
        stops = np.array(
            [
                middle + turn @ np.array([0, 0, 0.8 * half[2]]),
                middle + [-side * 22, -18, 34 * scale] + bend,
                [side * 38, 40, 96 * scale],
                [x + 15, 18, 78 * scale],
                [x + 18, 16, 30 * scale] + 0.5 * bend,
                [x + 19, 26, low + 62] + 0.5 * bend,
                [(x + 10 + tip[0]) / 2, 38, low + 34] if tip[0] < x else [x + 10, 36, low + 40],
                tip,
            ]
        )
        leads.append(tubes.along(smooth(stops, 26), 1.15))
    return (
        Component("pulse generator", 0.6 * materials.TITANIUM, box, "pacemaker"),
        Component("leads", COIL, tubes.join(leads), "pacemaker", seen_mm=0.8),
    )


def endotracheal_tube(chest: Thorax, rng: np.random.Generator) -> tuple[tuple[Component, ...], Facts]:
    """A tube down the trachea with its radiopaque stripe."""
    height = rng.uniform(12, 58)
    path = airway(chest).start[:5]
    path = np.concatenate([path, chest.carina[None]])
    top = path[0] + (path[0] - path[1]) * 0.4
    line = smooth(np.concatenate([top[None], path]), 40)
    line = line[line[:, 2] > chest.carina[2] + height]
    line = line + [rng.normal(0, 1.5), 0, 0]
    outer, inner = tubes.along(line, 5.4), tubes.along(line, 3.9)
    stripe = tubes.along(line + [rng.choice([-1.0, 1.0]) * 4.4, 0, 0], 1.8)
    return (
        Component("tube wall", 0.06, outer, "endotracheal_tube"),
        Component("tube lumen", -0.06, inner),
        Component("radiopaque stripe", 2.5 * materials.BARIUM_POLYMER, stripe, "endotracheal_tube"),
    ), Facts(size_mm=round(height, 1))


def clutter(chest: Thorax, bedside: bool, rng: np.random.Generator) -> tuple[Component, ...]:
    """Electrodes with wires, a venous catheter, buttons and chains, as they lie on many patients."""
    wires, found = [], []
    if rng.random() < (0.5 if bedside else 0.1):
        for _ in range(int(rng.integers(2, 5))):
            x = rng.choice([-1.0, 1.0]) * rng.uniform(0.8, 1.1) * chest.half_width_mm
            z = rng.uniform(105, 130) if rng.random() < 0.6 else rng.uniform(-165, -125)
            spot = np.array([x, 122.0, z * chest.scale])
            disc = Solid((ellipsoid(spot, (3.6, 2.5, 3.6)),))
            found.append(Component("electrode", rng.uniform(0.5, 1.0) * materials.IRON, disc))
            out = np.array([rng.choice([-1.0, 1.0]) * 240, 122.0, rng.uniform(-200, 200)])
            wires.append(
                tubes.along(
                    smooth(np.stack([spot, (spot + out) / 2 + rng.normal(0, 32, 3) * [1, 0.1, 1], out]), 16), 0.8
                )
            )
    if rng.random() < (0.35 if bedside else 0.04):
        side = rng.choice([-1.0, 1.0], p=[0.3, 0.7])
        x = chest.middle_mm
        stops = np.array(
            [[side * 34, 10, 175], [side * 28, 16, 120], [x + 16, 16, 84], [x + 18, 14, rng.uniform(5, 50)]]
        )
        wires.append(tubes.along(smooth(stops, 14), 1.0))
    if wires:
        found.append(Component("wires", rng.uniform(0.08, 0.2), tubes.join(wires)))
    if rng.random() < 0.12:
        x, gap = rng.normal(0, 10), rng.uniform(38, 60)
        for k in range(int(rng.integers(2, 6))):
            button = Solid((ellipsoid((x + rng.normal(0, 2), 124.0, 110 - k * gap), (5.0, 1.6, 5.0)),))
            found.append(Component("button", 0.5 * materials.IRON, button))
    return tuple(found)


def marker(view: View, rng: np.random.Generator) -> tuple[Component, ...]:
    """A lead letter on the cassette, L on the patient's left or R on the right, as most radiographs show."""
    if rng.random() >= 0.75:
        return ()
    letter = "L" if rng.random() < 0.6 else "R"
    side = view.spacing_mm * view.columns
    high = rng.uniform(0.03, 0.045) * side
    corner = (
        np.array([rng.uniform(0.36, 0.43) if letter == "L" else rng.uniform(-0.47, -0.4), rng.uniform(-0.44, -0.3)])
        * side
    )
    strokes = []
    for stroke in LETTERS[letter]:
        flat = corner + np.array(stroke) * high * [0.62, 1.0]
        strokes.append(tubes.along(view.origin + flat @ view.axes[:2], 0.09 * high))
    return (Component("marker", 1.0, tubes.join(strokes)),)


def smooth(stops: Points, count: int) -> Points:
    """Points (count, 3) along a Catmull-Rom curve through ``stops`` (k, 3)."""
    padded = np.concatenate([2 * stops[:1] - stops[1:2], stops, 2 * stops[-1:] - stops[-2:-1]])
    t = np.linspace(0, len(stops) - 1, count)
    k = np.minimum(t.astype(int), len(stops) - 2)
    s = (t - k)[:, None]
    a, b, c, d = (padded[k + j] for j in range(4))
    return 0.5 * (2 * b + (c - a) * s + (2 * a - 5 * b + 4 * c - d) * s**2 + (3 * b - a - 3 * c + d) * s**3)
