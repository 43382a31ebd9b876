"""Images in the form that the cache and the reading processes keep them in."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from medmm.config.schema import PreprocessConfig
from medmm.errors import ImageError, Reason
from medmm.types import ImageSource

WHITE = 65535
"""The stored value of 1.0."""


def shape_of(preprocess: PreprocessConfig) -> tuple[int, ...]:
    """Shape of a view: ``(1, S, S)``, or ``(1, D, S, S)`` for volumes."""
    sides = (preprocess.size, preprocess.size)
    return (1, *sides) if preprocess.depth is None else (1, preprocess.depth, *sides)


def read_stored(source: ImageSource, preprocess: PreprocessConfig) -> npt.NDArray[np.uint16]:
    """Read one image as it is stored: of the shape of :func:`shape_of`, 65535 standing for 1.0.

    Raises:
        ImageError: The file gives no image, or a volume where a projection is asked for or the reverse.
    """
    from medmm.io.image import read_image

    array = read_image(source, size=preprocess.size, window="auto").array
    wanted = shape_of(preprocess)
    if array.ndim == 4 and len(wanted) == 3 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != len(wanted):
        got = f"a volume of {array.shape[1]} slices" if array.ndim == 4 else "a projection"
        expected = "a projection" if len(wanted) == 3 else "a volume"
        raise ImageError(Reason.DIMENSIONS_MISMATCH, "an image of the wrong kind", got=got, expected=expected)
    if array.ndim == 4:
        array = _with_depth(array, wanted[1])
    return np.rint(np.clip(array, 0, 1) * WHITE).astype(np.uint16)


def _with_depth(volume: npt.NDArray[np.float32], depth: int) -> npt.NDArray[np.float32]:
    """Stretch ``[1, D, S, S]`` along D: area averaging, linear where enlarged."""
    import cv2

    _, slices, rows, columns = volume.shape
    flat = np.ascontiguousarray(volume[0].reshape(slices, rows * columns))
    way = cv2.INTER_AREA if depth < slices else cv2.INTER_LINEAR
    strips = np.array_split(flat, max(1, flat.shape[1] // 16384), axis=1)  # OpenCV takes no side over 32767
    done = [cv2.resize(np.ascontiguousarray(strip), (strip.shape[1], depth), interpolation=way) for strip in strips]
    return np.concatenate(done, axis=1, dtype=np.float32).reshape(1, depth, rows, columns)
