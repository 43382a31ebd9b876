"""How a volume is shown: one window, one inversion and one padding for all of its slices."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medmm.io.dataset import open_dataset
from medmm.io.dicom import IMAGE_TAGS
from medmm.io.geometry import frame_order, planes_of
from medmm.io.greyscale import Greyscale, Table, Window, greyscale_of
from medmm.io.layout import GREY, layout_of
from medmm.io.series import Stack
from medmm.io.slices import Slice

DIFFERENT = "The slices have windows of their own; that of the middle slice was taken for all."


@dataclass(frozen=True, slots=True)
class Display:
    """What the header of one slice says of how all are shown.

    Attributes:
        grey: Its file's greyscale pipeline.
        frame: Which of the file's frames it is.
        is_grey: Whether it has one sample a pixel, a grey value.
    """

    grey: Greyscale
    frame: int
    is_grey: bool

    @property
    def window(self) -> Window | Table | None:
        """The slice's window or VOI LUT."""
        return self.grey.frame_windows[self.frame] if self.grey.frame_windows else self.grey.voi

    def padding(self, real_world: bool) -> float | None:
        """The value that means "no pixel here", in the units that the slices are read in; None where none is declared.

        Args:
            real_world: Whether they were read so; see :func:`medmm.io.dicom.read_dicom`.
        """
        if self.grey.padding is None or not self.is_grey:
            return None
        stored = np.array([self.grey.padding[0]])
        mapping = self.grey.real_world_of(self.frame) if real_world else None
        if mapping is not None:
            value = float(mapping.apply(stored)[0])
        elif self.grey.table is not None:
            value = float(self.grey.table.lookup(stored)[0])
        else:
            slope, intercept = self.grey.rescale_of(self.frame)
            value = float(stored[0]) * slope + intercept
        return value if np.isfinite(value) else None

    def padding_range(self) -> tuple[float, float] | None:
        """Range of the padding after the rescale; None without any, and where a table stands instead."""
        if self.grey.padding is None or self.grey.table is not None:
            return None
        slope, intercept = self.grey.rescale_of(self.frame)
        ends = sorted(end * slope + intercept for end in self.grey.padding)
        room = abs(slope) / 4  # stored values are whole numbers
        return ends[0] - room, ends[1] + room


def display_of(stack: Stack, headers: dict[Path, dict[str, Any]]) -> tuple[Display, tuple[str, ...]]:
    """How a stack is shown: as its middle slice, or the next one to it that has a window.

    Args:
        stack: The slices.
        headers: What :func:`medmm.io.dicom.read_dicom` said of each slice's file.

    Returns:
        The display, and a note where the slices have different windows.
    """
    windows = {index: _window_of(headers[part.path]) for index, part in enumerate(stack.slices) if part.path in headers}
    middle = len(stack.slices) // 2
    among = [index for index, window in windows.items() if window] or list(windows)
    found = _display(stack.slices[min(among, key=lambda index: abs(index - middle), default=middle)])
    return found, (DIFFERENT,) if len(set(windows.values())) > 1 or found.grey.frame_windows else ()


def _window_of(header: dict[str, Any]) -> tuple[Any, ...]:
    """The window that a file offers first; empty without any."""
    return tuple((one["function"], one.get("center"), one.get("width")) for one in header.get("windows", ())[:1])


def _display(part: Slice) -> Display:
    source = open_dataset(part.path, IMAGE_TAGS, with_pixels=True)
    layout = layout_of(source.dataset, source.syntax, source.big_endian)
    frame = part.frame
    if part.frames > 1:  # read_dicom sorts frames along the normal where they are one stack
        planes = planes_of(source.dataset, part.frames)
        frame = ((planes and frame_order(planes)) or range(part.frames))[frame]
    return Display(greyscale_of(source.dataset, layout), frame, layout.samples == 1 and layout.photometric in GREY)


def show(array: npt.NDArray[np.float32], display: Display, exact: bool) -> tuple[dict[str, Any], bool]:
    """Turn a volume into grey in [0, 1], in place, by the window, else by its range.

    Args:
        array: ``[D, H, W]``, in the units that windows count in.
        display: How.
        exact: Whether voxels are values of the file, not means with their neighbours: then padding, as what is not
            finite always, is black and no part of the range.

    Returns:
        What was taken as window, and whether low values are white.
    """
    voi = display.window
    absent = _absent(array, display.padding_range() if exact else None)
    low, high = (0.0, 1.0) if voi is not None else _range(array, absent)
    for plane in array:
        shown = _shown(plane, voi, low, high)
        if display.grey.presentation is not None:
            shown = display.grey.presentation.present(shown)
        plane[...] = 1 - shown if display.grey.inverted and low < high else shown
    if absent is not None:
        array[absent] = 0
    return _told(voi, low, high), display.grey.inverted


def _absent(array: npt.NDArray[np.float32], padding: tuple[float, float] | None) -> npt.NDArray[np.bool_] | None:
    """Where there is padding or no finite value; None where that is nowhere, or everywhere."""
    absent = np.zeros(0, bool) if padding is None else (array >= padding[0]) & (array <= padding[1])
    if not (np.isfinite(array.min()) and np.isfinite(array.max())):
        absent = ~np.isfinite(array) if padding is None else absent | ~np.isfinite(array)
    return absent if absent.any() and not absent.all() else None


def _range(array: npt.NDArray[np.float32], absent: npt.NDArray[np.bool_] | None) -> tuple[float, float]:
    there: Any = True if absent is None else ~absent
    return float(array.min(where=there, initial=np.inf)), float(array.max(where=there, initial=-np.inf))


def _shown(
    plane: npt.NDArray[np.float32], voi: Window | Table | None, low: float, high: float
) -> npt.NDArray[np.float32]:
    if isinstance(voi, Window):
        return voi.apply(plane)
    if isinstance(voi, Table):
        return voi.display(plane)
    plane -= np.float32(low)
    plane *= np.float32(1 / (high - low) if high > low else 0)
    return np.clip(plane, 0, 1, out=plane)


def _told(voi: Window | Table | None, low: float, high: float) -> dict[str, Any]:
    if isinstance(voi, Window):
        return {"function": voi.function, "center": voi.center, "width": voi.width}
    return {"function": "LUT"} if voi is not None else {"function": "RANGE", "low": low, "high": high}
