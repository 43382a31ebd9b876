"""A classifier's probabilities against what is known of a split, beside baselines, with its sureness, by subgroup."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medmm.config.schema import Config
from medmm.data.manifest import Manifest
from medmm.data.pairing import write_quarantine
from medmm.metrics import bootstrap
from medmm.metrics.classification import ClassificationScores
from medmm.scoring import baselines, class_card, class_plots, class_tables, outputs
from medmm.scoring.class_samples import ClassMaterial, gather
from medmm.scoring.drafting import DraftingModel, Progress, draft_all
from medmm.scoring.evaluation import QUARANTINE, Evaluation, Others, refuse_others, require_some
from medmm.scoring.images import prepared
from medmm.scoring.reliability import Sureness, subgroups, sureness
from medmm.scoring.samples import MOST_TRAINING
from medmm.types import Prediction, Status

Floats = npt.NDArray[np.float64]
_EXPECTED = "studies with images and labels"
_ENOUGH = 0.9
"""Share of the resamples that must have a figure for it to get an interval."""


@dataclass(frozen=True)
class Answers:
    """What is said of each study and class, ``[N, C]`` each: probability, whether called present, whether declined."""

    probabilities: Floats
    called: npt.NDArray[np.bool_]
    declined: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, predictions: list[Prediction], names: tuple[str, ...]) -> Answers:
        """Read the answers out of predictions."""
        rows = [[one.findings[name] for name in names] for one in predictions]
        p = np.array([[finding.probability for finding in row] for row in rows], np.float64)
        status = [[finding.status for finding in row] for row in rows]
        called = np.array([[one is Status.PRESENT for one in row] for row in status])
        return cls(p, called, np.array([[one is Status.UNCERTAIN for one in row] for row in status]))

    def of_others(self, order: npt.NDArray[np.intp]) -> Answers:
        """What is said of other studies."""
        return Answers(self.probabilities[order], self.called[order], self.declined[order])


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
    """Call the classes of every study and compare; as :class:`medmm.scoring.evaluation.EvaluateModel`.

    Raises:
        UsageError: ``others`` names a run: classifiers are not compared yet.
    """
    refuse_others(others)
    material, answers, compared, broken = _answer(model, manifest, config, split, out, progress)
    samples, names = material.samples, material.names
    truth, known = material.truth, material.known
    scorer = _scorer(answers, truth, known, names, config)
    test = {name: float(values[0]) for name, values in scorer.scores().items()}
    patients = [one.patient_key for one in samples]
    drawn: Mapping[str, Floats] = {}
    if config.evaluate.bootstrap:
        drawn = bootstrap.replicates(scorer.scores, patients, config.evaluate.bootstrap, config.seed)
    found = sureness(answers.probabilities, answers.called, answers.declined, truth, known)
    card = class_card.describe(model, manifest, config, split, material, scorer, trained or {}, device)
    metrics: dict[str, Any] = {
        "test": test | _single(answers, truth, config) | found.figures(),
        "ci95": _intervals(drawn),
        "baselines": {name: _figures(one, truth, known, names, config) for name, one in compared.items()},
        "reliability": found.as_dict(),
        "subgroups": subgroups(samples, answers.probabilities, answers.called, truth, known, names, config),
        "card": card,
    }
    _write(out, metrics, material, answers, found, model)
    shown = (class_tables.summary_table(metrics), class_tables.class_table(metrics))
    return Evaluation(metrics, shown, tuple(card["warnings"]), out, broken)


def _intervals(drawn: Mapping[str, Floats]) -> dict[str, list[float]]:
    """Intervals over the resamples that have a figure; of a rare class, a few lack its positives."""
    finite = {name: values[np.isfinite(values)] for name, values in drawn.items()}
    return {
        name: list(bootstrap.percentiles(values))
        for name, values in finite.items()
        if len(values) >= _ENOUGH * len(drawn[name])
    }


def _answer(  # noqa: PLR0913, PLR0917
    model: DraftingModel, manifest: Manifest, config: Config, split: str, out: Path, progress: Progress | None
) -> tuple[ClassMaterial, Answers, dict[str, Answers], int]:
    """The split's studies, what the model says of them, and what costs no model."""
    names = tuple(model.finding_names)
    material = gather(manifest, split, config, names)
    require_some(material.samples, material.left_out, split, _EXPECTED)
    training = gather(manifest, "train", config, names, MOST_TRAINING) if config.evaluate.baselines else None
    tested = {study.study_id for study in material.studies}
    studies = [*material.studies, *(training.studies if training else ())]
    with prepared(studies, config, out, progress) as images:
        broken = [one for one in images.rejections if one.study_id in tested]
        outputs.begin(out)
        write_quarantine(out / QUARANTINE, broken)
        material.drop(images.unread)
        require_some(material.samples, material.left_out, split, _EXPECTED)
        ids = [sample.study_id for sample in material.samples]
        predictions = draft_all(model, ids, images.views, config.generate.batch_size, progress)
        answers = Answers.of(predictions, names)
        compared: dict[str, Answers] = {}
        if training is not None:
            training.drop(images.unread)
            compared = _compared(material, training, images.views, answers, config)
    return material, answers, compared, len(broken)


def _compared(
    material: ClassMaterial, training: ClassMaterial, views: Any, answers: Answers, config: Config
) -> dict[str, Answers]:
    """Prevalence for everyone, the labels of the nearest training image, and the model given another study."""
    found: dict[str, Answers] = {}
    number, none = len(material.samples), np.zeros_like(answers.declined)
    if training.samples:
        share = (training.truth * training.known).sum(0) / np.maximum(1, training.known.sum(0))
        p = np.tile(share, (number, 1))
        found["most_frequent"] = Answers(p, p > 0.5, none)  # noqa: PLR2004 - the more frequent answer
        small = [
            np.stack([baselines.thumbnail(views(one.study_id)[0]) for one in group.samples])
            for group in (material, training)
        ]
        patients = [[one.patient_key for one in group.samples] for group in (material, training)]
        nearest = np.asarray(baselines.nearest(small[0], small[1], patients[0], patients[1]))
        p = training.truth[nearest]
        found["nearest_image"] = Answers(p, p > 0, none)
    if number > 1:
        order = np.asarray(baselines.derangement([one.patient_key for one in material.samples], config.seed))
        found["swapped_image"] = answers.of_others(order)
    return found


def _scorer(
    answers: Answers, truth: Floats, known: npt.NDArray[np.bool_], names: tuple[str, ...], config: Config
) -> ClassificationScores:
    specificity, least = config.classification.specificity, config.evaluate.min_positives
    return ClassificationScores(answers.probabilities, answers.called, truth, known, names, least, specificity)


def _figures(
    answers: Answers, truth: Floats, known: npt.NDArray[np.bool_], names: tuple[str, ...], config: Config
) -> dict[str, float]:
    found = _scorer(answers, truth, known, names, config).scores()
    return {name: float(values[0]) for name, values in found.items()} | _single(answers, truth, config)


def _single(answers: Answers, truth: Floats, config: Config) -> dict[str, float]:
    """Accuracy where a study has exactly one class."""
    if config.classification.kind != "single":
        return {}
    return {"accuracy": float((answers.probabilities.argmax(1) == truth.argmax(1)).mean())}


def _write(  # noqa: PLR0913, PLR0917
    out: Path, metrics: Mapping[str, Any], material: ClassMaterial, answers: Answers, found: Sureness,
    model: DraftingModel,
) -> None:  # fmt: skip
    pictures = class_plots.draw(out, answers.probabilities, material.truth, material.known, material.names, found)
    outputs.write_figures(
        out,
        metrics,
        material.lines(answers.probabilities, answers.called, answers.declined),
        class_tables.markdown(metrics, pictures),
    )
