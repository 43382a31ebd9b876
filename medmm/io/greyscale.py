"""The greyscale pipeline of PS3.3 C.11 and PS3.4 annex N: modality LUT, VOI LUT or window, inversion, padding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medmm.errors import ImageError
from medmm.io import elements

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from medmm.io.layout import Layout

INTERCEPT, SLOPE, MODALITY_LUT = 0x00281052, 0x00281053, 0x00283000
CENTER, WIDTH, FUNCTION, VOI_LUT = 0x00281050, 0x00281051, 0x00281056, 0x00283010
DESCRIPTOR, LUT_DATA = 0x00283002, 0x00283006
PADDING, PADDING_LIMIT, SHAPE = 0x00280120, 0x00280121, 0x20500020
SHARED_GROUPS, FRAME_GROUPS = 0x52009229, 0x52009230
FRAME_TRANSFORM, FRAME_VOI = 0x00289145, 0x00289132
TAGS = (
    *(INTERCEPT, SLOPE, MODALITY_LUT, CENTER, WIDTH, FUNCTION, VOI_LUT),
    *(PADDING, PADDING_LIMIT, SHAPE, SHARED_GROUPS, FRAME_GROUPS),
)
_LARGEST = 1e20
"""Bound of slope and intercept: beyond it 32-bit samples leave the range of float32."""


@dataclass(frozen=True, slots=True)
class Window:
    """A window in the units after the modality LUT (PS3.3 C.11.2.1.2 and C.11.2.1.3)."""

    center: float
    width: float
    function: str = "LINEAR"

    def apply(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Map ``values`` to [0, 1], in place where the function is a line."""
        if self.function == "SIGMOID":
            slope = -4.0 / self.width
            return (1.0 / (1.0 + np.exp(np.clip(slope * (values - self.center), -80, 80)))).astype(np.float32)
        if self.function == "LINEAR_EXACT":
            lower, span = self.center - self.width / 2, self.width
        else:
            lower, span = self.center - 0.5 - (self.width - 1) / 2, self.width - 1
        if span <= 0:  # LINEAR of width 1 is a threshold: at most lower is black, the rest white
            return (values > lower).astype(np.float32)
        values -= np.float32(lower)
        values *= np.float32(1 / span)
        return np.clip(values, 0, 1, out=values)


@dataclass(frozen=True, slots=True)
class Table:
    """A lookup table (PS3.3 C.11.1.1.1).

    Attributes:
        first: Input value of the first entry; values below get the first entry, values beyond the last one.
        entries: float32 ``[N]``.
        bits: Bits of an entry; the output range is 0 to ``2**bits - 1``.
    """

    first: int
    entries: npt.NDArray[np.float32]
    bits: int

    def lookup(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Entries for whole numbers."""
        return self.entries[np.clip(values.astype(np.int64) - self.first, 0, len(self.entries) - 1)]

    def display(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Map ``values`` to [0, 1]; between two entries in a straight line, since resizing leaves whole numbers."""
        inputs = self.first + np.arange(len(self.entries))
        shown = np.interp(values, inputs, self.entries / float((1 << self.bits) - 1))
        return np.clip(shown, 0, 1).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Greyscale:
    """How stored values become grey.

    Attributes:
        rescale: Slope and intercept of each frame, or one pair for all.
        table: Modality LUT that stands instead of the rescale, None if there is none.
        voi: Window or VOI LUT, None if the header has none.
        padding: Lowest and highest stored value that mean "no pixel here", None if there are none.
        inverted: Whether low values are white.
        notes: What was odd.
    """

    rescale: tuple[tuple[float, float], ...]
    table: Table | None
    voi: Window | Table | None
    padding: tuple[int, int] | None
    inverted: bool
    notes: tuple[str, ...]

    def rescale_of(self, frame: int) -> tuple[float, float]:
        """Slope and intercept of a frame."""
        return self.rescale[frame if len(self.rescale) > 1 else 0]


def greyscale_of(dataset: Dataset, layout: Layout) -> Greyscale:
    """Read the greyscale pipeline out of a header.

    Raises:
        ImageError: ``HEADER_INVALID``: the modality LUT or rescale cannot be read. A broken window is left out with a
            note instead, for it changes how values are shown and not what they are.
    """
    notes: list[str] = []
    transforms = _macros(dataset, FRAME_TRANSFORM, layout.frames)
    pairs = [_rescale(item, notes) for item in transforms] or [_rescale(dataset, notes)]
    voi: Window | Table | None = None
    try:
        voi = _voi(dataset, layout, notes)
    except ImageError:
        notes.append("The window of the header cannot be read and was left out.")
    tables = elements.items(dataset, MODALITY_LUT)
    shape = elements.text(dataset, SHAPE)
    return Greyscale(
        rescale=tuple(pairs[:1] if len(set(pairs)) == 1 else pairs),
        table=_table(tables[0], layout.signed) if tables else None,
        voi=voi,
        padding=_padding(dataset, layout),
        inverted=layout.photometric == "MONOCHROME1" or shape == "INVERSE",
        notes=tuple(dict.fromkeys(notes)),
    )


def _macros(dataset: Dataset, tag: int, frames: int) -> list[Dataset]:
    """A functional group's item for each frame (PS3.3 C.7.6.16.1.1); an empty list where it is not given."""
    shared = elements.items(dataset, SHARED_GROUPS)
    common = elements.items(shared[0], tag) if shared else []
    if common:
        return common[:1]
    single = [elements.items(group, tag) for group in elements.items(dataset, FRAME_GROUPS)[:frames]]
    return [found[0] for found in single] if len(single) == frames and all(single) else []


def _rescale(dataset: Dataset, notes: list[str]) -> tuple[float, float]:
    pair = []
    for tag, default in ((SLOPE, 1.0), (INTERCEPT, 0.0)):
        value = elements.number(dataset, tag, "DS")
        if value is not None and not abs(value) < _LARGEST:
            raise elements.invalid(tag, f"a number under {_LARGEST:g}")
        pair.append(default if value is None else value)
    if pair[0] == 0:
        notes.append("The rescale slope is 0; 1 was taken.")
    return pair[0] or 1.0, pair[1]


def _voi(dataset: Dataset, layout: Layout, notes: list[str]) -> Window | Table | None:
    """The first VOI LUT, else the first window."""
    macros = _macros(dataset, FRAME_VOI, layout.frames)
    holder = macros[0] if macros else dataset
    tables = elements.items(holder, VOI_LUT)
    if tables:
        return _table(tables[0], layout.signed)
    centers, widths = elements.numbers(holder, CENTER, "DS"), elements.numbers(holder, WIDTH, "DS")
    if not centers or not widths:
        return None
    function = elements.text(holder, FUNCTION) or "LINEAR"
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        notes.append("The VOI LUT function is unknown; LINEAR was taken.")
        function = "LINEAR"
    if not (np.isfinite(centers[0]) and 0 < widths[0] < np.inf):
        notes.append("The window cannot be; the full range was taken.")
        return None
    if function == "LINEAR" and (layout.is_float or widths[0] < 1):
        notes.append("LINEAR counts whole grey values, and these are not; LINEAR_EXACT was taken.")
        function = "LINEAR_EXACT"
    if len(macros) > 1 and len({tuple(elements.numbers(item, CENTER, "DS")) for item in macros}) > 1:
        notes.append("Frames have windows of their own; the first frame's was taken for all.")
    return Window(centers[0], widths[0], function)


def _table(dataset: Dataset, signed: bool) -> Table:
    """Read one item of a LUT sequence.

    Raises:
        ImageError: ``HEADER_INVALID``: descriptor or data are missing or too short.
    """
    descriptor = elements.numbers(dataset, DESCRIPTOR, "US")
    data = elements.raw_bytes(dataset, LUT_DATA)
    if len(descriptor) < 3 or data is None:
        raise elements.invalid(LUT_DATA, "a descriptor of three numbers, and data")
    count, first, bits = (int(value) for value in descriptor[:3])
    count = count % 65536 or 65536  # 0 stands for 2**16
    if signed and first > 32767:  # explicit VR may say US where the values are signed
        first -= 65536
    element: Any = dataset.get_item(LUT_DATA)
    order = "<" if getattr(element, "is_little_endian", True) else ">"
    kind = "u1" if len(data) < 2 * count else f"{order}u2"
    entries = np.frombuffer(data, kind, min(count, len(data) // np.dtype(kind).itemsize)).astype(np.float32)
    if len(entries) < count or not 1 <= bits <= 16:
        raise elements.invalid(LUT_DATA, f"{count} entries of 1 to 16 bits")
    return Table(first, entries, bits)


def _padding(dataset: Dataset, layout: Layout) -> tuple[int, int] | None:
    """Range of the padding values, in stored values (PS3.3 C.7.5.1.1.2)."""
    try:
        value = elements.integer(dataset, PADDING, "SS" if layout.signed else "US")
        limit = elements.integer(dataset, PADDING_LIMIT, "SS" if layout.signed else "US")
    except ImageError:
        return None
    if value is None:
        return None
    span = 1 << layout.bits_allocated
    ends = []
    for end in (value, value if limit is None else limit):
        wrapped = end % span  # written as US where the pixels are signed, or the reverse
        ends.append(wrapped - span if layout.signed and wrapped >= span // 2 else wrapped)
    return min(ends), max(ends)
