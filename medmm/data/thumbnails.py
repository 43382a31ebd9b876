"""Small pictures of images for a page, made by processes that a broken file may end."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from medmm.data import allowance, apart
from medmm.errors import StudyError
from medmm.types import ImageRef, ImageSource

SIDE = 128
_WORKERS = 2


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A small square picture.

    Attributes:
        png: PNG file.
        aspect: Width of the original in terms of its height.
    """

    png: bytes
    aspect: float


def thumbnails(images: Iterable[ImageRef]) -> dict[ImageSource, Thumbnail | StudyError]:
    """Thumbnails of images by their sources, or why there is none."""
    sources = dict.fromkeys(image.source for image in images)
    if not sources:
        return {}
    task, limit = "medmm.data.thumbnails:thumbnail", allowance.SECONDS
    return dict(apart.look(task, sources, limit_s=limit, workers=_WORKERS, batch=4, whole=True))


def thumbnail(source: ImageSource) -> Thumbnail:
    """Make the thumbnail of an image, or of a volume's middle slice.

    Raises:
        StudyError: The image cannot be read.
    """
    import cv2

    from medmm.io.image import read_image

    read = read_image(source, size=SIDE)
    plane = read.array[0, read.array.shape[1] // 2] if read.array.ndim == 4 else read.array[0]
    pixels = np.clip(plane * 255 + 0.5, 0, 255).astype(np.uint8)
    rows, columns = read.header.get("rows"), read.header.get("columns")
    return Thumbnail(cv2.imencode(".png", pixels)[1].tobytes(), columns / rows if rows and columns else 1.0)
