"""Answers to the questions of a split against the right ones, beside the same model without image."""

from __future__ import annotations

from collections import Counter
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
from medmm.metrics.answers import AnswerScores
from medmm.scoring import baselines, outputs, vqa_card, vqa_tables
from medmm.scoring.drafting import DraftingModel, Progress
from medmm.scoring.evaluation import QUARANTINE, Evaluation, Others, refuse_others, require_some
from medmm.scoring.images import Prepared, prepared
from medmm.scoring.vqa_samples import QuestionSample, VqaMaterial, answers, gather

Floats = npt.NDArray[np.float64]
_EXPECTED = "studies with images and questions with answers"
NO_IMAGE = "no_image"


@dataclass(frozen=True)
class _Figures:
    """Scores of one set of answers: of all questions, and of resampled patients, ``[R]`` each, where there are any."""

    values: dict[str, float]
    resampled: Mapping[str, Floats]

    @classmethod
    def of(cls, samples: list[QuestionSample], given: list[str], config: Config) -> _Figures:
        scorer = AnswerScores([one.question for one in samples], [one.reference for one in samples], given)
        drawn: Mapping[str, Floats] = {}
        if config.evaluate.bootstrap:
            patients = [one.patient_key for one in samples]
            drawn = bootstrap.replicates(scorer.scores, patients, config.evaluate.bootstrap, config.seed)
        whole = {name: values for name, values in drawn.items() if np.isfinite(values).all()}
        return cls({name: float(values[0]) for name, values in scorer.scores().items()}, whole)

    def intervals(self) -> dict[str, list[float]]:
        return {name: list(bootstrap.percentiles(values)) for name, values in self.resampled.items()}

    def minus(self, other: _Figures) -> dict[str, dict[str, Any]]:
        """Each figure less the other's, paired: both were resampled with the same patients."""
        found: dict[str, dict[str, Any]] = {}
        for name, value in self.values.items():
            found[name] = {"difference": value - other.values[name]}
            if name in self.resampled:
                gap = self.resampled[name] - other.resampled[name]
                found[name] |= {"ci95": list(bootstrap.percentiles(gap)), "p": bootstrap.two_sided_p(gap)}
        return found


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
    """Answer every question of the split and compare; as :class:`medmm.scoring.evaluation.EvaluateModel`.

    Raises:
        UsageError: ``others`` names a run: models that answer questions are not compared yet.
    """
    refuse_others(others)
    material = gather(manifest, split)
    require_some(material.samples, material.left_out, split, _EXPECTED, what="question")
    with prepared(material.studies, config, out, progress) as images:
        outputs.begin(out)
        write_quarantine(out / QUARANTINE, images.rejections)
        material.drop(images.unread)
        require_some(material.samples, material.left_out, split, _EXPECTED, what="question")
        given = _given(model, material, images, config, progress)
    if config.evaluate.baselines and (training := gather(manifest, "train").samples):
        frequent = Counter(one.reference for one in training).most_common(1)[0][0]
        given["most_frequent"] = [frequent] * len(material.samples)
    metrics = _metrics(material.samples, given, config)
    card = vqa_card.describe(model, manifest, config, split, material, trained or {}, device)
    card["warnings"] = vqa_card.warnings(card, metrics["differences"][NO_IMAGE]["accuracy"])
    metrics["card"] = card
    _write(out, metrics, material, given)
    shown = (vqa_tables.summary_table(metrics), vqa_tables.gain_table(metrics))
    return Evaluation(metrics, shown, tuple(card["warnings"]), out, len(images.rejections))


def _metrics(samples: list[QuestionSample], given: Mapping[str, list[str]], config: Config) -> dict[str, Any]:
    """The content of ``metrics.json``, but for its card."""
    figures = {name: _Figures.of(samples, said, config) for name, said in given.items()}
    own = figures.pop("model")
    compared = {name: figures[name] for name in vqa_tables.BASELINES if name in figures}
    return {
        "test": own.values,
        "ci95": own.intervals(),
        "baselines": {name: one.values for name, one in compared.items()},
        "differences": {name: own.minus(one) for name, one in compared.items()},
    }


def _given(
    model: DraftingModel, material: VqaMaterial, images: Prepared, config: Config, progress: Progress | None
) -> dict[str, list[str]]:
    """What is answered with the images, without any, and with another patient's."""
    samples, size = material.samples, config.generate.batch_size
    given = {
        "model": answers(model, samples, images.views, size, progress=progress),
        NO_IMAGE: answers(model, samples, images.views, size, shown=False),
    }
    if config.evaluate.baselines and len(material.studies) > 1:
        order = baselines.derangement([study.patient_key for study in material.studies], config.seed)
        whose = {
            study.study_id: material.studies[place].study_id
            for study, place in zip(material.studies, order.tolist(), strict=True)
        }
        given["swapped_image"] = answers(model, samples, lambda study_id: images.views(whose[study_id]), size)
    return given


def _write(out: Path, metrics: Mapping[str, Any], material: VqaMaterial, given: Mapping[str, list[str]]) -> None:
    rows = zip(material.samples, given["model"], given[NO_IMAGE], strict=True)
    outputs.write_figures(
        out, metrics, (sample.line(answer, blind) for sample, answer, blind in rows), vqa_tables.markdown(metrics)
    )
