"""What stands beside a classifier's numbers."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import medmm
from medmm.config.schema import Config
from medmm.data.manifest import Manifest
from medmm.metrics.classification import BINS, ClassificationScores
from medmm.reports.labelers import choose_labeler
from medmm.scoring.class_samples import ClassMaterial
from medmm.scoring.drafting import DraftingModel

_FEW_PATIENTS = 30
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
        "task": "classification",
        "kind": config.classification.kind,
        "split": split,
        "split_hash": manifest.split_hash,
        "split_as_trained": model.provenance.get("split_hash") == manifest.split_hash,
        "data_hash": manifest.data_hash,
        "data_as_trained": model.provenance.get("data_hash") == manifest.data_hash,
        "reader": config.data.reader,
        "truth": material.source,
        "labeler_version": choose_labeler(config.labeler).version,
        "classes": list(material.names),
        "averaged": [name for name, use in zip(material.names, scorer.averaged.tolist(), strict=True) if use],
        "min_positives": config.evaluate.min_positives,
        "specificity": config.classification.specificity,
        "most_wrong": config.reliability.most_wrong,
        "bootstrap": config.evaluate.bootstrap,
        "seed": config.seed,
        "counts": {
            "studies": len(samples),
            "patients": patients,
            "images": sum(one.images for one in samples),
            "positives": dict(zip(material.names, scorer.positives.tolist(), strict=True)),
            "left_out": dict(material.left_out),
        },
        "patients_in_several_splits": manifest.summary.counts.get("patients_in_several_splits", 0),
        "run": {**model.provenance, **trained},
        "device": device,
        "implementations": _IMPLEMENTATIONS,
        "medmm": medmm.__version__,
        "versions": {"python": platform.python_version(), **{n: metadata.version(n) for n in ("torch", "numpy")}},
    }
    card["warnings"] = list(_warnings(card, patients))
    return card


def _warnings(card: Mapping[str, Any], patients: int) -> list[str]:
    said = []
    if not (card["data_as_trained"] and card["split_as_trained"]) and card["split"] != "all":
        said.append("The data or their split are not those of training: its patients may be among those tested.")
    if card["split"] == "train":
        said.append("These studies were trained on.")
    if patients < _FEW_PATIENTS:
        said.append(f"Only {patients} patients were evaluated: expect other numbers from other patients.")
    if not card["averaged"]:
        said.append(f"No class has {card['min_positives']} positives and negatives: there are no averages.")
    if shared := card["patients_in_several_splits"]:
        said.append(f"{shared} patients lie in several splits: the figures are too good.")
    return said
