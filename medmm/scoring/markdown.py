"""Numbers and tables as people read them."""

from __future__ import annotations

from collections.abc import Sequence

_MISSING = "–"
Table = tuple[str, tuple[str, ...], list[tuple[str, ...]]]
"""Title, columns and rows."""


def number(value: float | None) -> str:
    """Three decimals, a dash for what there is not."""
    return _MISSING if value is None else f"{value:.3f}"


def finer(value: float | None) -> str:
    """A difference: three decimals with its sign, a dash for what there is not."""
    return _MISSING if value is None else _unsigned_zero(f"{value:+.3f}")


def interval(bounds: Sequence[float] | None) -> str:
    """Both bounds with three decimals, a dash for what there is not."""
    return _MISSING if bounds is None else " to ".join(_unsigned_zero(f"{bound:.3f}") for bound in bounds)


def p_value(p: float | None) -> str:
    """Three decimals, ``< 0.001`` below, a dash for what there is not."""
    if p is None:
        return _MISSING
    return "< 0.001" if p < 0.001 else f"{p:.3f}"  # noqa: PLR2004 - what three decimals can show


def _unsigned_zero(text: str) -> str:
    """``-0.000`` and ``+0.000`` are 0.000."""
    return text.lstrip("+-") if float(text) == 0 else text


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown; the first column is words, the others are numbers."""
    rule = ["---", *["---:"] * (len(columns) - 1)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (columns, rule, *rows))
