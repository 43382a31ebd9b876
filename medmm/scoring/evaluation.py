"""A run's drafts against the reports of a split, beside baselines: ``metrics.json``, ``metrics.md`` and the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from medmm.config.schema import Config
from medmm.data.manifest import Manifest
from medmm.data.pairing import write_quarantine
from medmm.errors import DataError, MedmmError
from medmm.io import atomic
from medmm.metrics.clinical import MACRO
from medmm.reports.findings import label_report
from medmm.scoring import baselines, card, lines, tables
from medmm.scoring.drafting import Array, DraftingModel, Progress, adopt, draft_all
from medmm.scoring.images import prepared
from medmm.scoring.plots import Bar, finding_bars
from medmm.scoring.samples import MOST_TRAINING, Material, finding_names, gather, truth_source
from medmm.scoring.scores import PREFIX, FindingRow, Findings, Sample, Scorer, Scores
from medmm.types import Prediction

METRICS, PAGE, PREDICTIONS, PICTURE = "metrics.json", "metrics.md", "predictions.jsonl", "findings.png"
QUARANTINE = "quarantine.jsonl"


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        metrics: The content of ``metrics.json``: ``test``, ``ci95``, ``baselines`` and ``card``.
        findings: How each finding fared, one row each.
        warnings: Sentences that a reader of the numbers should know.
        out: Folder that holds the files.
        broken: Images of the split that could not be read; each has a line in ``quarantine.jsonl``.
        notes: What could not be done besides, such as writing the figures into the run's model card.
    """

    metrics: Mapping[str, Any]
    findings: tuple[FindingRow, ...]
    warnings: tuple[str, ...]
    out: Path
    broken: int = 0
    notes: tuple[str, ...] = ()

    def summary_table(self) -> tuple[str, tuple[str, ...], list[tuple[str, ...]]]:
        """Title, columns and rows of the main metrics beside intervals and baselines."""
        return tables.summary_table(self.metrics)

    def summary_rows(self) -> list[tuple[str, ...]]:
        """The rows of :meth:`summary_table`."""
        return self.summary_table()[2]


@dataclass(frozen=True)
class _Drafts:
    """One draft a sample and what the labeler reads in it."""

    texts: list[str]
    findings: list[Findings]

    @classmethod
    def of(cls, texts: Sequence[str]) -> _Drafts:
        read: dict[str, Findings] = {text: label_report(text) for text in dict.fromkeys(texts)}
        return cls(list(texts), [read[text] for text in texts])


def evaluate(  # noqa: PLR0917 - the order of the command line
    run: Path,
    manifest: Manifest,
    config: Config,
    split: str,
    out: Path,
    device: str = "auto",
    progress: Progress | None = None,
) -> Evaluation:
    """Draft a report for every study of a split and hold the drafts against the references, beside baselines.

    Writes ``metrics.json``, ``metrics.md``, ``predictions.jsonl`` and ``quarantine.jsonl`` (mode 0600, they hold
    references and paths) and, where findings are counted, ``findings.png``. The figures also go into the run's model
    card; where it cannot be written, ``notes`` of what is returned says so.

    Args:
        run: Run directory.
        manifest: The data, with its split.
        config: The run's config, with the settings of this evaluation merged into it.
        split: ``train``, ``val``, ``test`` or ``all``.
        out: Folder to write to; files of an earlier evaluation are replaced.
        device: ``auto``, ``cpu`` or ``cuda[:N]``.
        progress: Called as ``progress(done, total, note)``.

    Raises:
        DataError: No study of the split has an image that can be read and a target text.
        CheckpointError: The run cannot be loaded.
        ResourceError: Out of disk or memory.
    """
    from medmm.training import run as runs

    model = adopt(runs.load(run, device=device), config)
    return _entered(evaluate_model(model, manifest, config, split, out, progress=progress), run)


def _entered(evaluation: Evaluation, run: Path) -> Evaluation:
    """Put the figures into the run's model card; they are written already, so a read-only run is no failure."""
    from medmm.training.card import NAME, insert_metrics

    day = datetime.now(UTC).date().isoformat()
    try:
        insert_metrics(run / NAME, *tables.card_section(evaluation.metrics, evaluation.warnings, day))
    except MedmmError as error:
        return replace(evaluation, notes=(f"the run's model card does not have these figures. {error}",))
    return evaluation


def evaluate_model(
    model: DraftingModel,
    manifest: Manifest,
    config: Config,
    split: str,
    out: Path,
    *,
    progress: Progress | None = None,
) -> Evaluation:
    """Do what :func:`evaluate` does with a model that is loaded already."""
    material = gather(manifest, split, config)
    _require_some(material, manifest, split)
    training = gather(manifest, "train", config, MOST_TRAINING) if config.evaluate.baselines else Material()
    tested = {study.study_id for study in material.studies}
    with prepared([*material.studies, *training.studies], config, out, progress) as images:
        broken = [one for one in images.rejections if one.study_id in tested]
        write_quarantine(out / QUARANTINE, broken)
        material.drop(images.unread)
        training.drop(images.unread)
        _require_some(material, manifest, split)
        ids = [sample.study_id for sample in material.samples]
        predictions = draft_all(model, ids, images.views, config.generate.batch_size, progress)
        copied = _copied(material.samples, training.samples, images.views) if config.evaluate.baselines else {}
    drafts = _Drafts.of([prediction.report or "" for prediction in predictions])
    scorer = Scorer(material.samples, finding_names(material.samples, config), config.evaluate, config.seed)
    scores = scorer.score(drafts.texts, drafts.findings, with_intervals=True)
    others = {name: _Drafts.of(texts) for name, texts in copied.items()}
    if config.evaluate.baselines and (swapped := _swapped(material.samples, drafts, config.seed)) is not None:
        others["swapped_image"] = swapped
    compared = {name: scorer.score(one.texts, one.findings, with_intervals=False) for name, one in others.items()}
    found = _card(
        model, manifest, config, split, found=_Found(material, drafts, scores, compared, len(training.samples))
    )
    evaluation = Evaluation(
        _metrics(scores, compared, found), scores.findings, tuple(found["warnings"]), out, len(broken)
    )
    _write(evaluation, material.samples, predictions, drafts, compared)
    return evaluation


def _require_some(material: Material, manifest: Manifest, split: str) -> None:
    if material.samples:
        return
    left = ", ".join(f"{number} x {name}" for name, number in material.left_out.items())
    counts = manifest.counts()
    raise DataError(
        f"no study of split '{split}' can be evaluated",
        where="manifest",
        got=left or "no study at all",
        expected=f"studies with images and a target text; the splits hold {_named(counts)}",
        fix="Choose another --split, or other target.sections.",
    )


def _named(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {counts.get(name, 0)}" for name in ("train", "val", "test"))


def _copied(
    samples: Sequence[Sample], training: Sequence[Sample], views: Callable[[str], Array]
) -> dict[str, list[str]]:
    """Reports of the training split for each sample, by baseline; none where there is no training split."""
    if not training:
        return {}
    reports = [sample.reference for sample in training]
    small = [np.stack([baselines.thumbnail(views(one.study_id)[0]) for one in group]) for group in (samples, training)]
    patients = [[sample.patient_key for sample in group] for group in (samples, training)]
    nearest = baselines.nearest(small[0], small[1], patients[0], patients[1])
    return {
        "most_frequent": [baselines.most_frequent(reports)] * len(samples),
        "nearest_image": [reports[place] for place in nearest],
    }


def _swapped(samples: Sequence[Sample], drafts: _Drafts, seed: int) -> _Drafts | None:
    """What the model drafts from another study's images: a draft depends on the images alone, so it is that study's."""
    if len(samples) < 2:
        return None
    other = baselines.derangement([sample.patient_key for sample in samples], seed)
    return _Drafts([drafts.texts[place] for place in other], [drafts.findings[place] for place in other])


@dataclass(frozen=True)
class _Found:
    """What the card is about."""

    material: Material
    drafts: _Drafts
    scores: Scores
    compared: Mapping[str, Scores]
    training: int


def _card(model: DraftingModel, manifest: Manifest, config: Config, split: str, *, found: _Found) -> dict[str, Any]:
    references = [sample.reference for sample in found.material.samples]
    written: dict[str, Any] = {
        **card.describe_setting(config, split),
        "split_hash": manifest.split_hash,
        "split_as_trained": model.provenance.get("split_hash") == manifest.split_hash,
        "data_hash": manifest.data_hash,
        "data_as_trained": model.provenance.get("data_hash") == manifest.data_hash,
        "truth": truth_source(config),
        "counts": card.describe_data(found.material.samples, found.scores, found.material.left_out),
        "training_studies": found.training,
        "drafts": card.describe_drafts(found.drafts.texts, references),
        "targets_cut": card.targets_cut(
            model, references, min(config.model.decoder.max_tokens, config.generate.max_tokens)
        ),
        "patients_in_several_splits": manifest.summary.counts.get("patients_in_several_splits", 0),
        "against_swapped": card.against_swapped(found.scores, found.compared.get("swapped_image")),
        "run": dict(model.provenance),
    }
    return {**written, "warnings": card.warnings(written, found.scores, found.compared)}


def _metrics(scores: Scores, compared: Mapping[str, Scores], found: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "test": scores.values,
        "ci95": {name: list(bounds) for name, bounds in scores.ci95.items()},
        "baselines": {name: compared[name].values for name in baselines.NAMES if name in compared},
        "card": dict(found),
    }


def _write(
    evaluation: Evaluation,
    samples: Sequence[Sample],
    predictions: Sequence[Prediction],
    drafts: _Drafts,
    compared: Mapping[str, Scores],
) -> None:
    out = evaluation.out
    (out / PICTURE).unlink(missing_ok=True)  # an earlier evaluation's
    if evaluation.findings:
        _draw(evaluation, compared, out / PICTURE)
    atomic.write_json(out / METRICS, evaluation.metrics)
    picture = PICTURE if evaluation.findings else None
    page = tables.markdown(evaluation.metrics, evaluation.findings, evaluation.warnings, picture)
    atomic.write_text(out / PAGE, page)
    rows = zip(samples, predictions, drafts.findings, strict=True)
    lines.rewrite(out / PREDICTIONS, (_line(*row) for row in rows))


def _draw(evaluation: Evaluation, compared: Mapping[str, Scores], path: Path) -> None:
    others = {name: {row.name: row.f1 for row in scores.findings} for name, scores in compared.items()}
    intervals = evaluation.metrics["ci95"]
    bars = []
    for row in evaluation.findings:
        values = {"model": row.f1, **{name: f1[row.name] for name, f1 in others.items()}}
        low, high = intervals.get(f"{PREFIX}{row.name}", (None, None))
        bars.append(Bar(row.name, row.positives, values, low, high, row.averaged))
    own = evaluation.metrics["test"].get(MACRO)
    macro = {} if own is None else {"model": own, **{name: scores.values[MACRO] for name, scores in compared.items()}}
    finding_bars(bars, macro, tuple(intervals.get(MACRO, ())), path)


def _line(sample: Sample, prediction: Prediction, drafted: Findings) -> dict[str, Any]:
    findings = {}
    for name in sorted({*sample.truth, *drafted, *prediction.findings}):
        known = {"truth": sample.truth.get(name), "draft": drafted.get(name)}
        entry: dict[str, Any] = {source: str(one.status) if one else "unmentioned" for source, one in known.items()}
        model = prediction.findings.get(name)
        if model is not None and model.probability is not None:
            entry["probability"] = round(float(model.probability), 6)
        findings[name] = entry
    return {
        "study_id": sample.study_id,
        "patient_key": sample.patient_key,
        "split": sample.split,
        "draft": prediction.report or "",
        "reference": sample.reference,
        "findings": findings,
    }
