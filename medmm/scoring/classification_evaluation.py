"""A classifier's probabilities against what is known of a split, beside baselines, with its sureness, by subgroup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medmm.config.schema import Config
from medmm.data.pairing import write_quarantine
from medmm.metrics.classification import ClassificationScores
from medmm.scoring import baselines, class_card, class_plots, class_tables, comparison, comparison_tables, outputs
from medmm.scoring.class_samples import ClassMaterial, gather
from medmm.scoring.drafting import DraftingModel, draft_all
from medmm.scoring.evaluation import QUARANTINE, Evaluation, Request, require_some
from medmm.scoring.figures import Bools, Figures, Floats
from medmm.scoring.images import prepared
from medmm.scoring.other_runs import every_image, require_comparable
from medmm.scoring.reliability import subgroups, sureness
from medmm.scoring.sameness import Line, Subject, refuse_other_classes
from medmm.scoring.samples import MOST_TRAINING
from medmm.types import Prediction, Status

if TYPE_CHECKING:
    from medmm.training.loaded import LoadedModel

_EXPECTED = "studies with images and labels"


@dataclass(frozen=True)
class Answers:
    """What is said of each study and class, ``[N, C]`` each: probability, whether called present, whether declined."""

    probabilities: Floats
    called: Bools
    declined: Bools

    @classmethod
    def read(cls, lines: Sequence[Line], names: tuple[str, ...]) -> Answers:
        """Read the answers out of lines of ``predictions.jsonl``."""
        rows = [[line["findings"][name] for name in names] for line in lines]
        p = np.array([[one["probability"] for one in row] for row in rows], np.float64)
        status = np.array([[one["status"] for one in row] for row in rows])
        return cls(p, status == str(Status.PRESENT), status == str(Status.UNCERTAIN))

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


class ClassOutcomes(ClassificationScores):
    """Figures of what a run says of each study and class; of exactly one class a study also ``accuracy``."""

    def __init__(self, answers: Answers, truth: Floats, known: Bools, names: tuple[str, ...], config: Config) -> None:
        specificity, least = config.classification.specificity, config.evaluate.min_positives
        super().__init__(answers.probabilities, answers.called, truth, known, names, least, specificity)
        self._made_of = (answers, truth, known, names, config)
        single = config.classification.kind == "single"
        self._hits = (answers.probabilities.argmax(1) == truth.argmax(1)).astype(np.float64) if single else None

    def scores(self, counts_rn: Floats | None = None) -> dict[str, Floats]:
        """Every figure, ``[R]``, on counts ``[R, N]``; once each if None."""
        found = dict(super().scores(counts_rn))
        if self._hits is not None:
            counts = np.ones((1, len(self._hits))) if counts_rn is None else counts_rn
            found["accuracy"] = counts @ self._hits / counts.sum(1)
        return found

    def beside(self, other: ClassOutcomes) -> ClassOutcomes:
        """Both runs' outcomes of the same studies as one; the averages are over the same classes."""
        (one, truth, known, names, config), two = self._made_of, other._made_of[0]
        least = config.evaluate.model_copy(update={"min_positives": 2 * config.evaluate.min_positives})
        answers = Answers(
            np.concatenate([one.probabilities, two.probabilities]),
            np.concatenate([one.called, two.called]),
            np.concatenate([one.declined, two.declined]),
        )
        twice = [np.concatenate([array, array]) for array in (truth, known)]
        return ClassOutcomes(answers, twice[0], twice[1], names, config.model_copy(update={"evaluate": least}))

    def correct(self) -> dict[str, Bools]:
        """``f1/CLASS`` to whether each study of known truth is called right; ``accuracy`` where it has exactly one."""
        answers, truth, known, names, _ = self._made_of
        right = answers.called == (truth > 0)
        found = {f"f1/{name}": right[known[:, at], at] for at, name in enumerate(names)}
        return found if self._hits is None else found | {"accuracy": self._hits > 0}


def evaluate_model(model: DraftingModel, request: Request) -> Evaluation:
    """Call the classes of every study and compare; as :class:`medmm.scoring.evaluation.EvaluateModel`."""
    require_comparable(request, ("classification.kind",))
    config, out = request.config, request.out
    material, answers, compared, broken = _answer(model, request)
    samples, names, truth, known = material.samples, material.names, material.truth, material.known
    scorer = ClassOutcomes(answers, truth, known, names, config)
    patients = [one.patient_key for one in samples]
    figures = Figures.of(scorer, patients, config.evaluate.bootstrap, config.seed)
    found = sureness(answers.probabilities, answers.called, answers.declined, truth, known)
    card = class_card.describe(
        model, request.manifest, config, request.split, material, scorer, request.trained, request.device
    )
    lines = list(material.lines(answers.probabilities, answers.called, answers.declined))
    bench = _bench(lines, material, figures, request)
    more, runs = comparison.compare(bench, request, card)
    beside = {name: ClassOutcomes(one, truth, known, names, config) for name, one in compared.items()}
    metrics: dict[str, Any] = {
        "test": figures.values | found.figures(),
        "ci95": figures.intervals(),
        "baselines": {name: {key: float(v[0]) for key, v in one.scores().items()} for name, one in beside.items()},
        "reliability": found.as_dict(),
        "subgroups": subgroups(samples, answers.probabilities, answers.called, truth, known, names, config),
        "card": card,
        **more,
    }
    differences = outputs.write_comparison(out, metrics, bench.subject, runs)
    pictures = class_plots.draw(out, answers.probabilities, truth, known, names, found)
    outputs.write_figures(out, metrics, lines, class_tables.markdown(metrics, pictures, differences))
    tables = comparison_tables.tables(metrics)
    shown = (class_tables.summary_table(metrics), class_tables.class_table(metrics), *tables)
    return Evaluation(metrics, shown, tuple(card["warnings"]), out, broken)


def _bench(lines: Sequence[Line], material: ClassMaterial, figures: Figures, request: Request) -> comparison.Bench:
    """What other runs are held against: the same classes of the same studies."""
    names, truth, known = material.names, material.truth, material.known

    def ask(model: LoadedModel, config: Config, folder: Path, option: str) -> list[Line]:
        refuse_other_classes(model.finding_names, names, option)
        with every_image(material.studies, config, request, folder, option) as images:
            ids = [sample.study_id for sample in material.samples]
            predictions = draft_all(model, ids, images.views, config.generate.batch_size, request.progress)
        said = Answers.of(predictions, names)
        return list(material.lines(said.probabilities, said.called, said.declined))

    def outcomes_of(rows: Sequence[Line]) -> ClassOutcomes:
        return ClassOutcomes(Answers.read(rows, names), truth, known, names, request.config)

    subject = Subject(
        lines, ("study_id",), "findings", ask, "findings", _truths, card=("kind", "classes"), truths="labels"
    )
    return comparison.Bench(subject, outcomes_of, figures)


def _truths(findings: Mapping[str, Any]) -> dict[str, str]:
    return {name: one["truth"] for name, one in findings.items()}


def _answer(model: DraftingModel, request: Request) -> tuple[ClassMaterial, Answers, dict[str, Answers], int]:
    """The split's studies, what the model says of them, and what costs no model."""
    manifest, config, split, out = request.manifest, request.config, request.split, request.out
    names = tuple(model.finding_names)
    material = gather(manifest, split, config, names)
    require_some(material.samples, material.left_out, split, _EXPECTED)
    training = gather(manifest, "train", config, names, MOST_TRAINING) if config.evaluate.baselines else None
    tested = {study.study_id for study in material.studies}
    studies = [*material.studies, *(training.studies if training else ())]
    with prepared(studies, config, out, request.progress) as images:
        broken = [one for one in images.rejections if one.study_id in tested]
        outputs.begin(out)
        write_quarantine(out / QUARANTINE, broken)
        material.drop(images.unread)
        require_some(material.samples, material.left_out, split, _EXPECTED)
        ids = [sample.study_id for sample in material.samples]
        predictions = draft_all(model, ids, images.views, config.generate.batch_size, request.progress)
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
