"""Numbers that a model gives, as lines of JSON hold them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medmm.types import Estimate

_DIGITS = 7


def estimate_record(values: Mapping[str, Estimate]) -> dict[str, dict[str, Any]]:
    """Name to ``value`` and ``interval`` (null where there is none)."""
    return {name: {"value": short(one.value), "interval": _interval(one)} for name, one in values.items()}


def short(value: float) -> float:
    """Seven significant digits."""
    return float(f"{value:.{_DIGITS}g}")


def _interval(one: Estimate) -> list[float] | None:
    return None if one.low is None or one.high is None else [short(one.low), short(one.high)]
