"""In which precision a machine computes fastest, and where it must not."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_GARBLED_DEPTH = 2


def computes_bf16() -> bool:
    """Whether the processor has AVX-512 BF16 or AMX; elsewhere bf16 is slower than fp32."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def sound(images: Tensor, flattest: int) -> AbstractContextManager[object]:
    """Compute volumes in fp32 where a map is so flat that bf16 garbles it on a processor.

    oneDNN's gradient of a bf16 convolution in 3D holds uninitialised memory where a map is exactly two voxels deep
    (torch 2.13): runs then learn nothing, or not the same twice.

    Args:
        images: ``[B, 1, *S]``.
        flattest: Voxels of the flattest map along its first axis.
    """
    import torch

    garbled = images.device.type == "cpu" and images.ndim == 5 and flattest <= _GARBLED_DEPTH  # noqa: PLR2004
    return torch.autocast("cpu", enabled=False) if garbled else nullcontext()
