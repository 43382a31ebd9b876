"""The one table of what can be chosen by name. Targets are ``"module:attribute"`` strings, imported on first use."""

from __future__ import annotations

import difflib
import importlib
from typing import Any

from medmm.errors import UsageError

STAGES = {
    "index": "medmm.pipelines.index:main",
    "phantom": "medmm.pipelines.phantom:main",
    "pretrain": "medmm.pipelines.pretrain:main",
    "finetune": "medmm.pipelines.finetune:main",
    "tune": "medmm.pipelines.tune:main",
    "evaluate": "medmm.pipelines.evaluate:main",
    "score": "medmm.pipelines.score:main",
    "embed": "medmm.pipelines.embed:main",
    "probe": "medmm.pipelines.probe:main",
    "prompts": "medmm.pipelines.prompts:main",
}
TOOLS = {
    "search": "medmm.pipelines.search:main",
}
"""Commands that are no stage: they take neither a config nor ``key.path=value`` words."""
READERS = {
    "phantom": "medmm.data.readers.phantom:read",
    "table": "medmm.data.readers.table:read",
    "dicom": "medmm.data.readers.dicom:read",
    "openi": "medmm.data.readers.openi:read",
    "mimic-cxr": "medmm.data.readers.mimic_cxr:read",
    "chexpert-plus": "medmm.data.readers.chexpert_plus:read",
    "padchest": "medmm.data.readers.padchest:read",
    "r2gen": "medmm.data.readers.r2gen:read",
    "decathlon": "medmm.data.readers.decathlon:read",
    "nnunet": "medmm.data.readers.nnunet:read",
    "vqa-rad": "medmm.data.readers.vqa_rad:read",
}
TEXTS = {
    "openi": "medmm.data.readers.openi:texts",
}
LABELS = {
    "phantom": "medmm.data.readers.phantom:labels",
    "decathlon": "medmm.data.readers.decathlon:labels",
    "nnunet": "medmm.data.readers.nnunet:labels",
}
CHANNELS = {
    "decathlon": "medmm.data.readers.decathlon:channels",
    "nnunet": "medmm.data.readers.nnunet:channels",
}
LAYOUTS = {
    "table": "medmm.data.phantom.layouts.table:write",
    "openi": "medmm.data.phantom.layouts.openi:write",
    "openi-csv": "medmm.data.phantom.layouts.openi_csv:write",
    "mimic-cxr": "medmm.data.phantom.layouts.mimic_cxr:write",
    "mimic-cxr-jpg": "medmm.data.phantom.layouts.mimic_cxr:write_jpg",
    "chexpert-plus": "medmm.data.phantom.layouts.chexpert_plus:write",
    "padchest": "medmm.data.phantom.layouts.padchest:write",
    "r2gen": "medmm.data.phantom.layouts.r2gen:write",
    "decathlon": "medmm.data.phantom.layouts.decathlon:write",
    "nnunet": "medmm.data.phantom.layouts.nnunet:write",
    "vqa-rad": "medmm.data.phantom.layouts.vqa_rad:write",
}
TASKS = {
    "report_gen": "medmm.tasks.report_gen:ReportGeneration",
    "classification": "medmm.tasks.classification:Classification",
    "vqa": "medmm.tasks.vqa:VisualQuestionAnswering",
    "segmentation": "medmm.tasks.segmentation:Segmentation",
    "regression": "medmm.tasks.regression:Regression",
    "pretraining": "medmm.tasks.pretraining:Pretraining",
}
KINDS = {("classification", "regression"): "regression"}
"""Task and its kind to the entry of their own that they have among tasks and evaluations; ``--task`` knows no such."""
EVALUATIONS = {
    "report_gen": "medmm.scoring.report_evaluation:evaluate_model",
    "classification": "medmm.scoring.classification_evaluation:evaluate_model",
    "vqa": "medmm.scoring.vqa_evaluation:evaluate_model",
    "segmentation": "medmm.scoring.segmentation_evaluation:evaluate_model",
    "regression": "medmm.scoring.regression_evaluation:evaluate_model",
    "pretraining": "medmm.scoring.pretraining_evaluation:evaluate_model",
}
GATHERERS = {
    "segmentation": "medmm.training.case_material:gather",
}
PLANNERS = {
    "segmentation": "medmm.training.case_plan:plan",
}
STREAMS = {
    "segmentation": "medmm.scoring.outline_stream:OutlineStream",
}
JUDGES = {
    "radgraph": "medmm.metrics.radgraph:RadGraphJudge",
}
LABELERS = {
    "rules": "medmm.reports.findings:rule_labeler",
    "huggingface": "medmm.models.text_labeler:TextLabeler",
}
TABLES = {
    "judge": JUDGES, "stage": STAGES, "tool": TOOLS, "reader": READERS, "texts": TEXTS, "labels": LABELS,
    "channels": CHANNELS, "layout": LAYOUTS, "task": TASKS,
    "evaluation": EVALUATIONS, "gatherer": GATHERERS, "planner": PLANNERS, "stream": STREAMS,
    "labeler": LABELERS,
}  # fmt: skip


def names(kind: str) -> tuple[str, ...]:
    """Names that can be chosen for ``kind`` (``stage``, ``reader``, ``layout``, ``task`` or ``judge``)."""
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
