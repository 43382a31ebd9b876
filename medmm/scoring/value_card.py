"""What stands beside the figures of numbers, and what a reader of them should know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from medmm.scoring import doubts
from medmm.scoring.drafting import DraftingModel
from medmm.scoring.evaluation import Request
from medmm.scoring.run_card import describe_data, describe_run, describe_versions
from medmm.scoring.value_samples import ValueMaterial
from medmm.tasks.regression import Regression

_IMPLEMENTATIONS = {
    "mae, rmse, r2": "medmm.metrics.regression, equal to scikit-learn's; r2 against the mean of the split itself",
    "pearson": "medmm.metrics.regression, equal to numpy's corrcoef",
    "coverage": "share of the studies whose split conformal interval holds the truth",
    "ci95": "percentile bootstrap over patients",
}
_CHEAP = {
    "most_frequent": "the training median",
    "nearest_image": "the nearest training image's number",
    "swapped_image": "the model given another study's images",
}


def describe(model: DraftingModel, task: Regression, request: Request, material: ValueMaterial) -> dict[str, Any]:
    """The card of ``metrics.json``, but for its warnings."""
    config = request.config
    scale = task.model.scale
    rows = zip(material.names, material.columns, scale.mean.tolist(), scale.deviation.tolist(), strict=True)
    known = np.isfinite(material.truth).sum(0).tolist()
    return {
        **describe_run(model, config, request.split, request.trained, request.device),
        **describe_data(model, request.manifest, config),
        "kind": config.classification.kind,
        "targets": {name: {"column": column, "mean": mean, "deviation": sd} for name, column, mean, sd in rows},
        "coverage": float(scale.coverage) or config.reliability.coverage,
        "counts": {
            "studies": len(material.samples),
            "patients": len(set(material.patients)),
            "images": sum(one.images for one in material.samples),
            "known": dict(zip(material.names, known, strict=True)),
            "left_out": dict(material.left_out),
        },
        "implementations": _IMPLEMENTATIONS,
        **describe_versions(("torch", "numpy")),
    }


def warnings(metrics: Mapping[str, Any]) -> list[str]:
    """Sentences for a reader who might trust the numbers too much."""
    card = metrics["card"]
    said = doubts.on_data(card)
    for name in card["targets"]:
        said += [*_on_baselines(metrics, f"mae/{name}"), *_on_intervals(metrics, name)]
    return said


def _on_baselines(metrics: Mapping[str, Any], key: str) -> list[str]:
    own = metrics["test"].get(key)
    worse = [
        f"{_CHEAP[name]} ({figures[key]:.4g})"
        for name, figures in metrics["baselines"].items()
        if own is not None and key in figures and own >= figures[key]
    ]
    return [f"The model's {key} ({own:.4g}) is no better than that of {' and '.join(worse)}."] if worse else []


def _on_intervals(metrics: Mapping[str, Any], name: str) -> list[str]:
    key, wanted = f"coverage/{name}", metrics["card"]["coverage"]
    if key not in metrics["test"]:
        return [f"There are no intervals of {name}: validation had too few studies for a coverage of {wanted:g}."]
    bounds = metrics["ci95"].get(key)
    if bounds is None or bounds[1] >= wanted:
        return []
    measured = metrics["test"][key]
    return [f"Intervals of {name} hold the truth of {measured:.0%} of the studies, {wanted:.0%} were to be held."]
