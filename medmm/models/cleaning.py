"""What is done to a mask after a network has drawn it: its largest part kept, its holes filled."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]


def cleaned(mask: Mask, largest: bool, filled: bool) -> Mask:
    """Keep the largest connected part of ``[*S]`` (faces and corners connect), fill its holes, or both."""
    if not mask.any():
        return mask
    mask = largest_part(mask) if largest else mask
    return holes_filled(mask) if filled else mask


def largest_part(mask: Mask) -> Mask:
    """The part with most voxels; of equal ones the first."""
    from scipy import ndimage

    parts, number = ndimage.label(mask, np.ones((3,) * mask.ndim, bool))
    if number < 2:
        return mask
    return np.asarray(parts == np.bincount(parts.ravel())[1:].argmax() + 1)


def holes_filled(mask: Mask) -> Mask:
    """The mask with what it encloses on all sides."""
    from scipy import ndimage

    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    filled = np.zeros_like(mask)
    filled[box] = ndimage.binary_fill_holes(mask[box])
    return filled
