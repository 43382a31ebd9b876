"""The images of a study: each file one, but the slices of a series together the volume that they make."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from medmm.data.records import image_of
from medmm.errors import Reason
from medmm.io.series import Stack, stacks_of
from medmm.io.slices import Slice, pixel_digest
from medmm.types import ImageRef, Rejection


def images_of(study_id: str, records: Sequence[Mapping[str, Any]]) -> Iterator[ImageRef | Rejection]:
    """The images of a study, in the order in which their first files came, and what is none of them.

    Slices are sorted into volumes as :func:`medmm.io.volume.read_volumes` sorts them; localizers count where there is
    nothing else.

    Args:
        study_id: The study.
        records: Of :func:`medmm.data.readers._instances.record_of`, in the order of their files.
    """
    parts = [record["part"] for record in records if record["part"] is not None]
    shown = [part for part in parts if not part.is_localizer] or parts
    stacks = stacks_of(shown, pixel_digest)
    by_path = {record["path"]: record for record in records}
    found = {stack.slices[0].path: _volume(stack, by_path) for stack in stacks}
    order = {part.path: number for number, part in enumerate(parts)}
    first = {min((part.path for part in stack.slices), key=order.__getitem__): stack.slices[0].path for stack in stacks}
    used = {part.path for stack in stacks for part in stack.slices}
    chosen = {part.path for part in shown}
    for record in records:
        path = Path(record["path"])
        if record["part"] is None:
            yield image_of(record)
        elif path in first:
            yield found[first[path]]
        elif path not in used:
            yield Rejection(study_id, *_left_out(record["part"], chosen), path)


def _volume(stack: Stack, records: Mapping[str, Mapping[str, Any]]) -> ImageRef:
    """One reference for a stack; what is said of the first slice is said of all."""
    image = image_of(records[str(stack.slices[0].path)])
    if len(stack.slices) == 1:
        return image
    return replace(
        image,
        slices=tuple(part.path for part in stack.slices),
        frames=len(stack.slices),
        spacing_mm=(stack.spacing.step_mm, *stack.slices[0].plane.spacing_mm),
    )


def _left_out(part: Slice, chosen: set[Path]) -> tuple[Reason, str]:
    if part.path not in chosen:
        return Reason.NOT_AN_IMAGE, "a localizer beside the study's volumes"
    return Reason.IMAGE_SURPLUS, "a slice that is there twice, or alone beside the volumes of its series"
