"""The grid that a segmentation model sees images on, and the way there and back. Edges of images stay edges.

Shape legend: S spatial axes, (H, W) or (D, H, W), C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medmm.errors import ImageError, Reason
from medmm.io.image import read_image
from medmm.types import Image, ImageSource

_LOW, _HIGH = 0.5, 99.5  # per cent of an image's values between which it is shown, as nnU-Net clips CT
Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class CaseGrid:
    """How images are brought to a model.

    Attributes:
        patch: Pixels or voxels that the network sees at once, along S.
        spacing_mm: Of volumes, along D, H and W; None: projections, which are stretched to ``patch``.
        low, high: Modality's units that become 0 and 1; None: each volume's own 0.5 and 99.5 per cent.
    """

    patch: tuple[int, ...]
    spacing_mm: tuple[float, ...] | None = None
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> CaseGrid:
        """The grid that :meth:`as_dict` described.

        Raises:
            KeyError, TypeError, ValueError: It is no such description.
        """
        spacing = said["spacing_mm"]
        millimetres = None if spacing is None else tuple(float(step) for step in spacing)
        return cls(tuple(int(side) for side in said["patch"]), millimetres, said["low"], said["high"])

    def as_dict(self) -> dict[str, Any]:
        """The grid as JSON holds it."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    def words(self) -> str:
        """The grid as people read it."""
        patch = " x ".join(map(str, self.patch))
        if self.spacing_mm is None:
            return f"images stretched to {patch} pixels"
        spacing = " x ".join(f"{step:g}" for step in self.spacing_mm)
        shown = f"{_LOW:g} to {_HIGH:g}% of each" if self.low is None else f"{self.low:g} to {self.high:g}"
        return f"volumes at {spacing} mm in patches of {patch} voxels; values from {shown}"

    @property
    def volumes(self) -> bool:
        """Whether it is for volumes."""
        return len(self.patch) == 3

    def read(self, source: ImageSource) -> Image:
        """Read an image as it is, to be :meth:`prepared <prepare>`.

        Returns:
            ``[1, *S]``; volumes in the modality's units, turned to head, front and right; projections in [0, 1].

        Raises:
            ImageError: It cannot be read, is of another kind than the grid, or a volume without spacing.
        """
        image = read_image(source, window=None if self.volumes else "auto")
        if image.array.ndim == 4 and not self.volumes and image.array.shape[1] == 1:
            image = Image(image.array[:, 0], image.affine, image.spacing_mm, image.header, image.notes)
        if (image.array.ndim == 4) != self.volumes:
            kinds = ("a projection", "a volume")
            raise ImageError(Reason.DIMENSIONS_MISMATCH, "an image of the wrong kind",
                             got=kinds[not self.volumes], expected=kinds[self.volumes])  # fmt: skip
        if self.volumes and image.spacing_mm is None:
            raise ImageError(Reason.GEOMETRY_MISSING, "a volume whose voxels have no size")
        if len(image.array) == 1:
            return image
        note = f"The first of {len(image.array)} channels is looked at."
        return Image(image.array[:1], image.affine, image.spacing_mm, image.header, (*image.notes, note))

    def shape(self, image: Image) -> tuple[int, ...]:
        """Size of an image on the grid, along S."""
        if self.spacing_mm is None or image.spacing_mm is None:
            return self.patch
        steps = zip(image.array.shape[1:], image.spacing_mm, self.spacing_mm, strict=True)
        return tuple(max(1, round(side * old / new)) for side, old, new in steps)

    def prepare(self, image: Image) -> Array:
        """Bring an image that :meth:`read` gave to the grid: float32 of :meth:`shape` in [0, 1]."""
        values = stretch(image.array[0], self.shape(image))
        low, high = (0.0, 1.0) if not self.volumes else (self.low, self.high)
        if low is None or high is None:
            finite = values[np.isfinite(values)]
            low, high = (
                np.percentile(finite[:: max(1, finite.size // 1_000_000)], (_LOW, _HIGH)) if finite.size else (0, 1)
            )
        scaled = (np.nan_to_num(values) - np.float32(low)) / np.float32(max(high - low, 1e-6))
        return np.clip(scaled, 0, 1, out=scaled)


def stretch(values: npt.NDArray[Any], shape: Sequence[int]) -> Array:
    """Stretch ``[*S]`` to a shape: area averaging along axes that become coarser, else linear; float32."""
    import cv2

    planes = values.reshape(-1, *values.shape[-2:])
    rows, columns = (int(side) for side in shape[-2:])
    coarser = rows < planes.shape[1] or columns < planes.shape[2]
    way = cv2.INTER_AREA if coarser else cv2.INTER_LINEAR
    flat = np.stack([cv2.resize(plane.astype(np.float32, copy=False), (columns, rows), interpolation=way)
                     for plane in planes])  # fmt: skip
    if len(shape) == 2:
        return flat[0]
    matrix = _along(len(planes), int(shape[0]))
    return np.tensordot(matrix, flat, axes=1) if len(matrix) != len(planes) else flat


def _along(old: int, new: int) -> Array:
    """Weights ``[new, old]`` that stretch an axis: averages over what a voxel covers, or linear between centres."""
    if new < old:
        edges = np.arange(new + 1) * (old / new)
        inside = np.minimum(edges[1:, None], np.arange(1, old + 1)) - np.maximum(edges[:-1, None], np.arange(old))
        return (np.maximum(inside, 0) * (new / old)).astype(np.float32)
    return _linear(old, new)


def stretch_mask(mask: npt.NDArray[Any], shape: Sequence[int]) -> npt.NDArray[Any]:
    """Stretch ``[*S]`` to a shape: each voxel gets the value at its centre; the dtype stays."""
    places = [
        ((np.arange(new) + 0.5) * (old / new)).astype(np.intp) for old, new in zip(mask.shape, shape, strict=True)
    ]
    return np.ascontiguousarray(mask[np.ix_(*places)])


def restore(scores: Array, shape: Sequence[int], decide: Callable[[Array], npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Bring scores back to an image's own grid, a plane at a time, and decide there: edges are finer than the model's.

    Args:
        scores: ``[C, *S]`` on the model's grid.
        shape: The image's.
        decide: From ``[C, H, W]`` to ``[H, W]``.

    Returns:
        What was decided, ``[*S]`` of ``shape``.
    """
    import cv2

    rows, columns = (int(side) for side in shape[-2:])
    planes = scores[:, None] if len(shape) == 2 else scores
    depth = 1 if len(shape) == 2 else int(shape[0])
    matrix = _linear(planes.shape[1], depth)
    result: npt.NDArray[Any] | None = None
    for place in range(depth):
        near = np.flatnonzero(matrix[place])
        plane = np.tensordot(planes[:, near].astype(np.float32), matrix[place, near], axes=([1], [0]))
        fine = np.stack([cv2.resize(one, (columns, rows), interpolation=cv2.INTER_LINEAR) for one in plane])
        decided = decide(fine)
        if result is None:
            result = np.empty((depth, rows, columns), decided.dtype)
        result[place] = decided
    assert result is not None
    return result.reshape(tuple(int(side) for side in shape))


def _linear(old: int, new: int) -> Array:
    """Weights ``[new, old]``, linear between centres whatever becomes of the size."""
    places = np.clip((np.arange(new) + 0.5) * (old / new) - 0.5, 0, old - 1)
    return np.maximum(1 - np.abs(places[:, None] - np.arange(old)), 0).astype(np.float32)
