"""A run's drafts against the reports of a split, beside baselines and other runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from medmm.config.schema import Config
from medmm.data.manifest import Manifest
from medmm.data.pairing import write_quarantine
from medmm.reports.labelers import choose_labeler
from medmm.scoring import baselines, card, comparison, comparison_tables, doubts, outputs, tables
from medmm.scoring.corpus import training_references
from medmm.scoring.differences import differences
from medmm.scoring.drafting import DraftingModel, Progress, draft_all
from medmm.scoring.drafts import Drafts, copied, swapped
from medmm.scoring.evaluation import QUARANTINE, Evaluation, Others, require_some
from medmm.scoring.images import prepared
from medmm.scoring.measures import Tools
from medmm.scoring.other_runs import OtherRun, draft_anew, drafts_of, require_run
from medmm.scoring.samples import MOST_TRAINING, Material, every_name, finding_names, gather
from medmm.scoring.scores import Scorer, Scores
from medmm.types import Prediction


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
    """Draft a report for every study and compare; as :class:`medmm.scoring.evaluation.EvaluateModel`."""
    others = others or Others()
    for option, place in others.named():
        require_run(place, option)
    tools = Tools.load(config.evaluate, choose_labeler(config.labeler))
    drawn = _draft(model, manifest, config, split, out, progress)
    material, samples = drawn.material, drawn.material.samples
    corpus = training_references(manifest, config) if config.evaluate.cider_df == "training" else None
    bench, compared = _score(drawn, config, corpus, tools)
    written = card.describe(model, manifest, config, split, material, drawn.training)
    written["run"] |= dict(trained or {})
    written |= card.describe_scores(samples, bench.scores, compared, material.left_out, bench.scorer.implementations)
    texts = bench.drafts.texts
    written |= {"drafts": card.describe_drafts(texts, [one.reference for one in samples]), "device": device}
    if bench.scores.measures is not None:
        written["averaged"] = {name: list(some) for name, some in bench.scores.measures.averaged().items()}
    written["warnings"] = list(doubts.warnings(written, bench.scores, compared))
    more, found = _compare(replace(bench, run=_own_facts(written)), others, written, drawn, out, progress)
    metrics = {**_figures(bench.scores, compared), "card": written, **more}
    outputs.write(out, metrics, bench.scores.findings, compared)
    outputs.write_predictions(out, samples, drawn.predictions, bench.drafts)
    outputs.write_others(out, found)
    shown = (tables.summary_table(metrics), *comparison_tables.tables(metrics))
    return Evaluation(metrics, shown, tuple(written["warnings"]), out, drawn.broken)


@dataclass(frozen=True)
class _Drawn:
    """What has to be known of the images while they are there.

    Attributes:
        config: The settings.
        material: The studies that were drafted.
        predictions: One a study.
        copied: Texts of the baselines that look at images.
        training: Number of training studies that these chose from.
        broken: Images that could not be read.
    """

    config: Config
    material: Material
    predictions: list[Prediction]
    copied: Mapping[str, list[str]]
    training: int
    broken: int


def _draft(  # noqa: PLR0913, PLR0917
    model: DraftingModel, manifest: Manifest, config: Config, split: str, out: Path, progress: Progress | None
) -> _Drawn:
    material = gather(manifest, split, config)
    _require_some(material, manifest, split)
    training = gather(manifest, "train", config, MOST_TRAINING) if config.evaluate.baselines else Material()
    tested = {study.study_id for study in material.studies}
    with prepared([*material.studies, *training.studies], config, out, progress) as images:
        broken = [one for one in images.rejections if one.study_id in tested]
        outputs.begin(out)
        write_quarantine(out / QUARANTINE, broken)
        material.drop(images.unread)
        training.drop(images.unread)
        _require_some(material, manifest, split)
        ids = [sample.study_id for sample in material.samples]
        predictions = draft_all(model, ids, images.views, config.generate.batch_size, progress)
        texts = copied(material.samples, training.samples, images.views) if config.evaluate.baselines else {}
    return _Drawn(config, material, predictions, texts, len(training.samples), len(broken))


def _require_some(material: Material, manifest: Manifest, split: str) -> None:
    splits = _named(manifest.counts())
    expected = f"studies with images and a target text; the splits hold {splits}"
    fix = "Choose another --split, or other target.sections."
    require_some(material.samples, material.left_out, split, expected, fix=fix)


def _named(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {counts.get(name, 0)}" for name in ("train", "val", "test"))


def _score(
    drawn: _Drawn, config: Config, corpus: Iterable[str] | None, tools: Tools
) -> tuple[comparison.Bench, dict[str, Scores]]:
    """Scores of the model's drafts, and of its baselines by name; CIDEr-D counts words in ``corpus``."""
    samples, labeler = drawn.material.samples, choose_labeler(config.labeler)
    drafts = Drafts.of([prediction.report or "" for prediction in drawn.predictions], labeler)
    names, every = finding_names(samples, config), every_name(samples, config)
    scorer = Scorer(samples, names, config.evaluate, config.seed, every, corpus, tools)
    scores = scorer.score(drafts.texts, drafts.findings, with_intervals=True)
    beside = {name: Drafts.of(texts, labeler) for name, texts in drawn.copied.items()}
    if config.evaluate.baselines and (of_others := swapped(samples, drafts, config.seed)) is not None:
        beside["swapped_image"] = of_others
    compared = {name: scorer.score(one.texts, one.findings, with_intervals=True) for name, one in beside.items()}
    bench = comparison.Bench(samples, scorer, labeler, config.evaluate, config.seed, {}, drafts, scores)
    return bench, compared


def _figures(scores: Scores, compared: Mapping[str, Scores]) -> dict[str, Any]:
    shown = [name for name in baselines.NAMES if name in compared]
    return {
        "test": scores.values,
        "ci95": {name: list(bounds) for name, bounds in scores.ci95.items()},
        "baselines": {name: compared[name].values for name in shown},
        "differences": {name: differences(scores, compared[name]) for name in shown},
    }


def _own_facts(written: Mapping[str, Any]) -> dict[str, Any]:
    names = ("weights_sha256", "seed", "recipe_sha256", "data_hash", "split_hash")
    return {name: written["run"].get(name) for name in names} | {"generate": written["generate"]}


def _compare(  # noqa: PLR0913, PLR0917
    bench: comparison.Bench,
    others: Others,
    written: Mapping[str, Any],
    drawn: _Drawn,
    out: Path,
    progress: Progress | None,
) -> tuple[dict[str, Any], list[OtherRun]]:
    """What ``metrics.json`` says of other runs, and these."""

    def found(place: Path, option: str) -> OtherRun:
        hashes = {name: written[name] for name in ("data_hash", "split_hash")}
        studies = drawn.material.studies
        anew = partial(draft_anew, studies, drawn.config, hashes, out, others.device, progress, option)
        return drafts_of(place, bench.samples, written, anew, option)

    said: dict[str, Any] = {}
    runs = [found(place, "--seeds") for place in others.seeds]
    if runs:
        said["seeds"] = comparison.seeds(bench, runs)
    if others.against is not None:
        rival = found(others.against, "--against")
        said["against"] = comparison.against(bench, rival)
        runs.append(rival)
    return said, runs
