"""Laying voxels of one grid onto another one voxel for voxel: nothing is interpolated, what does not fit is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from medmm.errors import ImageError, Reason

_OFF_VOXELS = 0.05
"""How far a voxel may lie beside its counterpart, in voxels: coordinates in headers are rounded decimal numbers."""
_FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])
"""From DICOM's patient coordinates (LPS, PS3.3 C.7.6.2.1.1) to RAS and back."""


def affine_of(
    position: npt.NDArray[np.float64],
    orientation: npt.NDArray[np.float64],
    spacing: tuple[float, float],
    step: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """The affine of a stack of DICOM planes (PS3.3 equation C.7.6.2.1-1).

    Args:
        position: Image Position (Patient) of the first plane, mm.
        orientation: Image Orientation (Patient): direction along a row, then along a column.
        spacing: Pixel Spacing: mm between rows, mm between columns.
        step: From a plane to the next one, mm.

    Returns:
        4x4 float64 that maps (d, h, w, 1) to RAS millimetres.
    """
    affine = np.eye(4)
    affine[:3, 0] = step
    affine[:3, 1] = orientation[3:] * spacing[0]
    affine[:3, 2] = orientation[:3] * spacing[1]
    affine[:3, 3] = position
    return np.asarray(_FLIP @ affine)


def place(
    array: npt.NDArray[Any],
    affine: npt.NDArray[np.float64] | None,
    shape: tuple[int, ...],
    onto: npt.NDArray[np.float64] | None,
) -> npt.NDArray[Any]:
    """Lay a mask onto another grid, voxel for voxel.

    The grids may differ in extent, in the order and direction of their axes, and in the distance of planes, as long
    as each plane of the mask that is not empty lies on one of the grid.

    Args:
        array: Mask ``[D, H, W]``; 0 is empty.
        affine: Maps its (d, h, w, 1) to RAS mm; None for a mask on a projection.
        shape: Shape of the grid: ``(D, H, W)``, or ``(H, W)`` for a projection or a single slice.
        onto: Affine of the grid; None for a projection.

    Returns:
        The mask with ``shape`` and the dtype of ``array``; 0 where the mask has no voxel.

    Raises:
        ImageError: ``DIMENSIONS_MISMATCH``: the mask does not lie on the grid, or reaches beyond it.
    """
    if onto is None or affine is None:
        return _on_projection(array, affine, shape, onto)
    if len(shape) == 2:  # a single slice
        return np.asarray(place(array, affine, (1, *shape), onto)[0])
    across = np.linalg.inv(onto) @ affine
    filled = np.argwhere(array.any((1, 2)))[:, 0]
    result = np.zeros(shape, array.dtype)
    if not len(filled):
        return result
    axes = _axes(across, array.shape)
    signs = np.sign([across[axes[i], i] for i in (1, 2)]).astype(int)
    planes = _whole(across[axes[0], 0] * filled + across[axes[0], 3])
    target = np.moveaxis(result, axes, (0, 1, 2))  # a view: (d, h, w) of the mask, still in the grid's directions
    windows = [_window(across, axes[i], i, array.shape[i], int(signs[i - 1]), target.shape[i]) for i in (1, 2)]
    for index, plane in zip(filled, planes, strict=True):
        source = array[index]
        inside = source[windows[0][1], windows[1][1]]
        lost = np.count_nonzero(source) - np.count_nonzero(inside)
        if lost or not 0 <= plane < target.shape[0]:
            raise _off("the mask reaches beyond the image", f"plane {plane} of {target.shape[0]}")
        target[plane, windows[0][0], windows[1][0]] = inside
    return result


def _on_projection(
    array: npt.NDArray[Any],
    affine: npt.NDArray[np.float64] | None,
    shape: tuple[int, ...],
    onto: npt.NDArray[np.float64] | None,
) -> npt.NDArray[Any]:
    """Without coordinates only the size can be compared."""
    flat = array.reshape(shape) if array.size == np.prod(shape) and array.shape[-2:] == tuple(shape[-2:]) else None
    if (affine is None) != (onto is None) or flat is None:
        told = f"a mask of {' x '.join(map(str, array.shape))}, {'with' if affine is not None else 'without'} positions"
        beside = f"{' x '.join(map(str, shape))}, {'with' if onto is not None else 'without'} positions"
        raise ImageError(Reason.DIMENSIONS_MISMATCH, "mask and image differ", where="mask", got=told, expected=beside)
    return flat.copy()


def _axes(across: npt.NDArray[np.float64], shape: tuple[int, ...]) -> tuple[int, int, int]:
    """For each axis of the mask the axis of the grid that it runs along."""
    linear = across[:3, :3]
    axes = tuple(int(np.argmax(np.abs(linear[:, i]))) for i in range(3))
    if sorted(axes) != [0, 1, 2]:
        raise _off("the mask's axes are not the image's", "oblique axes")
    for i, axis in enumerate(axes):
        along = linear[:, i].copy()
        along[axis] = 0 if i == 0 else along[axis] - np.sign(along[axis])
        if np.abs(along).max() * max(1, shape[i] - 1) > _OFF_VOXELS:
            got = f"{np.abs(linear[:, i]).round(3).tolist()} voxels a step"
            if i == 0:
                raise _off("the mask is tilted against the image", got, "Read the volume with tilt='keep'.")
            raise _off("the mask's pixels are not the image's", got)
    return axes[0], axes[1], axes[2]


def _whole(values: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    whole = np.rint(values)
    off = np.abs(values - whole).max(initial=0)
    if off > _OFF_VOXELS:
        raise _off("the mask's voxels lie between the image's", f"{off:.3f} voxels beside them")
    return np.asarray(whole, np.intp)


def _window(
    across: npt.NDArray[np.float64], axis: int, column: int, length: int, sign: int, size: int
) -> tuple[slice, slice]:
    """Slices of the grid and of the mask that lie on each other along one axis."""
    start = int(_whole(np.array([across[axis, 3]]))[0])
    first, last = (start, start + length - 1) if sign > 0 else (start - length + 1, start)
    low, high = max(first, 0), min(last, size - 1)
    if low > high:
        return slice(0, 0), slice(0, 0)
    if sign > 0:
        return slice(low, high + 1), slice(low - first, high - first + 1)
    # the mask runs against the grid: its last voxel lies on the grid's first
    begin, end = last - high, last - low
    return slice(high, None if low == 0 else low - 1, -1), slice(begin, end + 1)


def _off(what: str, got: str, fix: str = "Is this the series that the mask was drawn on?") -> ImageError:
    return ImageError(Reason.DIMENSIONS_MISMATCH, what, where="mask", got=got, expected="the image's voxels", fix=fix)
