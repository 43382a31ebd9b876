"""A run's drafts against the reports of a split, beside baselines and other runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medmm.config.schema import Config
from medmm.data.manifest import Manifest
from medmm.data.pairing import write_quarantine
from medmm.reports.labelers import Labeler, choose_labeler
from medmm.scoring import baselines, card, comparison, comparison_tables, doubts, outputs, tables
from medmm.scoring.corpus import training_references
from medmm.scoring.differences import differences
from medmm.scoring.drafting import DraftingModel, draft_all
from medmm.scoring.drafts import Drafts, copied, swapped
from medmm.scoring.evaluation import QUARANTINE, Evaluation, Request, require_some
from medmm.scoring.images import prepared
from medmm.scoring.measures import Measures, Tools
from medmm.scoring.other_runs import every_image, require_comparable
from medmm.scoring.sameness import Line, Subject
from medmm.scoring.samples import MOST_TRAINING, Material, every_name, finding_names, gather
from medmm.scoring.scores import Scorer, Scores, summary_names
from medmm.types import Prediction

if TYPE_CHECKING:
    from medmm.training.loaded import LoadedModel

_SETTINGS = ("target.sections", "target.whole_text")
"""What makes the reference texts."""


def evaluate_model(model: DraftingModel, request: Request) -> Evaluation:
    """Draft a report for every study and compare; as :class:`medmm.scoring.evaluation.EvaluateModel`."""
    require_comparable(request, _SETTINGS)
    manifest, config, out = request.manifest, request.config, request.out
    tools = Tools.load(config.evaluate, choose_labeler(config.labeler))
    drawn = _draft(model, request)
    material, samples = drawn.material, drawn.material.samples
    corpus = training_references(manifest, config) if config.evaluate.cider_df == "training" else None
    scored = _score(drawn, config, corpus, tools)
    scores, compared, drafts = scored.scores, scored.compared, scored.drafts
    written = card.describe(model, manifest, config, request.split, material, drawn.training)
    written["run"] |= dict(request.trained)
    written |= card.describe_scores(samples, scores, compared, material.left_out, scored.scorer.implementations)
    texts = [one.reference for one in samples]
    written |= {"drafts": card.describe_drafts(drafts.texts, texts), "device": request.device}
    if scores.measures is not None:
        written["averaged"] = {name: list(some) for name, some in scores.measures.averaged().items()}
    written["warnings"] = list(doubts.warnings(written, scores, compared))
    lines = outputs.report_lines(samples, drawn.predictions, drafts)
    bench = _bench(scored, lines, material, request)
    more, runs = comparison.compare(bench, request, written)
    metrics = {**_figures(scores, compared), "card": written, **more}
    pictures = outputs.write_comparison(out, metrics, bench.subject, runs)
    outputs.write(out, metrics, lines, scores.findings, compared, pictures)
    shown = (tables.summary_table(metrics), *comparison_tables.tables(metrics))
    return Evaluation(metrics, shown, tuple(written["warnings"]), out, drawn.broken)


@dataclass(frozen=True)
class _Drawn:
    """What has to be known of the images while they are there.

    Attributes:
        material: The studies that were drafted.
        predictions: One a study.
        copied: Texts of the baselines that look at images.
        training: Number of training studies that these chose from.
        broken: Images that could not be read.
    """

    material: Material
    predictions: list[Prediction]
    copied: Mapping[str, list[str]]
    training: int
    broken: int


def _draft(model: DraftingModel, request: Request) -> _Drawn:
    manifest, config, split, out = request.manifest, request.config, request.split, request.out
    material = gather(manifest, split, config)
    _require_some(material, manifest, split)
    training = gather(manifest, "train", config, MOST_TRAINING) if config.evaluate.baselines else Material()
    tested = {study.study_id for study in material.studies}
    with prepared([*material.studies, *training.studies], config, out, request.progress) as images:
        broken = [one for one in images.rejections if one.study_id in tested]
        outputs.begin(out)
        write_quarantine(out / QUARANTINE, broken)
        material.drop(images.unread)
        training.drop(images.unread)
        _require_some(material, manifest, split)
        ids = [sample.study_id for sample in material.samples]
        predictions = draft_all(model, ids, images.views, config.generate.batch_size, request.progress)
        texts = copied(material.samples, training.samples, images.views) if config.evaluate.baselines else {}
    return _Drawn(material, predictions, texts, len(training.samples), len(broken))


def _require_some(material: Material, manifest: Manifest, split: str) -> None:
    splits = _named(manifest.counts())
    expected = f"studies with images and a target text; the splits hold {splits}"
    fix = "Choose another --split, or other target.sections."
    require_some(material.samples, material.left_out, split, expected, fix=fix)


def _named(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {counts.get(name, 0)}" for name in ("train", "val", "test"))


@dataclass(frozen=True)
class _Scored:
    """What the drafts are worth.

    Attributes:
        scorer: Scores any drafts of the studies.
        labeler: Reads findings in drafts.
        drafts: The model's.
        scores: Theirs.
        compared: Those of its baselines, by name.
    """

    scorer: Scorer
    labeler: Labeler
    drafts: Drafts
    scores: Scores
    compared: dict[str, Scores]

    def outcomes_of(self, lines: Sequence[Line]) -> Measures:
        """What comes of the drafts in lines of ``predictions.jsonl``."""
        drafts = Drafts.of([line["draft"] for line in lines], self.labeler)
        return self.scorer.measure(drafts.texts, drafts.findings)


def _score(drawn: _Drawn, config: Config, corpus: Iterable[str] | None, tools: Tools) -> _Scored:
    """Score the model's drafts and those of its baselines; CIDEr-D counts words in ``corpus``."""
    samples, labeler = drawn.material.samples, choose_labeler(config.labeler)
    drafts = Drafts.of([prediction.report or "" for prediction in drawn.predictions], labeler)
    names, every = finding_names(samples, config), every_name(samples, config)
    scorer = Scorer(samples, names, config.evaluate, config.seed, every, corpus, tools)
    scores = scorer.score(drafts.texts, drafts.findings, with_intervals=True)
    beside = {name: Drafts.of(texts, labeler) for name, texts in drawn.copied.items()}
    if config.evaluate.baselines and (of_others := swapped(samples, drafts, config.seed)) is not None:
        beside["swapped_image"] = of_others
    compared = {name: scorer.score(one.texts, one.findings, with_intervals=True) for name, one in beside.items()}
    return _Scored(scorer, labeler, drafts, scores, compared)


def _bench(scored: _Scored, lines: Sequence[Line], material: Material, request: Request) -> comparison.Bench:
    """What other runs are held against: the same reports, read by the same labeler."""

    def ask(model: LoadedModel, config: Config, folder: Path, option: str) -> list[Line]:
        with every_image(material.studies, config, request, folder, option) as images:
            ids = [sample.study_id for sample in material.samples]
            predictions = draft_all(model, ids, images.views, config.generate.batch_size, request.progress)
        return [{**line, "draft": one.report or ""} for line, one in zip(lines, predictions, strict=True)]

    subject = Subject(lines, ("study_id",), "draft", ask, card=("sections", "whole_text"))
    return comparison.Bench(subject, scored.outcomes_of, scored.scores, summary_names(scored.scores.values))


def _figures(scores: Scores, compared: Mapping[str, Scores]) -> dict[str, Any]:
    shown = [name for name in baselines.NAMES if name in compared]
    return {
        "test": scores.values,
        "ci95": scores.intervals(),
        "baselines": {name: compared[name].values for name in shown},
        "differences": {name: differences(scores, compared[name]) for name in shown},
    }
