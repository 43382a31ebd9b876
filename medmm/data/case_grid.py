"""The grid that a segmentation model sees images on, and the way there and back. Edges of images stay edges.

Shape legend: S spatial axes, (H, W) or (D, H, W), C channels, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from medmm.data.case_channels import images_of, is_file_a_channel, read_channels
from medmm.errors import ImageError, Reason
from medmm.io.image import read_image
from medmm.types import Image, ImageSource

ONE_CHANNEL = ("image",)
_DARKEST, _BRIGHTEST = -4.0, 6.0  # standard deviations about the mean that 0 and 1 stand for where units say nothing
_EMPTY = 0.25  # share of zeros from which on they are what was cut away around a patient, as nnU-Net has it
_MOST_VALUES = 4_000_000  # of a channel, that mean and deviation are taken from
Range = tuple[float, float]
Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class CaseGrid:
    """How images are brought to a model.

    Attributes:
        patch: Pixels or voxels that the network sees at once, along S.
        spacing_mm: Of volumes, along D, H and W; None: projections, which are stretched to ``patch``.
        ranges: Of volumes, for each channel: modality's units that become 0 and 1; None: each volume's own mean and
            standard deviation decide. Empty: None for each.
        channels: Names of an image's channels, in their order.
    """

    patch: tuple[int, ...]
    spacing_mm: tuple[float, ...] | None = None
    ranges: tuple[Range | None, ...] = ()
    channels: tuple[str, ...] = ONE_CHANNEL

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> CaseGrid:
        """The grid that :meth:`as_dict` described.

        Raises:
            KeyError, TypeError, ValueError: It is no such description.
        """
        spacing = said["spacing_mm"]
        millimetres = None if spacing is None else tuple(float(step) for step in spacing)
        patch = tuple(int(side) for side in said["patch"])
        if "low" in said:  # as the first format had it
            if said["low"] is None and spacing is not None:
                raise ValueError("volumes were normalised in another way")
            return cls(patch, millimetres, () if said["low"] is None else ((said["low"], said["high"]),))
        ranges = tuple(None if one is None else (float(one[0]), float(one[1])) for one in said["ranges"])
        return cls(patch, millimetres, ranges, tuple(map(str, said["channels"])))

    def as_dict(self) -> dict[str, Any]:
        """The grid as JSON holds it."""
        said = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        return said | {"ranges": [None if one is None else list(one) for one in self.ranges]}

    def words(self) -> str:
        """The grid as people read it."""
        patch = " x ".join(map(str, self.patch))
        several = "" if len(self.channels) == 1 else f" of {len(self.channels)} channels ({', '.join(self.channels)})"
        if self.spacing_mm is None:
            return f"images{several} stretched to {patch} pixels"
        spacing = " x ".join(f"{step:g}" for step in self.spacing_mm)
        shown = [self._range(number) for number in range(len(self.channels))]
        words = dict.fromkeys("by their own mean" if one is None else f"from {one[0]:g} to {one[1]:g}" for one in shown)
        return f"volumes{several} at {spacing} mm in patches of {patch} voxels; values {', '.join(words)}"

    @property
    def volumes(self) -> bool:
        """Whether it is for volumes."""
        return len(self.patch) == 3

    def images_of(self, sources: Sequence[ImageSource]) -> list[ImageSource]:
        """What a study's images are read from, all channels of one together."""
        return images_of(sources, len(self.channels))

    def read(self, source: ImageSource) -> Image:
        """Read an image as it is, to be :meth:`prepared <prepare>`.

        Args:
            source: A file, a folder, the slices of a volume, or a file for each channel.

        Returns:
            ``[C, *S]``; volumes in the modality's units, turned to head, front and right; projections in [0, 1].

        Raises:
            ImageError: It cannot be read, is of another kind than the grid, has another number of channels, or is a
                volume without spacing.
        """
        if isinstance(source, tuple) and is_file_a_channel(source):
            image = read_channels(source, self._read_one)
        else:
            image = self._read_one(source)
        if len(image.array) != len(self.channels):
            expected = f"{len(self.channels)} ({', '.join(self.channels)})"
            raise ImageError(Reason.DIMENSIONS_MISMATCH, "an image of another number of channels",
                             got=len(image.array), expected=expected)  # fmt: skip
        return image

    def _read_one(self, source: ImageSource) -> Image:
        image = read_image(source, window=None if self.volumes else "auto")
        if image.array.ndim == 4 and not self.volumes and image.array.shape[1] == 1:
            image = replace(image, array=image.array[:, 0])
        if (image.array.ndim == 4) != self.volumes:
            kinds = ("a projection", "a volume")
            raise ImageError(Reason.DIMENSIONS_MISMATCH, "an image of the wrong kind",
                             got=kinds[not self.volumes], expected=kinds[self.volumes])  # fmt: skip
        if self.volumes and image.spacing_mm is None:
            raise ImageError(Reason.GEOMETRY_MISSING, "a volume whose voxels have no size")
        return image

    def shape(self, image: Image) -> tuple[int, ...]:
        """Size of an image on the grid, along S."""
        if self.spacing_mm is None or image.spacing_mm is None:
            return self.patch
        steps = zip(image.array.shape[1:], image.spacing_mm, self.spacing_mm, strict=True)
        return tuple(max(1, round(side * old / new)) for side, old, new in steps)

    def prepare(self, image: Image) -> Array:
        """Bring an image that :meth:`read` gave to the grid: ``[C, *S]`` float32 of :meth:`shape` in [0, 1]."""
        shape = self.shape(image)
        found = np.empty((len(image.array), *shape), np.float32)
        for number, values in enumerate(image.array):
            low, high = (self._range(number) or own_range(values)) if self.volumes else (0.0, 1.0)
            scaled = (np.nan_to_num(stretch(values, shape)) - np.float32(low)) / np.float32(max(high - low, 1e-6))
            np.clip(scaled, 0, 1, out=found[number])
        return found

    def _range(self, channel: int) -> Range | None:
        return self.ranges[channel] if self.ranges else None


def own_range(values: npt.NDArray[Any]) -> Range:
    """What 0 and 1 stand for in a channel whose unit says nothing: 4 standard deviations below and 6 above its mean.

    Where a quarter of the voxels and more are 0, these are what was cut away around the patient and are left out of
    both (Isensee et al. 2021).
    """
    finite = values[np.isfinite(values)]
    finite = finite[:: max(1, finite.size // _MOST_VALUES)]
    kept = finite[finite != 0]
    if finite.size - kept.size < _EMPTY * finite.size or not kept.size:
        kept = finite
    if not kept.size:
        return 0.0, 1.0
    mean, deviation = float(kept.mean(dtype=np.float64)), max(float(kept.std(dtype=np.float64)), 1e-6)
    return mean + _DARKEST * deviation, mean + _BRIGHTEST * deviation


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
        scores: ``[K, *S]`` on the model's grid.
        shape: The image's.
        decide: From ``[K, H, W]`` to ``[H, W]``.

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
