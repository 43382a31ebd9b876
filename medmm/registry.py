"""The one table of what can be chosen by name. Targets are ``"module:attribute"`` strings, imported on first use."""

from __future__ import annotations

import difflib
import importlib
from typing import Any

from medmm.errors import UsageError

STAGES = {
    "index": "medmm.pipelines.index:main",
    "phantom": "medmm.pipelines.phantom:main",
    "finetune": "medmm.pipelines.finetune:main",
    "evaluate": "medmm.pipelines.evaluate:main",
    "score": "medmm.pipelines.score:main",
}
READERS = {
    "phantom": "medmm.data.readers.phantom:read",
    "table": "medmm.data.readers.table:read",
    "dicom": "medmm.data.readers.dicom:read",
    "openi": "medmm.data.readers.openi:read",
    "r2gen": "medmm.data.readers.r2gen:read",
}
TASKS = {
    "report_gen": "medmm.tasks.report_gen:ReportGeneration",
}
TABLES = {"stage": STAGES, "reader": READERS, "task": TASKS}


def names(kind: str) -> tuple[str, ...]:
    """Names that can be chosen for ``kind`` (``stage``, ``reader`` or ``task``)."""
    return tuple(TABLES[kind])


def resolve(kind: str, name: str) -> Any:
    """Import what ``name`` stands for.

    Raises:
        UsageError: ``name`` is not in the table; the nearest names are given.
    """
    table = TABLES[kind]
    if name not in table:
        near = difflib.get_close_matches(name, table, n=1)
        hint = f"Did you mean '{near[0]}'?" if near else None
        raise UsageError(f"no {kind} of that name", got=f"'{name}'", expected=" | ".join(table), fix=hint)
    module, attribute = table[name].split(":")
    return getattr(importlib.import_module(module), attribute)
