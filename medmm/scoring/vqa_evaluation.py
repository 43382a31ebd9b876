"""Answers to the questions of a split against the right ones, beside the same model without image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medmm.config.schema import Config
from medmm.data.pairing import write_quarantine
from medmm.metrics import bootstrap
from medmm.metrics.answers import AnswerScores
from medmm.scoring import baselines, comparison, comparison_tables, outputs, vqa_card, vqa_tables
from medmm.scoring.differences import differences
from medmm.scoring.drafting import DraftingModel, Progress
from medmm.scoring.evaluation import QUARANTINE, Evaluation, Request, require_some
from medmm.scoring.figures import Bools, Figures, Floats, finite
from medmm.scoring.images import Prepared, prepared
from medmm.scoring.other_runs import every_image, require_comparable
from medmm.scoring.sameness import Line, Subject
from medmm.scoring.subgroups import by_subgroup
from medmm.scoring.sureness_plots import draw_sureness
from medmm.scoring.vqa_reliability import FIGURES, AnswerReliability
from medmm.scoring.vqa_samples import GivenAnswer, QuestionSample, VqaMaterial, answers, gather
from medmm.scoring.vqa_tables import GROUP_FIGURES

if TYPE_CHECKING:
    from medmm.training.loaded import LoadedModel

_EXPECTED = "studies with images and questions with answers"
NO_IMAGE = "no_image"


class AnswerOutcomes(AnswerScores):
    """Figures of the answers to questions."""

    def __init__(self, samples: Sequence[QuestionSample], given: Sequence[str]) -> None:
        super().__init__([one.question for one in samples], [one.reference for one in samples], given)
        self._made_of = (list(samples), list(given))

    def beside(self, other: AnswerOutcomes) -> AnswerOutcomes:
        """Both runs' answers to the same questions as one."""
        samples, given = self._made_of
        return AnswerOutcomes([*samples, *samples], [*given, *other._made_of[1]])

    def correct(self) -> dict[str, Bools]:
        """``accuracy`` to whether each answer is right."""
        return {"accuracy": self.right}


def evaluate_model(model: DraftingModel, request: Request) -> Evaluation:
    """Answer every question of the split and compare; as :class:`medmm.scoring.evaluation.EvaluateModel`."""
    require_comparable(request)
    manifest, config, split, out = request.manifest, request.config, request.split, request.out
    material = gather(manifest, split)
    require_some(material.samples, material.left_out, split, _EXPECTED, what="question")
    with prepared(material.studies, config, out, request.progress) as images:
        outputs.begin(out)
        write_quarantine(out / QUARANTINE, images.rejections)
        material.drop(images.unread)
        require_some(material.samples, material.left_out, split, _EXPECTED, what="question")
        given = _given(model, material, images, config, request.progress)
    if config.evaluate.baselines and (training := gather(manifest, "train").samples):
        frequent = Counter(one.reference for one in training).most_common(1)[0][0]
        given["most_frequent"] = [GivenAnswer(frequent)] * len(material.samples)
    figures = {name: _figures(material.samples, said, config) for name, said in given.items()}
    metrics = _metrics(figures)
    card = vqa_card.describe(model, manifest, config, split, material, request.trained, request.device)
    found = AnswerReliability.of(material.samples, given["model"])
    drawn = [] if found is None else _add_reliability(metrics, found, material.samples, config, out)
    bench = _bench(_lines(material, given), material, figures["model"], request)
    more, runs = comparison.compare(bench, request, card)
    card["warnings"] = vqa_card.warnings(card, metrics["differences"][NO_IMAGE]["accuracy"], metrics["test"])
    metrics |= {"card": card, **more}
    pictures = outputs.write_comparison(out, metrics, bench.subject, runs)
    outputs.write_figures(out, metrics, bench.subject.lines, vqa_tables.markdown(metrics, pictures, drawn))
    tables = comparison_tables.tables(metrics)
    shown = (vqa_tables.summary_table(metrics), vqa_tables.gain_table(metrics), *tables)
    return Evaluation(metrics, shown, tuple(card["warnings"]), out, len(images.rejections))


def _figures(samples: Sequence[QuestionSample], given: Sequence[GivenAnswer], config: Config) -> Figures:
    patients = [one.patient_key for one in samples]
    outcomes = AnswerOutcomes(samples, [one.answer for one in given])
    return Figures.of(outcomes, patients, config.evaluate.bootstrap, config.seed)


def _add_reliability(
    metrics: dict[str, Any], found: AnswerReliability, samples: Sequence[QuestionSample], config: Config, out: Path
) -> list[str]:
    """Put how sure the model is, and for whom, beside the other figures; the names of the pictures of it."""
    drawn: Mapping[str, Floats] = {}
    if config.evaluate.bootstrap:
        patients = [one.patient_key for one in samples]
        drawn = bootstrap.replicates(found.scores, patients, config.evaluate.bootstrap, config.seed)
    values = {name: float(found.scores()[name][0]) for name in FIGURES}
    kept = {name: finite(drawn[name]) for name in FIGURES if name in drawn}
    metrics["test"] |= {name: value for name, value in values.items() if np.isfinite(value)}
    metrics["ci95"] |= {name: list(bootstrap.percentiles(some)) for name, some in kept.items() if some is not None}
    sureness = found.sureness()
    metrics["reliability"] = sureness.as_dict("right", "answers")
    metrics["subgroups"] = by_subgroup(samples, found.of_some, GROUP_FIGURES, config)
    return draw_sureness(out, sureness, "confidence", "right", "answers")


def _metrics(figures: Mapping[str, Figures]) -> dict[str, Any]:
    """The content of ``metrics.json``, but for its card and other runs."""
    own, compared = figures["model"], {name: figures[name] for name in vqa_tables.BASELINES if name in figures}
    return {
        "test": own.values,
        "ci95": own.intervals(),
        "baselines": {name: one.values for name, one in compared.items()},
        "differences": {name: differences(own, one) for name, one in compared.items()},
    }


def _bench(lines: Sequence[Line], material: VqaMaterial, figures: Figures, request: Request) -> comparison.Bench:
    """What other runs are held against: the same questions on the same studies."""
    samples = material.samples

    def ask(model: LoadedModel, config: Config, folder: Path, option: str) -> list[Line]:
        with every_image(material.studies, config, request, folder, option) as images:
            size = config.generate.batch_size
            said = answers(model, samples, images.views, size, progress=request.progress)
        return [{**line, "answer": one.answer} for line, one in zip(lines, said, strict=True)]

    def outcomes_of(rows: Sequence[Line]) -> AnswerOutcomes:
        return AnswerOutcomes(samples, [line["answer"] for line in rows])

    subject = Subject(lines, ("study_id", "question"), "answer", ask, samples="questions", truths="right answers")
    return comparison.Bench(subject, outcomes_of, figures)


def _given(
    model: DraftingModel, material: VqaMaterial, images: Prepared, config: Config, progress: Progress | None
) -> dict[str, list[GivenAnswer]]:
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


def _lines(material: VqaMaterial, given: Mapping[str, list[GivenAnswer]]) -> list[Line]:
    rows = zip(material.samples, given["model"], given[NO_IMAGE], strict=True)
    return [sample.line(answer, blind.answer) for sample, answer, blind in rows]
