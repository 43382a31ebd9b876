"""Scans and radiology reports in; drafted reports, findings, outlines, answers and their explanations out.

The names below load on first use, so that ``import medmm`` costs next to nothing.
"""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"
__all__ = ["__version__", "label_report", "load", "parse_report", "read_image", "read_volumes", "score"]

_DOOR = {
    "read_image": "medmm.io.image:read_image",
    "read_volumes": "medmm.io.volume:read_volumes",
    "parse_report": "medmm.reports.parse:parse_report",
    "label_report": "medmm.reports.findings:label_report",
    "load": "medmm.training.run:load",
    "score": "medmm.scoring.engine:score_folder",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use.

    Raises:
        AttributeError: medmm has no such name.
    """
    if name not in _DOOR:
        raise AttributeError(f"module 'medmm' has no attribute '{name}'")
    import importlib

    module, attribute = _DOOR[name].split(":")
    value = getattr(importlib.import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Names to complete, the late ones among them."""
    return sorted({*globals(), *__all__})
