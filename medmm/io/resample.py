"""Resampling in millimetres: to a spacing, and from one grid onto another; the affine always stays true."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from medmm.errors import UsageError
from medmm.io.layout import check_size
from medmm.types import Image

NEAREST, LINEAR, CUBIC = 0, 1, 3
_Matrix = npt.NDArray[np.float64]


def to_spacing(image: Image, spacing_mm: float | Sequence[float], order: int = LINEAR) -> Image:
    """Resample an image to a spacing.

    The spacing is exactly the one asked for and the centre of the image stays where it is, so the outer edges may
    move, by at most half a new voxel; the number of voxels is the old extent over the new spacing, rounded. What lies
    beyond the old edges repeats the voxel there. An axis that becomes coarser by a factor f is smoothed by a Gaussian
    of (f - 1) / 2 voxels first, so that nothing finer than the new grid is left; not with ``order=0``, which is for
    masks and takes each value as it is.

    Args:
        image: ``[C, D, H, W]`` or ``[C, H, W]``, with ``spacing_mm``.
        spacing_mm: Millimetres between voxels along each spatial axis, or one number for all.
        order: Order of the spline: 0 nearest, 1 linear, 3 cubic.

    Returns:
        The image on the new grid, of the array's own dtype for ``order=0`` and else float32; its affine maps the new
        indices to the same millimetres.

    Raises:
        UsageError: The image has no spacing; ``spacing_mm`` is not above 0; ``order`` is not 0 to 5.
        ImageError: ``TOO_LARGE``: the new grid would not fit into memory.
    """
    axes = image.array.ndim - 1
    wanted = np.full(axes, spacing_mm, np.float64) if np.isscalar(spacing_mm) else np.asarray(spacing_mm, np.float64)
    _check(image, wanted, order)
    old = np.asarray(image.spacing_mm, np.float64)
    sides = image.array.shape[1:]
    shape = tuple(max(1, round(side * step / new)) for side, step, new in zip(sides, old, wanted, strict=True))
    check_size(int(np.prod(shape, dtype=object)) * image.array.shape[0], "resampling")
    factors = wanted / old
    matrix = np.eye(4)  # from new indices to old ones; a projection is a volume of one plane here
    for axis in range(axes):
        place = 3 - axes + axis
        matrix[place, place] = factors[axis]
        matrix[place, 3] = (sides[axis] - 1) / 2 - factors[axis] * (shape[axis] - 1) / 2
    planes = (1,) * (3 - axes)
    smooth = (*planes, *factors) if order > NEAREST else (1.0, 1.0, 1.0)
    channels = [
        sample(_smoothed(channel.reshape(*planes, *sides), smooth), matrix, (*planes, *shape), order, None)
        for channel in image.array
    ]
    array = np.stack(channels).reshape(image.array.shape[0], *shape)
    affine = None if image.affine is None else image.affine @ matrix
    return replace(image, array=array, affine=affine, spacing_mm=tuple(float(step) for step in wanted))


def onto(image: Image, like: Image, order: int = NEAREST, fill: float = 0.0) -> Image:
    """Resample a volume onto the grid of another one, whatever their spacings, directions and extents.

    With ``order=0`` each voxel of ``like`` gets the value of the voxel of ``image`` that its centre lies in, so that a
    mask made on a resampled grid comes back onto the original one voxel for voxel. A voxel of ``image`` reaches half a
    step to either side of its centre.

    Args:
        image: ``[C, D, H, W]``, or ``[C, H, W]`` for a single slice, with an affine.
        like: Has the grid to resample onto, of either form; only its shape, spacing and affine are looked at.
        order: Order of the spline: 0 nearest, for masks; 1 linear, 3 cubic, smoothed first along axes that become
            coarser, as :func:`to_spacing` does.
        fill: Value of voxels that lie outside ``image``.

    Returns:
        ``image`` on the grid of ``like``, of the array's own dtype for ``order=0`` and else float32.

    Raises:
        UsageError: One of the two has no affine that can be inverted; ``order`` is not 0 to 5.
    """
    if image.affine is None or like.affine is None or abs(np.linalg.det(image.affine[:3, :3])) < 1e-12:
        raise UsageError("only images with a place in space can be resampled onto each other", got="no affine")
    if order not in range(6):
        raise UsageError("unknown order of interpolation", got=order, expected="0 to 5")
    matrix = np.linalg.inv(image.affine) @ like.affine
    shape = (1, 1, *like.array.shape[1:])[-3:]
    sides = (1, 1, *image.array.shape[1:])[-3:]
    factors = np.abs(matrix[:3, :3]).max(axis=1) if order > NEAREST else (1.0, 1.0, 1.0)
    smooth = (_smoothed(channel.reshape(sides), factors) for channel in image.array)
    channels = [sample(channel, matrix, shape, order, fill) for channel in smooth]
    array = np.stack(channels).reshape(image.array.shape[0], *like.array.shape[1:])
    return replace(image, array=array, affine=like.affine.copy(), spacing_mm=like.spacing_mm)


def sample(
    volume: npt.NDArray[Any], matrix: _Matrix, shape: tuple[int, ...], order: int, fill: float | None
) -> npt.NDArray[Any]:
    """Look a volume up at the voxels of another grid, a plane at a time.

    Args:
        volume: ``[D, H, W]``.
        matrix: 4x4, maps (d, h, w, 1) of the new grid to indices of ``volume``.
        shape: Size of the new grid.
        order: Order of the spline.
        fill: Value of what lies outside ``volume``; None repeats the voxel at its edge.

    Returns:
        ``shape``; the volume's dtype for ``order=0``, else float32.
    """
    result = np.empty(shape, volume.dtype if order == NEAREST else np.float32)
    if order > NEAREST:
        from scipy import ndimage

        volume = volume.astype(np.float32, copy=False)
        spline = volume if order == LINEAR else ndimage.spline_filter(volume, order, np.float32, mode="nearest")
    limits = np.array(volume.shape).reshape(3, 1, 1)
    rows, columns = np.arange(shape[1]).reshape(-1, 1), np.arange(shape[2])
    for plane in range(shape[0]):
        places = (
            matrix[:3, 0, None, None] * plane
            + matrix[:3, 1, None, None] * rows
            + matrix[:3, 2, None, None] * columns
            + matrix[:3, 3, None, None]
        )
        inside = None if fill is None else ((places >= -0.5) & (places < limits - 0.5)).all(axis=0)
        np.clip(places, 0, limits - 1, out=places)
        if order == NEAREST:
            depth, row, column = np.floor(places + 0.5).astype(np.intp)
            result[plane] = volume[depth, row, column]
        else:
            ndimage.map_coordinates(spline, places, result[plane], order, mode="nearest", prefilter=False)
        if inside is not None:
            result[plane][~inside] = fill
    return result


def _check(image: Image, wanted: _Matrix, order: int) -> None:
    axes = image.array.ndim - 1
    if image.spacing_mm is None or len(image.spacing_mm) != axes:
        raise UsageError("an image without spacing cannot be resampled to one", got=image.spacing_mm)
    if len(wanted) != axes or not (np.isfinite(wanted).all() and (wanted > 0).all()):
        expected = f"{axes} numbers above 0, or one for all axes"
        raise UsageError("this is no spacing in millimetres", got=wanted.tolist(), expected=expected)
    if order not in range(6):
        raise UsageError("unknown order of interpolation", got=order, expected="0 to 5")


def _smoothed(volume: npt.NDArray[Any], factors: Sequence[float] | _Matrix) -> npt.NDArray[Any]:
    """A copy smoothed along the axes that become coarser; the volume itself where there is none."""
    if max(factors) <= 1.0 + 1e-6:
        return volume
    from scipy import ndimage

    for axis, factor in enumerate(factors):
        if factor > 1.0 + 1e-6 and volume.shape[axis] > 1:
            volume = ndimage.gaussian_filter1d(volume, (factor - 1) / 2, axis, output=np.float32, mode="nearest")
    return volume
