"""Slices to stacks: by series, grid and direction; by phase where several lie at the same place; without duplicates."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from medmm.io.geometry import spacing_of_planes
from medmm.io.slice_spacing import SliceSpacing
from medmm.io.slices import Slice

KEYS = (
    "acquisition", "temporal_position", "echo_number", "echo_time_ms", "b_value", "gradient", "cardiac_phase_percent",
    "image_type", "stack", "inversion_time_ms", "kvp", "kernel", "trigger_time_ms",
)  # fmt: skip
"""What tells phases apart, in the order of trying."""
_ORDER = ("temporal_position", "trigger_time_ms", "acquisition_time", "content_time")
_LEAST_STACK = 3
"""Slices of a stack beside which a single slice is odd."""
_MOST_MISSING = 10
"""Slices that a gap may lack; what lies beyond a wider one is a stack of its own, for nothing is known between."""
Digest = Callable[[Slice], Hashable | None]


@dataclass(frozen=True, eq=False, slots=True)
class Stack:
    """Slices that make one volume.

    Attributes:
        slices: Sorted along the normal.
        phase: What tells it from other volumes of its series.
        notes: What was unusual about it.
    """

    slices: tuple[Slice, ...]
    phase: dict[str, float | str | None] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def spacing(self) -> SliceSpacing:
        """Steps and tilt of the slices."""
        return spacing_of_planes([part.plane for part in self.slices])


def stacks_of(slices: Iterable[Slice], digest: Digest) -> list[Stack]:
    """Sort slices into stacks.

    Args:
        slices: Of any number of series.
        digest: A slice's pixels in short, to tell duplicates from phases; None where they cannot be read. Asked only
            for slices at the same place whose headers do not differ.

    Returns:
        The stacks, in the order in which their series came.
    """
    groups: dict[Hashable, list[Slice]] = defaultdict(list)
    for part in slices:
        groups[part.series[:2]].append(part)
    series = [one for group in groups.values() for one in _by_reference(group)]
    return [stack for group in series for stack in _stacks_of_series(group, digest)]


def _by_reference(slices: list[Slice]) -> list[list[Slice]]:
    """Apart by frame of reference; slices that name none belong to the only one that others name."""
    named = dict.fromkeys(part.series[2] for part in slices)
    if len(named) == 2 and None in named:
        return [slices]
    return [[part for part in slices if part.series[2] == name] for name in named]


def _stacks_of_series(slices: list[Slice], digest: Digest) -> list[Stack]:
    kept, notes = _without_copies(slices)
    found: list[Stack] = []
    for group in _by_grid(kept):
        for stack in _phases(group, digest):
            found.extend(_without_wide_gaps(stack))
    return [replace(stack, notes=(*stack.notes, *notes)) for stack in _without_odd(found)]


def _without_copies(slices: list[Slice]) -> tuple[list[Slice], tuple[str, ...]]:
    seen: set[Hashable] = set()
    kept = []
    for part in slices:
        # who anonymises badly gives every slice one UID: a copy also lies where the other lies
        key = (part.sop_uid, part.frame, tuple(np.round(part.plane.position, 3)))
        if part.sop_uid is None or key not in seen:
            kept.append(part)
        seen.add(key)
    return kept, _dropped(len(slices) - len(kept), "with the same instance UID")


def _dropped(count: int, how: str) -> tuple[str, ...]:
    return (f"{count} duplicate {'slice' if count == 1 else 'slices'} {how} dropped.",) if count else ()


def _by_grid(slices: list[Slice]) -> list[list[Slice]]:
    """Apart by rows, columns, spacing and direction."""
    groups: list[list[Slice]] = []
    for part in slices:
        for group in groups:
            first = group[0]
            same = np.allclose(part.plane.spacing_mm, first.plane.spacing_mm, rtol=1e-3, atol=0)
            if same and part.shape == first.shape and part.plane.is_parallel(first.plane):
                group.append(part)
                break
        else:
            groups.append([part])
    return groups


def _phases(slices: list[Slice], digest: Digest) -> list[Stack]:
    """Apart until no two slices of a stack lie at the same place."""
    most = _most_at_one_place(slices)
    if most == 1:
        return _acquisitions(slices)
    for key in KEYS:
        parts = _parts(slices, key)
        if 1 < len(parts) <= most and all(_most_at_one_place(part) < most for part in parts.values()):
            return [
                replace(stack, phase={key: value, **stack.phase})
                for value, part in parts.items()
                for stack in _phases(part, digest)
            ]
    return _ranks(slices, digest)


def _parts(slices: list[Slice], key: str) -> dict[float | str | None, list[Slice]]:
    parts: dict[float | str | None, list[Slice]] = defaultdict(list)
    for part in slices:
        parts[part.phase.get(key)].append(part)
    return dict(sorted(parts.items(), key=lambda item: (item[0] is None, isinstance(item[0], str), item[0] or 0)))


def _places(slices: Sequence[Slice]) -> tuple[list[Slice], list[list[Slice]]]:
    """The slices sorted along the normal, and the same by place."""
    found = spacing_of_planes([part.plane for part in slices])
    ordered = [slices[index] for index in found.order]
    places: list[list[Slice]] = []
    for place, part in zip(found.places, ordered, strict=True):
        if place == len(places):
            places.append([])
        places[place].append(part)
    return ordered, places


def _most_at_one_place(slices: Sequence[Slice]) -> int:
    return max(len(place) for place in _places(slices)[1])


def _acquisitions(slices: list[Slice]) -> list[Stack]:
    """One stack, or one an acquisition where they overlap, or lie apart: those are scans of their own.

    Step-and-shoot scans have an acquisition number a slice, and a long scan may be put together of several.
    """
    whole = Stack(tuple(_places(slices)[0]))
    parts = _parts(slices, "acquisition")
    if len(parts) == 1 or min(len(part) for part in parts.values()) < _LEAST_STACK:
        return [whole]
    overlapping = _interleaved(whole.slices)
    depth = slices[0].plane.depth_mm
    if whole.spacing.is_even and not (overlapping and depth and abs(depth - whole.spacing.step_mm) > 0.1 * depth):
        return [whole]
    return [Stack(tuple(_places(part)[0]), {"acquisition": value}) for value, part in parts.items()]


def _interleaved(ordered: Sequence[Slice]) -> bool:
    """Whether slices of an acquisition lie between those of another one."""
    changes = sum(
        before.phase["acquisition"] != after.phase["acquisition"]
        for before, after in zip(ordered, ordered[1:], strict=False)
    )
    return changes >= len({part.phase["acquisition"] for part in ordered})


def _ranks(slices: list[Slice], digest: Digest) -> list[Stack]:
    """Drop what is there twice, and tell the rest apart by its order in time or of its numbers."""
    places = []
    dropped = 0
    for place in _places(slices)[1]:
        different = _different(place, digest) if len(place) > 1 else place
        dropped += len(place) - len(different)
        places.append(sorted(different, key=_moment))
    notes = _dropped(dropped, "at the same place with equal pixels")
    most = max(len(place) for place in places)
    if most == 1:
        return [replace(stack, notes=notes) for stack in _acquisitions([place[0] for place in places])]
    told = "Several slices lie at each place and their headers do not tell them apart; their order in time does."
    return [
        Stack(tuple(place[rank] for place in places if rank < len(place)), {"order": float(rank)}, (*notes, told))
        for rank in range(most)
    ]


def _different(place: list[Slice], digest: Digest) -> list[Slice]:
    seen: set[Hashable] = set()
    kept = []
    for part in place:
        short = digest(part)
        if short is None or short not in seen:
            kept.append(part)
        seen.add(short)
    return kept


def _moment(part: Slice) -> tuple[tuple[float, str], ...]:
    values = [part.phase.get(key) for key in _ORDER]
    return (*((0.0, value) if isinstance(value, str) else (value or 0.0, "") for value in values),
            (float(part.instance), ""))  # fmt: skip


def _without_wide_gaps(stack: Stack) -> list[Stack]:
    if len(stack.slices) < 2:
        return [stack]
    spacing = stack.spacing
    steps = np.diff(spacing.along_mm)
    cuts = [int(index) + 1 for index in np.flatnonzero(steps > (_MOST_MISSING + 1.5) * spacing.step_mm)]
    parts = [stack.slices[start:end] for start, end in zip([0, *cuts], [*cuts, None], strict=True)]
    widths = ", ".join(f"{steps[cut - 1]:.1f} mm after slice {cut - 1}" for cut in cuts)
    note = (f"Gap too wide to be bridged: {widths}; each side is a volume of its own.",) if cuts else ()
    return [replace(stack, slices=part, notes=(*stack.notes, *note)) for part in parts]


def _without_odd(stacks: list[Stack]) -> list[Stack]:
    """Leave single slices beside a stack out, and name them in the others' notes."""
    sizes = [len(stack.slices) for stack in stacks]
    if max(sizes) < _LEAST_STACK or 1 not in sizes:
        return stacks
    largest = stacks[int(np.argmax(sizes))].slices[0]
    odd = Counter(_oddity(stack.slices[0], largest) for stack in stacks if len(stack.slices) == 1)
    notes = tuple(f"{count} odd {'slice' if count == 1 else 'slices'} left out: {how}." for how, count in odd.items())
    return [replace(stack, notes=(*stack.notes, *notes)) for stack in stacks if len(stack.slices) > 1]


def _oddity(part: Slice, usual: Slice) -> str:
    if part.shape != usual.shape:
        return f"{part.shape[0]} x {part.shape[1]} pixels instead of {usual.shape[0]} x {usual.shape[1]}"
    if not part.plane.is_parallel(usual.plane):
        return "another orientation"
    if not np.allclose(part.plane.spacing_mm, usual.plane.spacing_mm, rtol=1e-3, atol=0):
        return "another pixel spacing"
    return "alone in its phase or far from the others"
