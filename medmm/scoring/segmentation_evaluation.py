"""A model's outlines against the masks of a split, beside baselines, with lesions by size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medmm.config.schema import Config
from medmm.data.manifest import Manifest
from medmm.data.outline_code import OutlineCode
from medmm.data.pairing import write_quarantine
from medmm.errors import UsageError
from medmm.io import atomic
from medmm.metrics.segmentation import FIGURES, OutlineScores
from medmm.scoring import baselines, comparison, comparison_tables, outline_tables, outputs
from medmm.scoring.drafting import DraftingModel
from medmm.scoring.evaluation import QUARANTINE, Evaluation, Request, require_some
from medmm.scoring.figures import Bools, Figures
from medmm.scoring.other_runs import require_comparable
from medmm.scoring.outline_samples import OutlineSample, outline_all, true_masks
from medmm.scoring.sameness import Line, Subject, refuse_other_classes
from medmm.tasks.segmentation import Segmentation

if TYPE_CHECKING:
    from medmm.training.loaded import LoadedModel

ImageFigures = Mapping[str, Mapping[str, float]]
"""Class to its figures."""
_EXPECTED = "studies with images and masks"
_AVERAGED_MASKS = 100  # training studies behind the average mask


class OutlineOutcomes(OutlineScores):
    """Figures of the outlines of images.

    Args:
        figures: For each image, class to its figures.
        task: Knows the classes, and which are lesions.
        unit: Of distances, ``mm`` or ``px``.
    """

    def __init__(self, figures: Sequence[ImageFigures], task: Segmentation, unit: str) -> None:
        organs = [name for name in task.code.classes if name not in task.lesions]
        super().__init__(figures, task.code.classes, organs, unit)
        self._made_of = (list(figures), task, unit)

    def beside(self, other: OutlineOutcomes) -> OutlineOutcomes:
        """Both runs' outcomes of the same images as one."""
        figures, task, unit = self._made_of
        return OutlineOutcomes([*figures, *other._made_of[0]], task, unit)

    def correct(self) -> dict[str, Bools]:
        """An outline is neither right nor wrong."""
        return {}


def evaluate_model(model: DraftingModel, request: Request) -> Evaluation:
    """Outline every study of the split and compare; as :class:`medmm.scoring.evaluation.EvaluateModel`."""
    require_comparable(request)
    task, manifest, config, out = segmentation_of(model), request.manifest, request.config, request.out
    with atomic.full_disk_named(out):
        out.mkdir(parents=True, exist_ok=True)
    material = outline_all(task, manifest, request.split, config, request.progress)
    samples = material.samples
    outputs.begin(out)
    write_quarantine(out / QUARANTINE, material.rejections)
    require_some(samples, material.left_out, request.split, _EXPECTED)
    patients = [one.patient_key for one in samples]
    scorer = OutlineOutcomes([one.figures for one in samples], task, _unit(samples))
    figures = Figures.of(scorer, patients, config.evaluate.bootstrap, config.seed)
    card = outline_tables.describe(
        model, task, manifest, config, request.split, material, request.trained, request.device
    )
    bench = _bench([one.line() for one in samples], task, figures, request, _unit(samples))
    more, runs = comparison.compare(bench, request, card)
    metrics: dict[str, Any] = {
        "test": figures.values,
        "ci95": figures.intervals(),
        "baselines": _baselines(task, manifest, config, samples) if config.evaluate.baselines else {},
        "lesions": outline_tables.lesion_rows(samples, task.lesions),
        "card": card,
        **more,
    }
    pictures = outputs.write_comparison(out, metrics, bench.subject, runs)
    outputs.write_figures(out, metrics, bench.subject.lines, outline_tables.markdown(metrics, pictures))
    shown = [outline_tables.summary_table(metrics), outline_tables.class_table(metrics)]
    if metrics["lesions"]:
        shown.append(outline_tables.lesion_table(metrics))
    shown += comparison_tables.tables(metrics)
    return Evaluation(metrics, tuple(shown), tuple(card["warnings"]), out, len(material.rejections))


def _bench(
    lines: Sequence[Line], task: Segmentation, figures: Figures, request: Request, unit: str
) -> comparison.Bench:
    """What other runs are held against: the same classes on the same images."""

    def ask(model: LoadedModel, config: Config, folder: Path, option: str) -> list[Line]:
        other = segmentation_of(model)
        refuse_other_classes(other.code.classes, task.code.classes, option)
        return [
            one.line() for one in outline_all(other, request.manifest, request.split, config, request.progress).samples
        ]

    def outcomes_of(rows: Sequence[Line]) -> OutlineOutcomes:
        return OutlineOutcomes([_figures(line["classes"]) for line in rows], task, unit)

    subject = Subject(
        lines, ("study_id",), "classes", ask, "classes", _sizes, card=("classes", "tolerance_mm"), truths="masks"
    )
    return comparison.Bench(subject, outcomes_of, figures)


def _figures(classes: Mapping[str, Any]) -> ImageFigures:
    return {name: {key: one[key] for key in FIGURES if key in one} for name, one in classes.items()}


def _sizes(classes: Mapping[str, Any]) -> dict[str, int]:
    return {name: one["voxels_true"] for name, one in classes.items()}


def _unit(samples: Sequence[OutlineSample]) -> str:
    return "mm" if all(one.spacing_mm is not None for one in samples) else "px"


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
    known = np.maximum(np.sum([code.labelled(one) for one in masks], axis=0), 1)
    shares = [np.sum([code.mask(one, number) for one in masks], axis=0) / known for number in range(len(code.classes))]
    if code.exclusive:
        shares.insert(0, 1 - np.sum(shares, axis=0))
    return code.decide(np.stack(shares).astype(np.float32))


def _overlaps(
    task: Segmentation, samples: Sequence[OutlineSample], drawn: Sequence[npt.NDArray[Any]]
) -> dict[str, float]:
    rows = []
    for sample, other in zip(samples, drawn, strict=True):
        row, labelled = {}, task.code.labelled(sample.true)
        for number, name in enumerate(task.code.classes):
            one, true = task.code.mask(other, number) & labelled, task.code.mask(sample.true, number)
            total, common = int(one.sum()) + int(true.sum()), int((one & true).sum())
            row[name] = {"dice": 2 * common / total, "iou": common / (total - common)} if total else {}
        rows.append(row)
    return {name: float(values[0]) for name, values in OutlineOutcomes(rows, task, _unit(samples)).scores().items()}
