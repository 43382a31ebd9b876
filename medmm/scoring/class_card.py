"""What stands beside a classifier's numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medmm.config.schema import Config
from medmm.data.manifest import Manifest
from medmm.metrics.classification import BINS, ClassificationScores
from medmm.reports.labelers import choose_labeler
from medmm.scoring import doubts
from medmm.scoring.class_samples import ClassMaterial
from medmm.scoring.drafting import DraftingModel
from medmm.scoring.run_card import describe_data, describe_run, describe_versions

_IMPLEMENTATIONS = {
    "auroc, auprc": "medmm.metrics.classification, equal to scikit-learn's roc_auc_score and average_precision_score",
    "f1, sensitivity, specificity": "at the thresholds chosen on validation",
    "ece": f"all pairs of study and class, {BINS} bins of equal width",
    "ci95": "percentile bootstrap over patients",
}


def describe(  # noqa: PLR0913, PLR0917
    model: DraftingModel, manifest: Manifest, config: Config, split: str, material: ClassMaterial,
    scorer: ClassificationScores, trained: Mapping[str, Any], device: str | None,
) -> dict[str, Any]:  # fmt: skip
    """The card of ``metrics.json``."""
    samples = material.samples
    patients = len({one.patient_key for one in samples})
    card: dict[str, Any] = {
        **describe_run(model, config, split, trained, device),
        **describe_data(model, manifest, config),
        "kind": config.classification.kind,
        "truth": material.source,
        "labeler_version": choose_labeler(config.labeler).version,
        "classes": list(material.names),
        "averaged": [name for name, use in zip(material.names, scorer.averaged.tolist(), strict=True) if use],
        "min_positives": config.evaluate.min_positives,
        "specificity": config.classification.specificity,
        "most_wrong": config.reliability.most_wrong,
        "counts": {
            "studies": len(samples),
            "patients": patients,
            "images": sum(one.images for one in samples),
            "positives": dict(zip(material.names, scorer.positives.tolist(), strict=True)),
            "left_out": dict(material.left_out),
        },
        "implementations": _IMPLEMENTATIONS,
        **describe_versions(("torch", "numpy")),
    }
    card["warnings"] = list(_warnings(card))
    return card


def _warnings(card: Mapping[str, Any]) -> list[str]:
    said = doubts.on_data(card)
    if not card["averaged"]:
        said.append(f"No class has {card['min_positives']} positives and negatives: there are no averages.")
    return said
