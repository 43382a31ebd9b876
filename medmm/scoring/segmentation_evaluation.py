"""A model's outlines against the masks of a split, beside baselines, with lesions by size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medmm.config.schema import Config
from medmm.data.manifest import Manifest
from medmm.data.outline_code import OutlineCode
from medmm.data.pairing import write_quarantine
from medmm.errors import UsageError
from medmm.io import atomic
from medmm.metrics import bootstrap
from medmm.metrics.segmentation import OutlineScores
from medmm.scoring import baselines, outline_tables, outputs
from medmm.scoring.drafting import DraftingModel, Progress
from medmm.scoring.evaluation import QUARANTINE, Evaluation, Others, refuse_others, require_some
from medmm.scoring.outline_samples import OutlineSample, outline_all, true_masks
from medmm.tasks.segmentation import Segmentation

_EXPECTED = "studies with images and masks"
_AVERAGED_MASKS = 100  # training studies behind the average mask


def evaluate_model(  # noqa: PLR0913
    model: DraftingModel,
    manifest: Manifest,
    config: Config,
    split: str,
    out: Path,
    *,
    progress: Progress | None = None,
    others: Others | None = None,
    trained: Mapping[str, Any] | None = None,
    device: str | None = None,
) -> Evaluation:
    """Outline every study of the split and compare; as :class:`medmm.scoring.evaluation.EvaluateModel`.

    Raises:
        UsageError: ``others`` names a run: models that outline are not compared yet.
    """
    refuse_others(others)
    task = segmentation_of(model)
    with atomic.full_disk_named(out):
        out.mkdir(parents=True, exist_ok=True)
    material = outline_all(task, manifest, split, config, progress)
    outputs.begin(out)
    write_quarantine(out / QUARANTINE, material.rejections)
    require_some(material.samples, material.left_out, split, _EXPECTED)
    scorer = _scorer(task, [one.figures for one in material.samples], material.samples)
    drawn: Mapping[str, npt.NDArray[np.float64]] = {}
    if config.evaluate.bootstrap:
        patients = [one.patient_key for one in material.samples]
        drawn = bootstrap.replicates(scorer.scores, patients, config.evaluate.bootstrap, config.seed)
    metrics: dict[str, Any] = {
        "test": {name: float(values[0]) for name, values in scorer.scores().items()},
        "ci95": {name: list(bootstrap.percentiles(v)) for name, v in drawn.items() if np.isfinite(v).all()},
        "baselines": _baselines(task, manifest, config, material.samples) if config.evaluate.baselines else {},
        "lesions": outline_tables.lesion_rows(material.samples, task.lesions),
        "card": outline_tables.describe(model, task, manifest, config, split, material, trained or {}, device),
    }
    _write(out, metrics, material.samples)
    shown = [outline_tables.summary_table(metrics), outline_tables.class_table(metrics)]
    if metrics["lesions"]:
        shown.append(outline_tables.lesion_table(metrics))
    return Evaluation(metrics, tuple(shown), tuple(metrics["card"]["warnings"]), out, len(material.rejections))


def segmentation_of(model: DraftingModel) -> Segmentation:
    """The task of a loaded run.

    Raises:
        UsageError: The run outlines nothing.
    """
    task = getattr(model, "task", None)
    if not isinstance(task, Segmentation):
        got = getattr(task, "name", type(model).__name__)
        raise UsageError("the run was trained for another task", where="--run", got=got, expected=Segmentation.name)
    return task


def _scorer(
    task: Segmentation, figures: Sequence[Mapping[str, Mapping[str, float]]], samples: Sequence[OutlineSample]
) -> OutlineScores:
    organs = [name for name in task.code.classes if name not in task.lesions]
    unit = "mm" if all(one.spacing_mm is not None for one in samples) else "px"
    return OutlineScores(figures, task.code.classes, organs, unit)


def _baselines(
    task: Segmentation, manifest: Manifest, config: Config, samples: Sequence[OutlineSample]
) -> dict[str, dict[str, float]]:
    """The average mask of training, and what is drawn on another patient's image; on small masks."""
    found: dict[str, dict[str, float]] = {}
    code = task.code
    average = _average(code, list(true_masks(task, manifest.studies("train"), config, _AVERAGED_MASKS)))
    if average is not None:
        found["most_frequent"] = _overlaps(task, samples, [average] * len(samples))
    if len(samples) > 1:
        order = baselines.derangement([one.patient_key for one in samples], config.seed)
        found["swapped_image"] = _overlaps(task, samples, [samples[place].drawn for place in order.tolist()])
    return found


def _average(code: OutlineCode, masks: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any] | None:
    """What most masks show at each place, coded."""
    if not masks:
        return None
    shares = [np.mean([code.mask(one, number) for one in masks], axis=0) for number in range(len(code.classes))]
    if code.exclusive:
        shares.insert(0, 1 - np.sum(shares, axis=0))
    return code.decide(np.stack(shares).astype(np.float32))


def _overlaps(
    task: Segmentation, samples: Sequence[OutlineSample], drawn: Sequence[npt.NDArray[Any]]
) -> dict[str, float]:
    rows = []
    for sample, other in zip(samples, drawn, strict=True):
        row = {}
        for number, name in enumerate(task.code.classes):
            one, true = task.code.mask(other, number), task.code.mask(sample.true, number)
            total, common = int(one.sum()) + int(true.sum()), int((one & true).sum())
            row[name] = {"dice": 2 * common / total, "iou": common / (total - common)} if total else {}
        rows.append(row)
    return {name: float(values[0]) for name, values in _scorer(task, rows, samples).scores().items()}


def _write(out: Path, metrics: Mapping[str, Any], samples: Sequence[OutlineSample]) -> None:
    outputs.write_figures(out, metrics, (one.line() for one in samples), outline_tables.markdown(metrics))
