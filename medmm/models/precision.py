"""In which precision a machine computes fastest."""

from __future__ import annotations

from pathlib import Path


def computes_bf16() -> bool:
    """Whether the processor has AVX-512 BF16 or AMX; elsewhere bf16 is slower than fp32."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags
