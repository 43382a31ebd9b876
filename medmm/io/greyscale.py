"""The greyscale pipeline of PS3.3 C.11 and PS3.4 annex N: modality LUT, VOI LUT or window, inversion, padding.

Real-world values stand instead of the modality LUT where the header has none that says anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from medmm.errors import ImageError
from medmm.io import elements
from medmm.io.lookup_table import EXPLANATION, Table, table_of
from medmm.io.real_world import MAPPINGS, Mapping, mapping_of

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from medmm.io.layout import Layout

INTERCEPT, SLOPE, RESCALE_TYPE, MODALITY_LUT = 0x00281052, 0x00281053, 0x00281054, 0x00283000
CENTER, WIDTH, WINDOW_NAME, FUNCTION, VOI_LUT = 0x00281050, 0x00281051, 0x00281055, 0x00281056, 0x00283010
FLOAT_PADDING, DOUBLE_PADDING = (0x00280122, 0x00280124), (0x00280123, 0x00280125)
"""Value and limit; which of the two an image has depends on its pixel data."""
PADDING, PADDING_LIMIT, SHAPE, PRESENTATION_LUT = 0x00280120, 0x00280121, 0x20500020, 0x20500010
SHARED_GROUPS, FRAME_GROUPS = 0x52009229, 0x52009230
FRAME_TRANSFORM, FRAME_VOI = 0x00289145, 0x00289132
TAGS = (
    *(INTERCEPT, SLOPE, RESCALE_TYPE, MODALITY_LUT, CENTER, WIDTH, WINDOW_NAME, FUNCTION, VOI_LUT),
    *(*FLOAT_PADDING, *DOUBLE_PADDING, PADDING, PADDING_LIMIT, SHAPE, PRESENTATION_LUT),
    *(SHARED_GROUPS, FRAME_GROUPS, MAPPINGS),
)
_T = TypeVar("_T")
_FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")
_LONGEST_NAME = 64
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
class Greyscale:
    """How stored values become grey.

    Attributes:
        rescale: Slope and intercept of each frame, or one pair for all.
        table: Modality LUT that stands instead of the rescale, None if there is none.
        voi: Window or VOI LUT, the first frame's; None if the header has none.
        frame_windows: Window of each frame, where they differ; else empty.
        windows: What the header offers to choose from (of the first frame), with the names it gives; ``voi`` first.
        presentation: Presentation LUT from grey to P-values, None if there is none.
        padding: Lowest and highest stored value that mean "no pixel here", None if there are none.
        inverted: Whether low values are white.
        real_world: Real-world values of each frame, or of all, where there is no modality LUT or rescale that says
            anything; else empty. They are the image's values, but no window counts in them.
        notes: What was odd.
    """

    rescale: tuple[tuple[float, float], ...]
    table: Table | None
    voi: Window | Table | None
    frame_windows: tuple[Window, ...]
    windows: tuple[dict[str, Any], ...]
    presentation: Table | None
    padding: tuple[float, float] | None
    inverted: bool
    real_world: tuple[Mapping, ...]
    notes: tuple[str, ...]

    def rescale_of(self, frame: int) -> tuple[float, float]:
        """Slope and intercept of a frame."""
        return self.rescale[frame if len(self.rescale) > 1 else 0]

    def real_world_of(self, frame: int) -> Mapping | None:
        """Real-world values of a frame; None where the modality LUT or rescale holds."""
        return self.real_world[frame if len(self.real_world) > 1 else 0] if self.real_world else None


def greyscale_of(dataset: Dataset, layout: Layout) -> Greyscale:
    """Read the greyscale pipeline out of a header.

    Raises:
        ImageError: ``HEADER_INVALID``: the modality LUT or rescale cannot be read. A broken window is left out with a
            note instead, for it changes how values are shown and not what they are.
    """
    notes: list[str] = []
    holders = _macros(dataset, FRAME_TRANSFORM, layout.frames) or [dataset]
    pairs = [_rescale(item, notes) for item in holders]
    tables = elements.items(dataset, MODALITY_LUT)
    table = table_of(tables[0], layout.signed) if tables else None
    says_nothing = table is None and all(_is_plain(item, pair) for item, pair in zip(holders, pairs, strict=True))
    # what goes into the VOI LUT is what comes out of the modality LUT, and a table gives no negative values
    signed = table is None and min(end * slope + add for end in layout.stored_range for slope, add in pairs) < 0
    shapes = elements.items(dataset, PRESENTATION_LUT)
    presentation = _left_out_if_broken(
        lambda: table_of(shapes[0], False) if shapes else None, "presentation LUT", notes
    )
    vois = _left_out_if_broken(lambda: _vois(dataset, layout, signed, notes), "window", notes) or [None]
    return Greyscale(
        rescale=tuple(pairs[:1] if len(set(pairs)) == 1 else pairs),
        table=table,
        voi=vois[0],
        frame_windows=tuple(voi for voi in vois if isinstance(voi, Window)) if len(vois) > 1 else (),
        windows=tuple(_offered((_macros(dataset, FRAME_VOI, layout.frames) or [dataset])[0])),
        presentation=presentation,
        padding=_padding(dataset, layout),
        inverted=presentation is None and _is_inverted(dataset, layout, notes),
        real_world=_real_world(dataset, layout) if says_nothing else (),
        notes=tuple(dict.fromkeys(notes)),
    )


def _is_inverted(dataset: Dataset, layout: Layout, notes: list[str]) -> bool:
    """Whether low values are white.

    The presentation LUT shape says the same as the photometric interpretation (PS3.3 C.8.11.3.1.2); where it does not
    it is followed, since it is the later stage and says what its output is.
    """
    shape = elements.text(dataset, SHAPE)
    if shape == "IDENTITY" and layout.photometric == "MONOCHROME1":
        notes.append("The presentation LUT shape contradicts MONOCHROME1 and was followed: low values are black.")
    return shape == "INVERSE" if shape in ("IDENTITY", "INVERSE") else layout.photometric == "MONOCHROME1"


def _left_out_if_broken(read: Callable[[], _T], what: str, notes: list[str]) -> _T | None:
    try:
        return read()
    except ImageError:
        notes.append(f"The {what} of the header cannot be read and was left out.")
        return None


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


def _is_plain(dataset: Dataset, pair: tuple[float, float]) -> bool:
    """Whether a rescale leaves the values as they are and gives them no unit (US: unspecified, PS3.3 C.11.1.1.2)."""
    return pair == (1, 0) and (elements.text(dataset, RESCALE_TYPE) or "US") in ("US", "UNSPECIFIED")


def _real_world(dataset: Dataset, layout: Layout) -> tuple[Mapping, ...]:
    """The mapping of all frames or of each; empty where a frame has none."""
    shared = elements.items(dataset, SHARED_GROUPS)[:1]
    common = [elements.items(holder, MAPPINGS) for holder in (*shared, dataset)]
    groups = [elements.items(group, MAPPINGS) for group in elements.items(dataset, FRAME_GROUPS)[: layout.frames]]
    for found in (common[:1], groups if len(groups) == layout.frames else [], common[1:]):
        mappings = [mapping for items in found if (mapping := mapping_of(items, layout.signed)) is not None]
        if mappings and len(mappings) == len(found):
            return tuple(mappings)
    return ()


def _vois(dataset: Dataset, layout: Layout, signed: bool, notes: list[str]) -> list[Window | Table | None]:
    """The first VOI LUT, else the first window: one for all frames, or one for each where all have windows."""
    holders = _macros(dataset, FRAME_VOI, layout.frames) or [dataset]
    tables = elements.items(holders[0], VOI_LUT)
    if tables:
        return [table_of(tables[0], signed)]
    windows = [_window(holder, layout, notes) for holder in holders]
    if len(set(windows)) == 1:
        return [windows[0]]
    if None in windows:
        notes.append("Only some frames have a window; the first frame's was taken for all.")
        return [next(window for window in windows if window is not None)]
    notes.append("Frames have windows of their own; each was shown with its own.")
    return list(windows)


def _window(holder: Dataset, layout: Layout, notes: list[str]) -> Window | None:
    """The first window."""
    centers, widths = elements.numbers(holder, CENTER, "DS"), elements.numbers(holder, WIDTH, "DS")
    if not centers or not widths:
        return None
    function = elements.text(holder, FUNCTION) or "LINEAR"
    if function not in _FUNCTIONS:
        notes.append("The VOI LUT function is unknown; LINEAR was taken.")
        function = "LINEAR"
    if not (np.isfinite(centers[0]) and 0 < widths[0] < np.inf):
        notes.append("The window cannot be; the full range was taken.")
        return None
    if function == "LINEAR" and (layout.is_float or widths[0] < 1):
        notes.append("LINEAR counts whole grey values, and these are not; LINEAR_EXACT was taken.")
        function = "LINEAR_EXACT"
    return Window(centers[0], widths[0], function)


def _offered(holder: Dataset) -> list[dict[str, Any]]:
    """VOI LUTs and windows of a header with their names; what cannot be read is left out."""
    offered: list[dict[str, Any]] = []
    for item in elements.items(holder, VOI_LUT):
        offered.append({"function": "LUT", "name": (elements.text(item, EXPLANATION) or "")[:_LONGEST_NAME]})
    try:
        centers, widths = elements.numbers(holder, CENTER, "DS"), elements.numbers(holder, WIDTH, "DS")
    except ImageError:
        return offered
    names = elements.texts(holder, WINDOW_NAME)
    function = elements.text(holder, FUNCTION) or "LINEAR"
    for index, (center, width) in enumerate(zip(centers, widths, strict=False)):
        if not (np.isfinite(center) and 0 < width < np.inf):
            continue
        name = names[index][:_LONGEST_NAME] if index < len(names) else ""
        offered.append({"function": function, "center": center, "width": width, "name": name})
    return offered


def _padding(dataset: Dataset, layout: Layout) -> tuple[float, float] | None:
    """Range of the padding values, in stored values (PS3.3 C.7.5.1.1.2)."""
    if layout.is_float:
        return _float_padding(dataset, layout)
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


def _float_padding(dataset: Dataset, layout: Layout) -> tuple[float, float] | None:
    """The same for Float and Double Float Pixel Data (PS3.3 C.7.6.24 and C.7.6.25)."""
    tags, kind = (FLOAT_PADDING, "FL") if layout.bits_allocated == 32 else (DOUBLE_PADDING, "FD")
    try:
        value, limit = (elements.number(dataset, tag, kind) for tag in tags)
    except ImageError:
        return None
    ends = [end for end in (value, limit) if end is not None and not np.isnan(end)]  # NaN is padding anyway
    return None if value is None or not ends else (min(ends), max(ends))
