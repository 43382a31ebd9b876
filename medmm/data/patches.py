"""Patches of images with their masks: where they are cut, and the changes that move both alike."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medmm.config.schema import AugmentConfig
from medmm.data.case_writing import ANYWHERE, WHITE

_VEILS = 3
Patch = tuple[npt.NDArray[np.uint16], npt.NDArray[Any]]


@dataclass(frozen=True)
class Patches:
    """How patches are cut.

    Attributes:
        shape: Pixels or voxels, along S.
        foreground: Share of the patches that lie around a voxel of a class, each class as often.
    """

    shape: tuple[int, ...]
    foreground: float = 0.5

    def cut(
        self,
        image: npt.NDArray[np.uint16],
        mask: npt.NDArray[Any],
        places: npt.NDArray[np.int32],
        generator: np.random.Generator,
    ) -> Patch:
        """Cut a patch out of an image; what lies beyond it is black and background.

        Args:
            image: ``[C, *S]``.
            mask: Its coded masks ``[*S]``.
            places: ``[N, 1 + S]``, as :func:`medmm.data.case_writing.places_of` gives them; where parts of the image
                are not labelled, every patch lies around a labelled voxel.
            generator: Drawn from as often whatever the image is.
        """
        share, which, place = generator.random(3)
        start = generator.random(mask.ndim)
        free = np.maximum(np.array(mask.shape) - self.shape, 0)
        corner = np.floor(start * (free + 1)).astype(int)
        inside = self._around(places, share, which) if free.any() else places[:0]
        if len(inside):
            corner = np.clip(inside[int(place * len(inside)), 1:] - np.array(self.shape) // 2, 0, free)
        channels = np.stack([padded(channel, corner, self.shape) for channel in image])
        return channels, padded(mask, corner, self.shape)

    def _around(self, places: npt.NDArray[np.int32], share: float, which: float) -> npt.NDArray[np.int32]:
        """The voxels of which one is to lie in the patch's middle; none: the patch lies anywhere."""
        classes = np.unique(places[:, 0])
        classes = classes[classes != ANYWHERE]
        if share < self.foreground and len(classes):
            return places[places[:, 0] == classes[int(which * len(classes))]]
        return places[places[:, 0] == ANYWHERE]


def padded(array: npt.NDArray[Any], corner: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """A copy of ``shape`` from ``corner`` on, an array that is smaller in its middle and 0 around it."""
    part = array[tuple(slice(int(one), int(one) + side) for one, side in zip(corner, shape, strict=True))]
    if part.shape == tuple(shape):
        return np.array(part)
    whole = np.zeros(shape, array.dtype)
    before = [(side - own) // 2 for side, own in zip(shape, part.shape, strict=True)]
    whole[tuple(slice(one, one + own) for one, own in zip(before, part.shape, strict=True))] = part
    return whole


def changed(
    image: npt.NDArray[np.uint16],
    mask: npt.NDArray[Any],
    config: AugmentConfig,
    mirror: bool,
    hide: float,
    generator: np.random.Generator,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[Any]]:
    """Shift, turn, scale and perhaps mirror image and mask alike; change brightness, contrast and gamma of the image.

    Volumes move within their slices, all alike. What comes in from outside repeats the border.

    Args:
        image: ``[C, *S]``.
        mask: Coded, ``[*S]``; its values are never mixed.
        config: How far each change goes at most.
        mirror: Whether left and right are swapped, one time in two.
        hide: How often parts of the image are veiled, as disease veils them.
        generator: Drawn from as often whatever the config says.

    Returns:
        The image, float32 in [0, 1], and the mask.
    """
    import cv2

    draw = generator.uniform(-1, 1, 10)
    matrix = _matrix(draw, config, image.shape[-2:], mirror and draw[7] > 0)
    size = image.shape[:-3:-1]
    how: dict[str, Any] = {"borderMode": cv2.BORDER_REPLICATE}
    planes = image.reshape(-1, *image.shape[-2:])
    moved = np.stack([cv2.warpAffine(plane, matrix, size, flags=cv2.INTER_LINEAR, **how) for plane in planes])
    outlines = _warped(mask.reshape(-1, *mask.shape[-2:]), matrix)
    values = moved.reshape(image.shape).astype(np.float32) / np.float32(WHITE)
    spots = generator.random((_VEILS, 6))
    for channel in values:
        _repaint(channel, draw, config)
        if abs(draw[8]) < hide:
            for spot in spots:
                _veil(channel, spot)
    return values, outlines.reshape(mask.shape)


def _veil(values: npt.NDArray[np.float32], spot: npt.NDArray[np.float64]) -> None:
    """Lay a soft ellipse of one grey over the image, of a volume over a range of its slices."""
    import cv2

    rows, columns = values.shape[-2:]
    middle = (int(spot[0] * columns), int(spot[1] * rows))
    radii = [max(2, int((0.04 + 0.2 * share) * side)) for share, side in zip(spot[2:4], (columns, rows), strict=True)]
    veil: npt.NDArray[Any] = np.zeros((rows, columns), np.float32)
    cv2.ellipse(veil, middle, tuple(radii), 180 * float(spot[4]), 0, 360, 0.3 + 0.7 * float(spot[5]), -1)
    veil = cv2.GaussianBlur(veil, (0, 0), max(1.0, min(radii) / 4))
    first, last = sorted((spot[0], spot[3]))
    depth = values.shape[0] if values.ndim == 3 else 1
    planes = values.reshape(depth, rows, columns)[int(first * depth) : int(np.ceil(last * depth)) or 1]
    planes += veil * (np.float32((spot[1] + spot[4]) % 1) - planes)


def _warped(planes: npt.NDArray[Any], matrix: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
    """Planes ``[N, H, W]`` of any integers moved as :func:`cv2.warpAffine` does, each pixel taken from its nearest."""
    rows, columns = planes.shape[1:]
    back = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))
    y, x = np.mgrid[:rows, :columns]
    places = np.rint(np.tensordot(back[:2], np.stack([x, y, np.ones_like(x)]), axes=1)).astype(np.intp)
    return planes[:, np.clip(places[1], 0, rows - 1), np.clip(places[0], 0, columns - 1)]


def _matrix(
    draw: npt.NDArray[np.float64], config: AugmentConfig, sides: tuple[int, ...], mirrored: bool
) -> npt.NDArray[np.float64]:
    """2x3 affine map of (x, y) in pixels about the middle of the image."""
    angle, scale = math.radians(config.rotate_deg) * draw[0], 1 + config.scale * draw[1]
    turn = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    if mirrored:
        turn = turn @ np.diag([-1.0, 1.0])
    middle = np.array([(sides[1] - 1) / 2, (sides[0] - 1) / 2])
    shift = config.shift * np.array([sides[1] * draw[2], sides[0] * draw[3]])
    return np.column_stack([turn, middle - turn @ middle + shift])


def _repaint(values: npt.NDArray[np.float32], draw: npt.NDArray[np.float64], config: AugmentConfig) -> None:
    """Change contrast, brightness and gamma of a channel, in place."""
    gamma = math.exp(2 * config.intensity * draw[6])
    np.power(values, np.float32(gamma), out=values)
    contrast = 1 + config.intensity * draw[4]
    middle = float(values.mean())
    values *= np.float32(contrast)
    values += np.float32(middle * (1 - contrast) + config.intensity * draw[5] / 2)
    np.clip(values, 0, 1, out=values)
