"""Which images of a study a model did not see, in words."""

from __future__ import annotations

from collections.abc import Mapping

from medmm.errors import Reason


def left_out_notes(reasons: Mapping[int, Reason], images: int) -> tuple[str, ...]:
    """Say which images of a study the model did not see: ``image 2 of 3 left out: decode_failed``.

    Args:
        reasons: Place of an image among the study's, counted from 0, to why it was left out.
        images: Number of the study's images.

    Returns:
        One sentence an image; neighbours that were left out for the same reason share one.
    """
    runs: list[tuple[int, int]] = []
    for place in sorted(reasons):
        if runs and runs[-1][1] == place - 1 and reasons[runs[-1][0]] is reasons[place]:
            runs[-1] = (runs[-1][0], place)
        else:
            runs.append((place, place))
    return tuple(
        (f"image {first + 1}" if first == last else f"images {first + 1} to {last + 1}")
        + f" of {images} left out: {reasons[first]}"
        for first, last in runs
    )
