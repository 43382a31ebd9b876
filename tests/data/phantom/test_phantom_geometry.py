"""Lengths inside shapes against points counted along the ray, and against formulas worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad

from medmm.data.phantom import materials, tubes
from medmm.data.phantom.geometry import View, bowl, cylinder, ellipsoid, half_space, rotation
from medmm.data.phantom.scene import Component, Scene
from medmm.data.phantom.solids import Solid

FRONTAL = np.array([[-1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]])
STEP_MM = 0.25


def view_of(yaw=0.0, pitch=0.0, roll=0.0, size=36, spacing=9.0):
    return View(np.array([3.0, 2.0, 1.0]), FRONTAL @ rotation(yaw, pitch, roll), spacing, size, size)


def counted(shape, view, reach=220.0):
    """Length inside by counting points every quarter of a millimetre: knows nothing of intervals."""
    depth = np.arange(-reach, reach, STEP_MM) + STEP_MM / 2
    across, down, along = view.axes
    rays = (
        view.origin
        + view.across(view.full)[None, :, None, None] * across
        + view.down(view.full)[:, None, None, None] * down
        + depth[None, None, :, None] * along
    )
    return shape.amount(rays).sum(-1) * STEP_MM


def drawn(shape, view):
    image = np.zeros((view.rows, view.columns), np.float32)
    shape.draw(view, image, 1.0)
    return image


def some_ellipsoid(rng):
    return ellipsoid(rng.normal(0, 30, 3), rng.uniform(20, 60, 3), rotation(*rng.uniform(-90, 90, 3)))


def solids():
    rng = np.random.default_rng(5)
    several = [some_ellipsoid(rng) for _ in range(9)]
    wide = ellipsoid((0, 5, 0), (90, 80, 100), rotation(10, 20, 30))
    return {
        "ellipsoid": Solid((several[0],)),
        "union": Solid(tuple(several[:4])),
        "union in an ellipsoid without others": Solid(
            (wide, *several[:3]), (ellipsoid((20, 0, 0), (85, 90, 70)),), tuple(several[4:9])
        ),
        "between planes": Solid((wide,), (half_space((0, 0, 10), (1, 0.2, 0.3)), half_space((0, -9, 0), (0, -1, 0.1)))),
        "beside a plane along the beam": Solid((wide,), (half_space((0, 0, 5), (0.3, 0, 1)),)),
        "under a bowl": Solid((wide,), (), (bowl((0, 0, -10), (5, 6)),)),
        "in a bowl turned down": Solid((wide,), (bowl((5, 0, 30), (7, 9), up=False),)),
        "without cylinders": Solid(
            (wide,),
            (),
            (cylinder((0, 0, 0), (10, 20), rotation(10, 20, 30)), cylinder((0, 5, 0), (12, 9), rotation(pitch=90))),
        ),
    }


@pytest.mark.parametrize("turn", [(0, 0, 0), (14, -9, 6), (80, 20, -10)], ids=["frontal", "oblique", "nearly lateral"])
@pytest.mark.parametrize("name", solids())
def test_a_ray_is_as_long_inside_a_solid_as_the_points_counted(name, turn):
    shape, view = solids()[name], view_of(*turn)
    expected = counted(shape, view)
    assert expected.max() > 20
    assert np.abs(drawn(shape, view) - expected).max() <= 4 * STEP_MM  # at most four surfaces a ray


@pytest.mark.parametrize("turn", [(0, 0, 0), (25, 10, 5)])
def test_a_ray_is_as_long_inside_bent_tubes_as_the_points_counted(turn):
    rng = np.random.default_rng(2)
    bend = np.cumsum(rng.normal(0, 4, (14, 3)) + [9, 6, 4], axis=0) - [70, 40, 30]
    shape = tubes.join(
        [tubes.along(bend, 7.0), tubes.along(bend[::-1] + [0, 30, 0], np.linspace(3, 8, 13), weight=0.5)]
    )
    view = view_of(*turn)
    expected = counted(shape, view)
    assert expected.max() > 10
    assert np.abs(drawn(shape, view) - expected).max() <= 4 * STEP_MM


def test_a_sphere_by_hand():
    view = view_of(size=41, spacing=2.0)
    offset = np.hypot(view.across(view.full)[None, :] - 3, view.down(view.full)[:, None] - 1)
    expected = 2 * np.sqrt(np.maximum(30.0**2 - offset**2, 0))
    sphere = Solid((ellipsoid((0, 0, 0), (30, 30, 30)),))
    np.testing.assert_allclose(drawn(sphere, view), expected, atol=2e-2)


def test_a_tube_across_the_beam_by_hand():
    """2 sqrt(r2 - d2), over the tube's length alone."""
    view = View(np.zeros(3), FRONTAL, 1.0, 61, 61)
    tube = tubes.along(np.array([[-20.0, 0, 0], [-3, 0, 0], [20, 0, 0]]), 9.0)
    down, across = np.meshgrid(view.down(view.full), view.across(view.full), indexing="ij")
    expected = np.where(np.abs(across) < 20, 2 * np.sqrt(np.maximum(81 - down**2, 0)), 0)
    inner = np.abs(np.abs(across) - 20) > 1e-6
    np.testing.assert_allclose(drawn(tube, view)[inner], expected[inner], atol=1e-3)


def test_weights_scale_tubes():
    path = np.array([[-20.0, 5, 3], [0, 0, 0], [25, -5, -10]])
    view = view_of()
    np.testing.assert_allclose(
        drawn(tubes.along(path, 8.0, 0.25), view), 0.25 * drawn(tubes.along(path, 8.0), view), rtol=1e-5
    )


def test_a_slab_follows_beer_and_lambert():
    """10 cm of water with 2 cm of cortical bone in it: exp(-(8 * 0.2059 + 2 * 0.3148 * 1.92))."""
    water = Solid(
        (ellipsoid((0, 0, 0), (500, 5000, 500)),),
        (half_space((0, 50, 0), (0, 1, 0)), half_space((0, -50, 0), (0, -1, 0))),
    )
    bone = Solid(
        (ellipsoid((0, 0, 0), (500, 5000, 500)),),
        (half_space((0, 20, 0), (0, 1, 0)), half_space((0, 0, 0), (0, -1, 0))),
    )
    scene = Scene(
        (Component("water", materials.WATER, water), Component("bone", materials.CORTICAL_BONE - materials.WATER, bone))
    )
    depth, _ = scene.depth(View(np.zeros(3), FRONTAL, 4.0, 8, 8))
    np.testing.assert_allclose(np.exp(-depth), np.exp(-(8 * 0.2059 + 2 * 0.3148 * 1.92)), rtol=1e-4)


def test_depth_is_the_integral_of_the_attenuation():
    scene = Scene(
        (
            Component("body", materials.SOFT, Solid((ellipsoid((0, 0, 0), (90, 60, 120)),))),
            Component("lung", materials.LUNG - materials.SOFT, Solid((ellipsoid((30, 0, 0), (40, 50, 80)),))),
            Component(
                "rib",
                materials.CORTICAL_BONE - materials.SOFT,
                tubes.along(np.array([[-60.0, 40, 10], [60, 45, -10]]), 6.0),
            ),
        )
    )
    view = view_of(yaw=8, size=12, spacing=18.0)
    depth, _ = scene.depth(view)
    for row, column in ((5, 6), (6, 4), (4, 8)):
        start = view.origin + view.across(view.full)[column] * view.axes[0] + view.down(view.full)[row] * view.axes[1]
        expected, _ = quad(
            lambda t, at=start: float(scene.attenuation(at + t * view.axes[2])),
            -200,
            200,
            limit=600,
            points=[-60, 0, 60],
        )
        assert depth[row, column] == pytest.approx(expected, abs=0.01)


def test_a_mask_is_where_the_finding_is_hit():
    sphere = Solid((ellipsoid((0, 0, 0), (30, 30, 30)),))
    view = View(np.zeros(3), FRONTAL, 1.0, 81, 81)
    _, masks = Scene((Component("mark", 0.0, sphere, "nodule", seen_mm=0.5),)).depth(view)
    radius = np.hypot(view.across(view.full)[None, :], view.down(view.full)[:, None])
    np.testing.assert_array_equal(masks["nodule"], 2 * np.sqrt(np.maximum(900 - radius**2, 0)) > 0.5)
    assert set(masks) == {"nodule"}


def test_points_project_where_their_rays_fall():
    view = view_of(12, -7, 4)
    point = np.array([20.0, 30.0, -15.0])
    row, column = view.pixels(point)
    image = drawn(Solid((ellipsoid(point, (6, 6, 6)),)), View(view.origin, view.axes, 1.0, 324, 324))
    hit = np.argwhere(image > 0).mean(0)
    np.testing.assert_allclose((hit - 161.5) * 1.0, (np.array([row, column]) - 17.5) * 9.0, atol=0.5)
