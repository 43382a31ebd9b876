"""Shares of voxels inside shapes against points counted, and against volumes worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from medmm.data.phantom import anatomy, ct, disease, subject, tubes, whole
from medmm.data.phantom.geometry import View, bowl, cylinder, ellipsoid, half_space, moved, rotation
from medmm.data.phantom.solids import Solid
from medmm.data.phantom.study import exposure_of
from medmm.data.phantom.voxels import Grid, fill, holds

GRID = Grid(np.array([3.0, -2.0, 5.0]), (5.0, 4.0), (30, 33, 36))
PA = np.array([[1.0, 0, 0], [0, 0, 1.0], [0, 1.0, 0]])
"""Rays from back to front whose columns and rows run along W and D of a volume."""
SIDEWAYS = np.array([[0, 1.0, 0], [0, 0, 1.0], [1.0, 0, 0]])


def centres(grid, finer=1):
    """Points (D, H, W, 3) of a grid's voxels, or of their parts, by the affine alone."""
    steps = [(np.arange(n * finer) + 0.5) / finer - 0.5 for n in grid.shape]
    index = np.stack([*np.meshgrid(*steps, indexing="ij"), np.ones([n * finer for n in grid.shape])], axis=-1)
    return (index @ grid.affine.T)[..., :3]


def share(shape, grid, subrays=2):
    volume = np.zeros(grid.shape, np.float32)
    filled = fill(shape, grid, subrays)
    if filled is not None:
        volume[filled.box] = filled.share
    return volume


def shapes():
    rng = np.random.default_rng(3)
    several = [
        ellipsoid(rng.normal(0, 18, 3), rng.uniform(15, 40, 3), rotation(*rng.uniform(-90, 90, 3))) for _ in range(9)
    ]
    wide = ellipsoid((0, 5, 0), (60, 50, 65), rotation(10, 20, 30))
    bend = np.cumsum(rng.normal(0, 3, (9, 3)) + [7, 5, 6], axis=0) - [30, 25, 30]
    return {
        "ellipsoid": Solid((several[0],)),
        "union without others in an ellipsoid": Solid((wide, *several[:3]), (several[3],), tuple(several[4:9])),
        "between planes under a bowl": Solid(
            (wide,), (half_space((0, 0, 10), (1, 0.2, 0.3)),), (bowl((0, 0, -10), (5, 6)), cylinder((0, 5, 0), (12, 9)))
        ),
        "beside a plane along the rays": Solid((wide,), (half_space((5, 0, 0), (1, 0.4, 0)),)),
        "tubes": tubes.join([tubes.along(bend, 7.0), tubes.along(bend[::-1] + [0, 20, 0], 4.0, weight=0.5)]),
        "larger than the volume": Solid((ellipsoid((0, 0, 0), (200, 150, 300)),), (), (several[1],)),
    }


@pytest.mark.parametrize("name", shapes())
def test_voxels_hold_the_share_of_points_counted(name):
    shape, finer = shapes()[name], 4
    counted = shape.amount(centres(GRID, finer))
    for axis, size in enumerate(GRID.shape):
        counted = np.moveaxis(counted, axis, -1)
        counted = counted.reshape(*counted.shape[:-1], size, finer).mean(-1)
        counted = np.moveaxis(counted, -1, axis)
    found = share(shape, GRID)
    assert counted.max() > 0.4
    assert np.abs(found - counted).mean() < 0.01
    assert np.quantile(np.abs(found - counted), 0.999) < 0.35  # rays see a voxel's edge at four places
    assert found.sum() == pytest.approx(counted.sum(), rel=0.01)


def test_volumes_by_hand():
    """4/3 pi abc, pi r2 l, and a half of the first."""
    grid = Grid(np.zeros(3), (1.5, 2.0), (90, 80, 80))
    ball = ellipsoid((3, -4, 5), (30, 40, 50))
    cubic = np.prod([1.5, 2.0, 2.0])
    assert share(Solid((ball,)), grid).sum() * cubic == pytest.approx(4 / 3 * np.pi * 30 * 40 * 50, rel=2e-3)
    half = Solid((ball,), (half_space((3, -4, 5), (0.6, 0, 0.8)),))
    assert share(half, grid).sum() * cubic == pytest.approx(2 / 3 * np.pi * 30 * 40 * 50, rel=2e-3)
    tube = tubes.along(np.array([[-30.0, 10, 0], [5, 10, 4], [40, 0, 0]]), 6.0)
    length = np.linalg.norm([35, 0, 4]) + np.linalg.norm([35, 10, 4])
    assert share(tube, grid).sum() * cubic == pytest.approx(np.pi * 36 * length, rel=0.01)


def test_a_shape_outside_fills_nothing():
    assert fill(Solid((ellipsoid((500, 0, 0), (9, 9, 9)),)), GRID) is None
    assert not holds((Solid((ellipsoid((0, 0, 400), (9, 9, 9)),)),), GRID).any()


def test_thin_shapes_are_held_by_the_voxels_along_them():
    wire = tubes.along(np.array([[-40.0, 0, 0], [40, 0, 3]]), 0.8)
    mask = holds((wire,), GRID)
    rows = np.nonzero(mask)
    assert set(rows[2]) >= set(range(10, 26))
    assert np.abs(centres(GRID)[mask][:, 1]).max() < 5


def test_the_affine_leads_to_the_voxel_where_a_shape_is():
    point = np.array([40.0, -30.0, 50.0])
    mask = holds((Solid((ellipsoid(point, (8, 8, 8)),)),), GRID)
    index = np.append(np.argwhere(mask).mean(0), 1)
    np.testing.assert_allclose((GRID.affine @ index)[:3], point, atol=0.8)


def test_a_moved_quadric_holds_the_moved_points():
    part, by = ellipsoid((5, 6, 7), (20, 30, 15), rotation(20, 30, 40)), np.array([11.0, -7, 3])
    points = np.random.default_rng(0).uniform(-50, 50, (500, 3))
    np.testing.assert_array_equal(moved(part, by).contains(points + by), part.contains(points))
    np.testing.assert_allclose(moved(part, by).middle, [16, -1, 10])


def scene_of(seed, number, build):
    place = subject.visit(seed, number)
    who = subject.patient(seed, place.patient)
    return build(seed, number, place.patient, who, exposure_of(seed, number), disease.conditions(seed, number)).scene


@pytest.mark.parametrize("build", [anatomy.assemble, whole.assemble], ids=["frontal", "whole"])
@pytest.mark.parametrize("axes", [PA, SIDEWAYS], ids=["from behind", "from the side"])
def test_line_integrals_of_the_voxels_are_the_radiographs_depth(build, axes):
    """Sums over H or W, in 1/mm times mm, against the closed form, averaged over each pixel."""
    for number in (2, 38):
        grid = Grid(np.array([0.0, -10.0, -20.0]), (5.0, 5.0), (60, 120, 120))
        scene = scene_of(0, number, build)
        along = 1 if axes is PA else 2
        found = ct.attenuation(scene, grid).sum(axis=along) * 5.0
        finer = 5
        view = View(grid.middle, axes, 5.0 / finer, 60 * finer, 120 * finer)
        total = np.zeros((view.rows, view.columns), np.float32)
        for part in scene.components:
            part.shape.draw(view, total, part.adds)
        expected = total.reshape(60, finer, 120, finer).mean((1, 3))
        body = expected > 0.5
        assert np.abs(found - expected)[body].mean() < 0.01 * expected[body].mean()
        assert np.quantile(np.abs(found - expected)[body], 0.99) < 0.05 * expected[body].mean()


def test_masks_of_the_volume_project_onto_the_masks_of_the_radiograph():
    grid = Grid(np.array([0.0, -10.0, -20.0]), (2.5, 2.5), (130, 120, 140))
    seen = set()
    for number in (0, 5, 6, 8, 38):
        scene = scene_of(0, number, whole.assemble)
        masks = ct.masks_of(scene, grid)
        _, flat = scene.depth(View(grid.middle, PA, 2.5, 130, 140))
        for name, mask in masks.items():
            thick = {"pleural_effusion": 6, "pneumothorax": 12, "emphysema": 20, "consolidation": 5}.get(name, 1)
            cast = mask.sum(1) * 2.5 > thick
            overlap = 2 * (cast & flat[name]).sum() / (cast.sum() + flat[name].sum())
            assert overlap > (0.6 if name in {"pacemaker", "endotracheal_tube"} else 0.85), (number, name, overlap)
            seen.add(name)
    assert len(seen) >= 9
