"""An evaluation of outlines: its card, and the tables for a terminal and ``metrics.md``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from medmm.config.schema import Config
from medmm.data.manifest import Manifest
from medmm.metrics.segmentation import SIZE_NAMES, size_name
from medmm.scoring import comparison_tables, doubts
from medmm.scoring.drafting import DraftingModel
from medmm.scoring.figures import marked
from medmm.scoring.markdown import Table, interval, number, table
from medmm.scoring.outline_samples import OutlineMaterial, OutlineSample
from medmm.scoring.run_card import (
    describe_data,
    describe_run,
    describe_versions,
    line_on_hashes,
    line_on_seeds,
    line_on_split,
    lines_on_programs,
)
from medmm.tasks.segmentation import Segmentation

_FOUND = 0.1  # share of a lesion from which on it counts as found
_HEADS = {"most_frequent": "most frequent", "swapped_image": "swapped image"}
_IMPLEMENTATIONS = {
    "dice, iou, volume": "medmm.metrics.segmentation, on the image's own grid",
    "hd95, surface_dice": "MONAI's compute_hausdorff_distance and compute_surface_dice",
    "baselines": "Dice and IoU on masks made 64 voxels along each side",
    "ci95": "percentile bootstrap over patients",
}


def describe(  # noqa: PLR0913, PLR0917
    model: DraftingModel, task: Segmentation, manifest: Manifest, config: Config, split: str,
    material: OutlineMaterial, trained: Mapping[str, Any], device: str | None,
) -> dict[str, Any]:  # fmt: skip
    """The card of ``metrics.json``."""
    samples = material.samples
    shown = {name: sum(one.sizes[name][1] > 0 for one in samples) for name in task.code.classes}
    card: dict[str, Any] = {
        **describe_run(model, config, split, trained, device),
        **describe_data(model, manifest, config),
        "grid": task.grid.as_dict(),
        "classes": list(task.code.classes),
        "lesions": list(task.lesions),
        "postprocessing": _postprocessing(task),
        "tolerance_mm": config.segmentation.tolerance_mm,
        "mirror": config.segmentation.mirror,
        "counts": {
            "studies": len(samples),
            "patients": len({one.patient_key for one in samples}),
            "images": len(samples),
            "positives": shown,
            "left_out": dict(material.left_out),
        },
        "implementations": _IMPLEMENTATIONS,
        **describe_versions(("torch", "monai", "numpy")),
    }
    return card | {"warnings": _warnings(card)}


def _postprocessing(task: Segmentation) -> dict[str, list[str]]:
    kinds = {"largest part": task.model.largest.tolist(), "holes filled": task.model.filled.tolist()}
    return {
        name: [kind for kind, marks in kinds.items() if marks[place]] for place, name in enumerate(task.code.classes)
    }


def _warnings(card: Mapping[str, Any]) -> list[str]:
    said = doubts.on_data(card)
    if absent := [name for name, number in card["counts"]["positives"].items() if not number]:
        said.append(f"No study shows {', '.join(absent)}.")
    return said


def lesion_rows(samples: Sequence[OutlineSample], names: Sequence[str]) -> dict[str, dict[str, dict[str, float]]]:
    """Of each class and size: how many lesions there are, the share found, and their mean Dice."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name in names:
        mine = [lesion for one in samples for lesion in one.lesions if lesion.name == name]
        for size in SIZE_NAMES:
            those = [lesion for lesion in mine if size_name(lesion.diameter_mm) == size]
            if those:
                share = float(np.mean([lesion.covered >= _FOUND for lesion in those]))
                dice = float(np.mean([lesion.dice for lesion in those]))
                found.setdefault(name, {})[size] = {"lesions": len(those), "found": share, "dice": dice}
    return found


def summary_table(metrics: Mapping[str, Any]) -> Table:
    """The averages beside their intervals and baselines."""
    counts, shown = metrics["card"]["counts"], list(metrics["baselines"])
    title = f"{metrics['card']['split']}: {counts['studies']} studies of {counts['patients']} patients"
    rows = [_row(metrics, name, shown) for name in metrics["test"] if "/" not in name]
    return title, ("metric", "model", "95% interval", *(_HEADS[name] for name in shown)), rows


def _row(metrics: Mapping[str, Any], name: str, shown: Sequence[str]) -> tuple[str, ...]:
    return (
        marked(name),
        number(metrics["test"][name]),
        interval(metrics["ci95"].get(name)),
        *(number(metrics["baselines"][baseline].get(name)) for baseline in shown),
    )


def class_table(metrics: Mapping[str, Any]) -> Table:
    """Each class: how many studies show it, and its figures."""
    test, unit = metrics["test"], "mm" if "hd95_mm" in metrics["test"] else "px"
    figures = ["dice", "iou", f"hd95_{unit}", "surface_dice", "volume_error_ml"]
    figures = [name for name in figures if any(key.startswith(f"{name}/") for key in test)]
    rows = [
        (
            name + (" (lesion)" if name in metrics["card"]["lesions"] else ""),
            str(positives),
            *(number(test.get(f"{figure}/{name}")) for figure in figures),
            interval(metrics["ci95"].get(f"dice/{name}")),
        )
        for name, positives in metrics["card"]["counts"]["positives"].items()
    ]
    return "Classes", ("class", "studies", *figures, "95% interval of dice"), rows


def lesion_table(metrics: Mapping[str, Any]) -> Table:
    """Lesions by size."""
    rows: list[tuple[str, ...]] = [
        (name, size.replace("_", " "), str(one["lesions"]), number(one["found"]), number(one["dice"]))
        for name, sizes in metrics["lesions"].items()
        for size, one in sizes.items()
    ]
    return "Lesions by diameter", ("class", "size", "lesions", "found", "dice"), rows


def markdown(metrics: Mapping[str, Any], pictures: Sequence[str] = ()) -> str:
    """``metrics.md``; ``pictures`` are those of comparisons with other runs."""
    card = metrics["card"]
    title, columns, rows = summary_table(metrics)
    parts = [f"# Evaluation on {title}"]
    if card["warnings"]:
        parts.append("\n".join(f"- **Mind:** {sentence}" for sentence in card["warnings"]))
    parts += [table(columns, rows), _reading(card), *comparison_tables.sections(metrics, pictures)]
    for head, names, cells in (class_table(metrics), lesion_table(metrics)):
        if cells:
            parts += [f"## {head}", table(names, cells)]
    parts += ["## What the numbers rest on", "\n".join(f"- {line}" for line in _basis(card))]
    return "\n\n".join(parts) + "\n"


def _reading(card: Mapping[str, Any]) -> str:
    beside = f" Averages leave out {', '.join(card['lesions'])}, which stand below by size." if card["lesions"] else ""
    return (
        "Figures are averaged over the images that show a class, drawn or true, then over the classes; where one of the"
        " two masks is empty, Dice is 0 and there is no distance. *Most frequent* is the average mask of training for"
        " everyone, *swapped image* what the model draws on another patient. A lesion is found where a tenth of it is"
        " drawn. Intervals resample patients." + beside
    )


def _basis(card: Mapping[str, Any]) -> list[str]:
    counts = card["counts"]
    cleaned = "; ".join(f"{name}: {' and '.join(done)}" for name, done in card["postprocessing"].items() if done)
    return [
        line_on_split(card, f"{counts['studies']} studies of {counts['patients']} patients"),
        line_on_hashes(card),
        f"Chosen on validation: {cleaned or 'masks are left as they are drawn'}.",
        f"Surfaces agree within {card['tolerance_mm']:g} mm (pixels where the spacing is not known).",
        line_on_seeds(card),
        *lines_on_programs(card),
    ]
