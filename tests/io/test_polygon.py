"""Filling polygons, against a point-in-polygon test written for single points, matplotlib, and areas by hand."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.path import Path as Outline

from medmm.errors import ImageError, Reason
from medmm.io import polygon
from medmm.io.polygon import fill


def crossings(points, row, column):
    """Number of sides to the right of a point, after the usual ray-casting rule."""
    count = 0
    for (r0, c0), (r1, c1) in zip(points, np.roll(points, -1, axis=0), strict=True):
        if (r0 > row) != (r1 > row):
            count += column < c0 + (row - r0) * (c1 - c0) / (r1 - r0)
    return count


def test_pixels_of_random_polygons_are_those_whose_centre_is_enclosed_an_odd_number_of_times():
    rng = np.random.default_rng(0)
    for _ in range(40):
        polygons = [rng.uniform(-6, 26, (rng.integers(3, 12), 2)) for _ in range(rng.integers(1, 4))]
        expected = [
            [sum(crossings(one, row, column) for one in polygons) % 2 == 1 for column in range(17)] for row in range(21)
        ]
        np.testing.assert_array_equal(fill(polygons, 21, 17), expected)


def test_matplotlib_agrees_on_a_simple_outline():
    angles = np.sort(np.random.default_rng(1).uniform(0, 2 * np.pi, 60))
    radii = np.random.default_rng(2).uniform(20, 45, 60)
    points = np.stack([50 + radii * np.sin(angles), 48 + radii * np.cos(angles)], -1)
    grid = np.stack(np.mgrid[:100, :100], -1).reshape(-1, 2)
    expected = Outline(points).contains_points(grid, radius=0).reshape(100, 100)
    np.testing.assert_array_equal(fill([points], 100, 100), expected)


def test_sides_through_centres_belong_to_the_upper_left_pixels():
    square = np.array([[2, 3], [2, 7], [5, 7], [5, 3]], float)
    mask = fill([square], 10, 10)
    expected = np.zeros((10, 10), bool)
    expected[2:5, 3:7] = True
    np.testing.assert_array_equal(mask, expected)
    np.testing.assert_array_equal(fill([square[::-1]], 10, 10), expected)
    np.testing.assert_array_equal(fill([square + 4e-7], 10, 10), expected)  # what an inverse affine leaves behind


def test_polygons_that_share_a_side_share_no_pixel():
    rng = np.random.default_rng(3)
    centre = np.array([10.3, 9.1])
    ring = np.array([[-2.0, -2], [-2, 22], [22, 22], [22, -2]])
    parts = [fill([np.array([centre, a, b])], 20, 20) for a, b in zip(ring, np.roll(ring, -1, 0), strict=True)]
    assert (np.sum(parts, axis=0) == 1).all()
    cuts = rng.integers(0, 20, 3)
    strips = [fill([np.array([[-1.0, a], [-1, b], [25, b], [25, a]])], 20, 20)
              for a, b in zip([-1, *sorted(cuts)], [*sorted(cuts), 20], strict=True)]  # fmt: skip
    assert (np.sum(strips, axis=0) == 1).all()


def test_holes_islands_and_keyholes():
    outer = np.array([[0.5, 0.5], [0.5, 18.5], [18.5, 18.5], [18.5, 0.5]])
    hole = np.array([[4.5, 4.5], [4.5, 13.5], [13.5, 13.5], [13.5, 4.5]])
    island = np.array([[7.5, 7.5], [7.5, 9.5], [9.5, 9.5], [9.5, 7.5]])
    expected = np.zeros((20, 20), bool)
    expected[1:19, 1:19] = True
    expected[5:14, 5:14] = False
    keyhole = np.concatenate([outer[:1], outer[1:], outer[:1], hole[:1], hole[::-1], hole[-1:], hole[:1]])
    np.testing.assert_array_equal(fill([outer, hole], 20, 20), expected)
    np.testing.assert_array_equal(fill([keyhole], 20, 20), expected)
    slanted = np.concatenate([outer, outer[:1], hole[[0, 3, 2, 1, 0]]])  # a bridge that is on no line of pixels
    np.testing.assert_array_equal(fill([slanted], 20, 20), expected)
    expected[8:10, 8:10] = True
    np.testing.assert_array_equal(fill([outer, hole, island], 20, 20), expected)


def test_what_lies_outside_is_cut_off():
    whole = np.array([[-1e5, -1e5], [-1e5, 1e5], [1e5, 1e5], [1e5, -1e5]])
    assert fill([whole], 6, 9).all()
    assert not fill([whole + 3e5], 6, 9).any()
    assert not fill([], 6, 9).any()


def test_many_sides_are_counted_in_parts(monkeypatch):
    rng = np.random.default_rng(4)
    points = rng.uniform(0, 30, (200, 2))
    expected = fill([points], 30, 30)
    monkeypatch.setattr(polygon, "_AT_ONCE", 37)
    np.testing.assert_array_equal(fill([points], 30, 30), expected)
    monkeypatch.setattr(polygon, "_MOST_CROSSINGS", 100)
    with pytest.raises(ImageError) as refused:
        fill([points], 30, 30)
    assert refused.value.reason is Reason.TOO_LARGE
