"""Small changes of training images. Never a mirror image: it would swap the patient's sides."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from medmm.config.schema import AugmentConfig


def augment(
    stored: npt.NDArray[np.uint16], config: AugmentConfig, generator: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Shift, turn and scale the views of a study alike, and change brightness and contrast.

    What comes in from outside repeats the border. Volumes move within their slices only.

    Args:
        stored: ``[V, 1, S, S]`` or ``[V, 1, D, S, S]``, 65535 standing for 1.0.
        config: How far each change goes at most.
        generator: Drawn from eight times, whatever the config says.

    Returns:
        float32 of the same shape in [0, 1].
    """
    import cv2

    draws = generator.uniform(-1, 1, 8)
    matrix = _matrix(draws, config, stored.shape[-1])
    moved = np.empty(stored.shape, dtype=np.uint16)
    planes, targets = stored.reshape(-1, *stored.shape[-2:]), moved.reshape(-1, *stored.shape[-2:])
    for plane, target in zip(planes, targets, strict=True):
        cv2.warpAffine(
            plane, matrix, plane.shape[::-1], dst=target, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
    values = moved.astype(np.float32)
    contrast = 1 + config.intensity * draws[4]
    middle = float(values.mean())
    values *= np.float32(contrast / 65535)
    values += np.float32(middle / 65535 * (1 - contrast) + config.intensity * draws[5] / 2)
    return np.clip(values, 0, 1, out=values)


def _matrix(draws: npt.NDArray[np.float64], config: AugmentConfig, side: int) -> npt.NDArray[np.float64]:
    """2x3 affine map of (x, y) in pixels about the middle of the image."""
    angle = math.radians(config.rotate_deg) * draws[0]
    scale = 1 + config.scale * draws[1]
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    middle = (side - 1) / 2
    shift_x, shift_y = config.shift * side * draws[2], config.shift * side * draws[3]
    return np.array(
        [
            [cos, -sin, middle - cos * middle + sin * middle + shift_x],
            [sin, cos, middle - sin * middle - cos * middle + shift_y],
        ]
    )
