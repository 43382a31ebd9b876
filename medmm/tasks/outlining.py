"""From a network's windows to the scores of a whole image, and what is done to masks afterwards."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from medmm.config.schema import Config
from medmm.data.outline_code import OutlineCode
from medmm.models.cleaning import cleaned
from medmm.models.precision import computes_bf16

_CHOICES = ((False, False), (True, False), (False, True), (True, True))  # largest part, holes filled
_GAIN = 1e-3  # of the mean Dice, that a choice must bring
_PATCH_VOXELS = {"cpu": 96**3, "cuda": 128**3}
_BYTES_A_VOXEL = 2000  # of a patch that is learned from, in a batch of two
Coded = npt.NDArray[Any]


def most_voxels(config: Config) -> int:
    """Voxels of a patch that this machine has room and time for."""
    import psutil

    gpu = config.device != "cpu" and torch.cuda.is_available()
    memory = torch.cuda.get_device_properties(0).total_memory if gpu else psutil.virtual_memory().total
    return min(_PATCH_VOXELS["cuda" if gpu else "cpu"], int(memory / 2 / _BYTES_A_VOXEL / 2))


def scores_of(
    model: nn.Module, image: Tensor, patch: Sequence[int], exclusive: bool, config: Config
) -> npt.NDArray[np.float32]:
    """Probabilities of each map for a whole image.

    Windows overlap and count by a Gaussian about their middle; both ways are averaged where the config mirrors.

    Args:
        model: Gives a list of logits, the finest first.
        image: ``[I, *S]`` in [0, 1], of I channels and any size.
        patch: Size of a window.
        exclusive: Whether probabilities of a voxel sum to 1.
        config: Overlap, mirroring and precision.

    Returns:
        ``[C, *S]`` float32.
    """
    device = next(model.parameters()).device
    whole, inside = _padded(image, patch)

    def look(window: Tensor) -> Tensor:
        return _chances(model, window.to(device), exclusive, config.segmentation.mirror)

    wanted = config.train.precision
    bf16 = wanted == "bf16" or (wanted == "auto" and (device.type != "cpu" or computes_bf16()))
    with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        if whole.shape[2:] == tuple(patch):
            scores = look(whole)
        else:
            from monai.inferers.utils import sliding_window_inference

            found: Any = sliding_window_inference(
                whole, tuple(patch), 1, look, overlap=config.segmentation.overlap, mode="gaussian", sw_device=device,
                device="cpu",
            )  # fmt: skip
            scores = found
    return np.asarray(scores[0][(slice(None), *inside)].float().cpu().numpy(), np.float32)


def _padded(image: Tensor, patch: Sequence[int]) -> tuple[Tensor, tuple[slice, ...]]:
    """The image ``[1, I, *S]`` with black around it where it is smaller than a patch, and where it lies in that."""
    sizes = image.shape[1:]
    lacking = [max(0, side - own) for own, side in zip(sizes, patch, strict=True)]
    before = [lack // 2 for lack in lacking]
    sides = [
        end for lack, start in zip(reversed(lacking), reversed(before), strict=True) for end in (start, lack - start)
    ]
    inside = tuple(slice(start, start + own) for start, own in zip(before, sizes, strict=True))
    return functional.pad(image[None].float(), sides), inside


def _chances(model: nn.Module, window: Tensor, exclusive: bool, mirror: bool) -> Tensor:
    def once(seen: Tensor) -> Tensor:
        logits: Tensor = model(seen)[0]
        return logits.softmax(1) if exclusive else logits.sigmoid()

    chances = once(window)
    return (chances + once(window.flip(-1)).flip(-1)) / 2 if mirror else chances


def clean(coded: Coded, code: OutlineCode, largest: Sequence[int], filled: Sequence[int]) -> Coded:
    """Keep the largest part of the classes that ``largest`` marks and fill the holes of those that ``filled`` does.

    Of classes that exclude each other a hole is filled where nothing else lies in it.
    """
    for number in range(len(code.classes)):
        if not (largest[number] or filled[number]):
            continue
        before = code.mask(coded, number)
        after = cleaned(before, bool(largest[number]), bool(filled[number]))
        gone, new = before & ~after, after & ~before
        if code.exclusive:
            coded[gone] = 0
            coded[new & (coded == 0)] = number + 1
        else:
            bit = code.dtype.type(1 << number)
            coded[gone | new] ^= bit
    return coded


def choose_cleaning(pairs: Iterable[tuple[Coded, Coded]], code: OutlineCode) -> list[tuple[bool, bool]]:
    """What serves each class best, by the mean Dice of drawn and true masks; nothing where the gain is small.

    Args:
        pairs: Drawn and true coded masks of cases; what is not labelled in the true ones does not count.
        code: What they mean.

    Returns:
        A class: whether the largest part is kept, whether holes are filled.
    """
    dice: list[list[list[float]]] = [[[] for _ in _CHOICES] for _ in code.classes]
    for drawn, true in pairs:
        labelled = code.labelled(true)
        for number in range(len(code.classes)):
            mask, truth = code.mask(drawn, number), code.mask(true, number)
            if not (mask & labelled).any() and not truth.any():
                continue
            for place, (largest, filled) in enumerate(_CHOICES):
                dice[number][place].append(_dice(cleaned(mask, largest, filled) & labelled, truth))
    chosen = []
    for found in dice:
        means = [math.fsum(values) / len(values) if values else 0.0 for values in found]
        best = int(np.argmax(means))
        chosen.append(_CHOICES[best if means[best] > means[0] + _GAIN else 0])
    return chosen


def _dice(one: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> float:
    total = np.count_nonzero(one) + np.count_nonzero(other)
    return 2 * float(np.count_nonzero(one & other)) / total if total else 1.0
