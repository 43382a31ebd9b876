"""DICOM images as people look at them: decoded, through the greyscale pipeline, at the size that is asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medmm.io import codecs, elements, geometry, greyscale
from medmm.io.dataset import Source, open_dataset
from medmm.io.greyscale import Greyscale, Table, Window, greyscale_of
from medmm.io.header import (
    DESCRIBING,
    IDENTIFYING,
    MODALITY,
    DicomHeader,
    device_of,
    laterality_of,
    read_header,
    spacing_of,
    view_of,
)
from medmm.io.layout import GREY, LAYOUT_TAGS, NATIVE_SYNTAXES, Layout, layout_of
from medmm.io.palette import LUMA, PALETTE_TAGS, palette_of
from medmm.io.resize import check_request, resize_area, resized_spacing
from medmm.types import Image

__all__ = ["DicomHeader", "read_dicom", "read_header"]

IMAGE_TAGS = (*IDENTIFYING, *DESCRIBING, *geometry.PLANE_TAGS, *LAYOUT_TAGS, *greyscale.TAGS, *PALETTE_TAGS)
_WIDE = 0.25
_Shown = tuple[npt.NDArray[np.float32], dict[str, Any], tuple[str, ...]]


def read_dicom(
    path: str | Path, size: int | None = None, window: str | None = "auto", *, real_world: bool = True
) -> Image:
    """Read the image of a DICOM file.

    Args:
        path: The file, with or without a preamble.
        size: Stretch rows and columns to so many pixels, by area averaging; None keeps them. Grey values are averaged
            before a window is applied, so that what the window cuts off does not bias the mean.
        window: ``auto`` gives [0, 1]: the first VOI LUT or window of the header, else the range of the pixels that are
            not padding; MONOCHROME1 is inverted. None gives the values after the modality LUT (HU for CT), with
            neither window nor inversion.
        real_world: Without ``window``, real-world values stand instead where the header has no modality LUT or rescale
            that says anything. Windows do not count in them: False gives the values that the windows count in.

    Returns:
        float32 ``[1, H, W]``, or ``[1, D, H, W]`` for several frames: sorted along the normal where the header says
        where they lie, else in their order. Colour becomes luminance.

    Raises:
        UsageError: ``size`` or ``window`` is not one of the above.
        ImageError: The file gives no image; its ``reason`` says why.
    """
    check_request(size, window)
    source = open_dataset(Path(path), IMAGE_TAGS, with_pixels=True)
    layout = layout_of(source.dataset, source.syntax, source.big_endian)
    if layout.samples == 1 and layout.photometric in GREY:
        array, shown, notes = _grey(source, layout, size, window == "auto", real_world)
    else:
        array, shown, notes = _colour(source, layout, size, window == "auto")
    spacing = resized_spacing(spacing_of(source, layout.frames), layout.rows, layout.columns, size)
    header = {
        "format": "dicom",
        "modality": elements.text(source.dataset, MODALITY),
        "view": view_of(source),
        "laterality": laterality_of(source),
        "device": device_of(source),
        "photometric": layout.photometric,
        "syntax": NATIVE_SYNTAXES.get(layout.syntax) or codecs.NAMES.get(layout.syntax, layout.syntax),
        "rows": layout.rows,
        "columns": layout.columns,
        "frames": layout.frames,
        "bits_stored": layout.bits_stored,
        **shown,
    }
    placed, placing = geometry.place_frames(array, source.dataset, layout, spacing)
    return replace(placed, header=header, notes=(*layout.notes, *notes, *placing))


def _grey(source: Source, layout: Layout, size: int | None, auto: bool, real_world: bool) -> _Shown:
    """Planes of a greyscale image, what to say of them in the header, and notes."""
    grey = greyscale_of(source.dataset, layout)
    planes = _Planes(layout.frames)
    low, high = np.inf, -np.inf
    enough = size if auto and _is_coarse(grey, layout) else None
    for index, frame in enumerate(codecs.decode(source.dataset, layout, enough)):
        slope, intercept = grey.rescale_of(index) if grey.table is None else (1.0, 0.0)
        values = frame.values
        real = grey.real_world_of(index) if real_world and not auto else None
        if real is not None and real.line is not None:
            slope, intercept = real.line
        elif real is not None:
            values = real.apply(values)
        if auto:
            values, least, most = _without_padding(values, grey, slope)
            ends = _ends(grey, least, most, slope, intercept)
            low, high = min(low, ends[0]), max(high, ends[1])
        if grey.table is not None:
            values = grey.table.lookup(values)
        planes.add(_rescaled(values, slope, intercept, size))
    array = planes.array()
    if not auto:
        is_real = real_world and bool(grey.real_world)
        notes = ("The values are real-world values: the header has no rescale that says anything.",) if is_real else ()
        return array, {"window": None, "windows": grey.windows}, (*grey.notes, *notes)
    for plane, voi in zip(array, grey.frame_windows, strict=False):
        plane[...] = voi.apply(plane)
    shown = array if grey.frame_windows else _windowed(array, grey.voi, low, high)
    if grey.presentation is not None:
        shown = grey.presentation.present(shown)
    if grey.inverted and not (grey.voi is None and low >= high):  # a constant image stays black
        np.subtract(1, shown, out=shown)
    told = {"window": _told(grey.voi, low, high), "windows": grey.windows, "inverted": grey.inverted}
    return shown, told, grey.notes


def _is_coarse(grey: Greyscale, layout: Layout) -> bool:
    """Whether a smaller picture gives the same grey: no table, padding or range needs every pixel, the window is wide.

    A smaller picture differs by about a thousandth of the stored range, a narrow window would show it.
    """
    if grey.table is not None or grey.padding is not None or not isinstance(grey.voi, Window):
        return False
    if grey.presentation is not None or grey.frame_windows:
        return False
    low, high = layout.stored_range
    return grey.voi.width >= _WIDE * (high - low) * max(abs(slope) for slope, _ in grey.rescale)


def _rescaled(values: npt.NDArray[Any], slope: float, intercept: float, size: int | None) -> npt.NDArray[np.float32]:
    """Resize, then apply the rescale: both are linear, and the smaller image is cheaper."""
    is_wide = values.dtype.itemsize > 2 and values.dtype.kind in "iu"  # resizing to float32 would round
    plane = values if size is None and is_wide else resize_area(values, size)
    if (slope, intercept) == (1, 0):
        return resize_area(plane, None) if plane is values else plane
    if slope == 1 and float(intercept).is_integer() and not is_wide:
        plane += np.float32(intercept)
        return plane
    return (plane * np.float64(slope) + intercept).astype(np.float32)  # float32 would round twice, and in the middle


def _without_padding(values: npt.NDArray[Any], grey: Greyscale, slope: float) -> tuple[npt.NDArray[Any], float, float]:
    """Values with padding painted black, and the least and largest of the others (inf and -inf if there is none)."""
    absent = None
    if values.dtype.kind == "f":
        absent = ~(np.abs(values) <= np.finfo(np.float32).max)  # NaN compares false
    if grey.padding is not None:
        padding = (values >= grey.padding[0]) & (values <= grey.padding[1])
        absent = padding if absent is None else absent | padding
    if absent is None or not absent.any():
        return values, float(values.min()), float(values.max())
    valid = values[~absent]
    if not valid.size:
        return np.zeros_like(values), np.inf, -np.inf
    least, most = valid.min(), valid.max()
    black = least if (slope > 0) != grey.inverted else most
    return np.where(absent, black, values), float(least), float(most)


def _ends(grey: Greyscale, least: float, most: float, slope: float, intercept: float) -> tuple[float, float]:
    """Range after the modality LUT of stored values from ``least`` to ``most``."""
    if least > most:
        return np.inf, -np.inf
    if grey.table is not None:
        first, last = grey.table.first, grey.table.first + len(grey.table.entries) - 1
        inputs = (int(np.clip(end, first, last)) for end in (least, most))  # beyond its ends a table stays as it is
        low, high = inputs
        reached = grey.table.lookup(np.arange(low, high + 1))
        return float(reached.min()), float(reached.max())
    ends = (least * slope + intercept, most * slope + intercept)
    return min(ends), max(ends)


def _windowed(
    array: npt.NDArray[np.float32], voi: Window | Table | None, low: float, high: float
) -> npt.NDArray[np.float32]:
    """Grey in [0, 1]; without a window the range from ``low`` to ``high``, black where that is a single value."""
    if isinstance(voi, Window):
        return voi.apply(array)
    if isinstance(voi, Table):
        return voi.display(array)
    if low >= high:
        return np.zeros_like(array)
    array -= np.float32(low)
    array *= np.float32(1 / (high - low))
    return np.clip(array, 0, 1, out=array)


def _told(voi: Window | Table | None, low: float, high: float) -> dict[str, Any]:
    if isinstance(voi, Window):
        return {"function": voi.function, "center": voi.center, "width": voi.width}
    if isinstance(voi, Table):
        return {"function": "LUT"}
    return {"function": "RANGE", "low": low if low <= high else None, "high": high if low <= high else None}


def _colour(source: Source, layout: Layout, size: int | None, auto: bool) -> _Shown:
    """Luminance of a colour image, from 0 to the largest value that its bits can hold."""
    planes = _Planes(layout.frames)
    palette = palette_of(source.dataset, layout.signed) if layout.photometric == "PALETTE COLOR" else None
    bits = layout.bits_stored if palette is None else palette.bits
    for frame in codecs.decode(source.dataset, layout):
        values = frame.values
        if palette is not None:
            values = palette.lookup(values)
        elif values.ndim == 3 and frame.is_rgb:
            values = values @ LUMA
        else:
            values = _luminance(values if values.ndim == 2 else values[..., 0], layout)
        planes.add(resize_area(values, size))
    array = planes.array()
    notes = (f"The image is in colour ({layout.photometric}); its luminance was taken.",)
    if not auto:
        return array, {"window": None}, notes
    most = float((1 << bits) - 1)
    array *= np.float32(1 / most)
    told = {"window": {"function": "RANGE", "low": 0.0, "high": most}, "inverted": False}
    return np.clip(array, 0, 1, out=array), told, notes


def _luminance(values: npt.NDArray[Any], layout: Layout) -> npt.NDArray[Any]:
    """Luminance over the whole range; YBR_PARTIAL's runs from 16 to 235 (PS3.3 C.7.6.3.1.2)."""
    if not layout.photometric.startswith("YBR_PARTIAL"):
        return values
    unit = (1 << layout.bits_stored) / 256
    return np.clip((values - 16 * unit) * ((256 * unit - 1) / (219 * unit)), 0, 256 * unit - 1)


class _Planes:
    """Planes of an image as they come, without a second copy of a volume."""

    def __init__(self, frames: int) -> None:
        self.frames = frames
        self.count = 0
        self.stack: npt.NDArray[np.float32] | None = None

    def add(self, plane: npt.NDArray[np.float32]) -> None:
        """Take the next plane, ``[H, W]``."""
        if self.frames == 1:
            self.stack = plane
        else:
            if self.stack is None:
                self.stack = np.empty((self.frames, *plane.shape), np.float32)
            self.stack[self.count] = plane
        self.count += 1

    def array(self) -> npt.NDArray[np.float32]:
        """``[H, W]`` for one frame, else ``[D, H, W]``."""
        assert self.stack is not None
        assert self.count == self.frames
        return self.stack
