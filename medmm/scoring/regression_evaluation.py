"""A model's numbers against those of a split, beside baselines, with their intervals held against the truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medmm.data.pairing import write_quarantine
from medmm.errors import UsageError
from medmm.metrics import bootstrap
from medmm.metrics.regression import RegressionScores
from medmm.scoring import baselines, outputs, value_card, value_plot, value_tables
from medmm.scoring.drafting import DraftingModel, draft_all
from medmm.scoring.evaluation import QUARANTINE, Evaluation, Request, refuse_others, require_some
from medmm.scoring.figures import finite
from medmm.scoring.images import prepared
from medmm.scoring.samples import MOST_TRAINING
from medmm.scoring.value_samples import ValueMaterial, gather
from medmm.tasks.regression import Regression
from medmm.types import Estimate, Prediction

Floats = npt.NDArray[np.float64]
_EXPECTED = "studies with images and numbers"


@dataclass(frozen=True)
class _Said:
    """What is said of each study and target, ``[N, T]`` each; intervals are infinite where there is none."""

    value: Floats
    low: Floats
    high: Floats

    @classmethod
    def of(cls, predictions: list[Prediction], names: tuple[str, ...]) -> _Said:
        """Read the numbers out of predictions."""
        rows = [[_bounds(one.values[name]) for name in names] for one in predictions]
        value, low, high = np.moveaxis(np.array(rows, np.float64), -1, 0)
        return cls(value, low, high)


@dataclass(frozen=True)
class _Found:
    """What a split came to.

    Attributes:
        predictions: Of each study.
        compared: Baseline to its numbers, ``[N, T]``.
        broken: Images that could not be read.
    """

    predictions: list[Prediction]
    compared: dict[str, Floats]
    broken: int


def evaluate_model(model: DraftingModel, request: Request, /) -> Evaluation:
    """Estimate the numbers of every study and compare; as :class:`medmm.scoring.evaluation.EvaluateModel`.

    Raises:
        UsageError: ``request.others`` names a run: models that estimate numbers are not compared.
    """
    refuse_others(request.others)
    task, wanted = regression_of(model), request.config.evaluate
    material = gather(request.manifest, request.split, request.config, task.targets)
    require_some(material.samples, material.left_out, request.split, _EXPECTED)
    found = _estimate(model, request, material)
    said, truth = _Said.of(found.predictions, task.targets), material.truth
    scorer = RegressionScores(said.value, truth, task.targets, said.low, said.high)
    drawn: Mapping[str, Floats] = {}
    if wanted.bootstrap:
        drawn = bootstrap.replicates(scorer.scores, material.patients, wanted.bootstrap, request.config.seed)
    kept = {name: finite(values) for name, values in drawn.items()}
    declined = float(np.mean([one.abstained for one in found.predictions]))
    metrics: dict[str, Any] = {
        "test": {**_finite(scorer), "declined_share": declined},
        "ci95": {name: list(bootstrap.percentiles(values)) for name, values in kept.items() if values is not None},
        "baselines": {
            name: _finite(RegressionScores(values, truth, task.targets)) for name, values in found.compared.items()
        },
    }
    metrics["card"] = value_card.describe(model, task, request, material)
    metrics["card"]["warnings"] = value_card.warnings(metrics)
    picture = value_plot.draw(request.out, truth, said.value, said.low, said.high, task.targets)
    page = value_tables.markdown(metrics, picture)
    outputs.write_figures(request.out, metrics, material.lines(found.predictions), page)
    shown = (value_tables.summary_table(metrics), value_tables.interval_table(metrics))
    return Evaluation(metrics, shown, tuple(metrics["card"]["warnings"]), request.out, found.broken)


def regression_of(model: DraftingModel) -> Regression:
    """The task of a loaded run.

    Raises:
        UsageError: The run gives no numbers.
    """
    task = getattr(model, "task", None)
    if not isinstance(task, Regression):
        got = getattr(task, "name", type(model).__name__)
        raise UsageError("the run was trained for another task", where="--run", got=got, expected=Regression.name)
    return task


def _estimate(model: DraftingModel, request: Request, material: ValueMaterial) -> _Found:
    """What the model says of the split's studies, and what costs no model."""
    config, manifest, training = request.config, request.manifest, None
    if config.evaluate.baselines:
        training = gather(manifest, "train", config, material.names, MOST_TRAINING)
    tested = {study.study_id for study in material.studies}
    studies = [*material.studies, *(training.studies if training else ())]
    with prepared(studies, config, request.out, request.progress) as images:
        broken = [one for one in images.rejections if one.study_id in tested]
        outputs.begin(request.out)
        write_quarantine(request.out / QUARANTINE, broken)
        material.drop(images.unread)
        require_some(material.samples, material.left_out, request.split, _EXPECTED)
        ids = [sample.study_id for sample in material.samples]
        predictions = draft_all(model, ids, images.views, config.generate.batch_size, request.progress)
        compared: dict[str, Floats] = {}
        if training is not None:
            training.drop(images.unread)
            said = _Said.of(predictions, material.names)
            compared = _compared(material, training, images.views, said.value, config.seed)
    return _Found(predictions, compared, len(broken))


def _compared(
    material: ValueMaterial, training: ValueMaterial, views: Callable[[str], Any], said: Floats, seed: int
) -> dict[str, Floats]:
    """The training median for everyone, the nearest training image's number, and the model's for another study."""
    found: dict[str, Floats] = {}
    number = len(material.samples)
    if training.samples and np.isfinite(training.truth).any(0).all():
        median = np.nanmedian(training.truth, axis=0)
        found["most_frequent"] = np.tile(median, (number, 1))
        small = [
            np.stack([baselines.thumbnail(views(one.study_id)[0]) for one in group.samples])
            for group in (material, training)
        ]
        nearest = training.truth[baselines.nearest(small[0], small[1], material.patients, training.patients)]
        found["nearest_image"] = np.where(np.isfinite(nearest), nearest, median)
    if number > 1:
        found["swapped_image"] = said[baselines.derangement(material.patients, seed)]
    return found


def _bounds(one: Estimate) -> tuple[float, float, float]:
    return (one.value, *((-np.inf, np.inf) if one.low is None or one.high is None else (one.low, one.high)))


def _finite(scorer: RegressionScores) -> dict[str, float]:
    """Figures that there are; a number that is the same for everyone has no correlation."""
    return {name: float(values[0]) for name, values in scorer.scores().items() if np.isfinite(values[0])}
