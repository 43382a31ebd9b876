"""Several masks as one array: a number a voxel where structures exclude each other, else a bit a structure.

Voxels that nobody has labelled have a code of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medmm.errors import UsageError

IGNORE = "ignore"
"""nnU-Net's name for the voxels that nobody has labelled; no class is called so."""
_MOST = {True: 254, False: 63}


@dataclass(frozen=True)
class OutlineCode:
    """How masks are kept and learned.

    Attributes:
        classes: The structures, without the background.
        exclusive: Whether a voxel belongs to one of them at most.
    """

    classes: tuple[str, ...]
    exclusive: bool

    def __post_init__(self) -> None:
        if IGNORE in self.classes:
            what = f"'{IGNORE}' stands for voxels that nobody has labelled, and is no class"
            raise UsageError(
                what, where="segmentation.classes", fix="Leave it out, or give the structure another name."
            )
        most = _MOST[self.exclusive]
        if not 0 < len(self.classes) <= most:
            kind = "structures" if self.exclusive else "structures that may overlap"
            got, expected = len(self.classes), f"1 to {most} {kind}"
            raise UsageError("too few or too many classes", where="segmentation.classes", got=got, expected=expected)

    @property
    def channels(self) -> int:
        """Maps that a network gives: the background is one of them where structures exclude each other."""
        return len(self.classes) + self.exclusive

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of coded masks."""
        bits = 8 if self.exclusive else next(size for size in (8, 16, 32, 64) if size > len(self.classes))
        return np.dtype(f"uint{bits}")

    @property
    def unlabelled(self) -> int:
        """Code of a voxel that nobody has labelled: the largest number, or the highest bit alone."""
        bits = 8 * self.dtype.itemsize
        return (1 << bits) - 1 if self.exclusive else 1 << (bits - 1)

    def encode(self, masks: Mapping[str, npt.NDArray[np.bool_]], shape: Sequence[int]) -> npt.NDArray[Any]:
        """Code masks ``[*S]`` by class; of structures that exclude each other a later one lies over an earlier one.

        A mask named :data:`IGNORE` marks voxels that nobody has labelled; it lies over all others.
        """
        coded = np.zeros(tuple(shape), self.dtype)
        for number, name in enumerate(self.classes):
            mask = masks.get(name)
            if mask is None:
                continue
            if self.exclusive:
                coded[mask] = number + 1
            else:
                coded |= mask.astype(self.dtype) << self.dtype.type(number)
        if IGNORE in masks:
            coded[masks[IGNORE]] = self.unlabelled
        return coded

    def labelled(self, coded: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Where somebody has said what lies there, the background too."""
        return np.asarray(coded != self.unlabelled)

    def mask(self, coded: npt.NDArray[Any], number: int) -> npt.NDArray[np.bool_]:
        """The mask of class ``number``, counted from 0."""
        if self.exclusive:
            return np.asarray(coded == number + 1)
        return np.asarray((coded >> self.dtype.type(number)) & self.dtype.type(1), bool)

    def masks(self, coded: npt.NDArray[Any]) -> dict[str, npt.NDArray[np.bool_]]:
        """All masks by class."""
        return {name: self.mask(coded, number) for number, name in enumerate(self.classes)}

    def decide(self, scores: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        """Code what probabilities ``[channels, *S]`` say: the largest, or each above one half."""
        if self.exclusive:
            return scores.argmax(0).astype(self.dtype)
        named = {name: plane > 0.5 for name, plane in zip(self.classes, scores, strict=True)}
        return self.encode(named, scores.shape[1:])
