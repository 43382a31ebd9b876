"""Files of an evaluation: figures, page, pictures, and the predictions that they were computed from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from medmm.io import atomic
from medmm.metrics.attributes import ATTRIBUTES
from medmm.metrics.finding_scores import MACRO
from medmm.scoring import lines, tables
from medmm.scoring.comparison_plot import comparison_picture
from medmm.scoring.drafts import Drafts
from medmm.scoring.measures import PREFIX, Findings
from medmm.scoring.other_runs import METRICS, PREDICTIONS, OtherRun
from medmm.scoring.plots import Bar, finding_bars
from medmm.scoring.sameness import Subject
from medmm.scoring.scores import FindingRow, Sample, Scores
from medmm.types import Prediction

PAGE, PICTURE, DIFFERENCES = "metrics.md", "findings.png", "differences.png"
OTHERS = "drafts-{}.jsonl"
_WEIGHTS_SHOWN = 8  # digits


def write(
    out: Path,
    metrics: Mapping[str, Any],
    rows: Iterable[Mapping[str, Any]],
    findings: Sequence[FindingRow],
    compared: Mapping[str, Scores],
    drawn: Sequence[str],
) -> None:
    """Write the files of an evaluation of reports: as :func:`write_figures`, and a picture of the findings.

    Args:
        out: The folder.
        metrics: The content of ``metrics.json``.
        rows: Those of ``predictions.jsonl``.
        findings: How each finding fared.
        compared: Scores of the baselines.
        drawn: Pictures that there are already.

    Raises:
        ResourceError: The disk is full.
    """
    (out / PICTURE).unlink(missing_ok=True)
    pictures = []
    if findings:
        _draw(metrics, findings, compared, out / PICTURE)
        pictures.append(PICTURE)
    page = tables.markdown(metrics, findings, metrics["card"]["warnings"], [*pictures, *drawn])
    write_figures(out, metrics, rows, page)


def begin(out: Path) -> None:
    """Take an earlier evaluation's figures away, before anything else of it is replaced: what fails leaves none."""
    (out / METRICS).unlink(missing_ok=True)


def write_figures(out: Path, metrics: Mapping[str, Any], rows: Iterable[Mapping[str, Any]], page: str) -> None:
    """Write ``predictions.jsonl``, ``metrics.json`` and ``metrics.md``.

    Raises:
        ResourceError: The disk is full.
    """
    lines.rewrite(out / PREDICTIONS, rows)
    atomic.write_json(out / METRICS, metrics)
    atomic.write_text(out / PAGE, page)


def report_lines(samples: Sequence[Sample], predictions: Sequence[Prediction], drafts: Drafts) -> list[dict[str, Any]]:
    """Lines of ``predictions.jsonl``: of each study draft, reference and what is read in either."""
    return [_line(*row) for row in zip(samples, predictions, drafts.findings, strict=True)]


def write_comparison(out: Path, metrics: Mapping[str, Any], subject: Subject, runs: Sequence[OtherRun]) -> list[str]:
    """Write the picture of the differences, and what other runs said, so that figures can be computed again.

    Those of an earlier evaluation are gone afterwards.

    Args:
        out: The folder.
        metrics: The content of ``metrics.json``.
        subject: The samples.
        runs: The other runs.

    Returns:
        Names of the pictures that there are.

    Raises:
        ResourceError: The disk is full.
    """
    for file in (out / DIFFERENCES, *out.glob(OTHERS.format("*"))):
        file.unlink(missing_ok=True)
    kept = (*subject.key, subject.said)
    for run in runs:
        name = OTHERS.format(str(run.facts["weights_sha256"])[:_WEIGHTS_SHOWN])
        lines.rewrite(out / name, ({entry: line[entry] for entry in kept} for line in run.lines))
    return [DIFFERENCES] if comparison_picture(metrics, out / DIFFERENCES) else []


def _draw(
    metrics: Mapping[str, Any], findings: Sequence[FindingRow], compared: Mapping[str, Scores], path: Path
) -> None:
    others = {name: {row.name: row.f1 for row in scores.findings} for name, scores in compared.items()}
    intervals = metrics["ci95"]
    bars = []
    for row in [row for row in findings if row.averaged] or findings:  # of a few studies the table is enough
        values = {"model": row.f1, **{name: f1[row.name] for name, f1 in others.items()}}
        low, high = intervals.get(f"{PREFIX}{row.name}", (None, None))
        bars.append(Bar(row.name, row.positives, values, low, high, row.averaged))
    own = metrics["test"].get(MACRO)
    macro = {} if own is None else {"model": own, **{name: scores.values[MACRO] for name, scores in compared.items()}}
    finding_bars(bars, macro, tuple(intervals.get(MACRO, ())), path)


def _line(sample: Sample, prediction: Prediction, drafted: Findings) -> dict[str, Any]:
    findings = {}
    for name in sorted({*sample.truth, *drafted, *prediction.findings}):
        known = {"truth": sample.truth.get(name), "draft": drafted.get(name)}
        entry: dict[str, Any] = {source: str(one.status) if one else "unmentioned" for source, one in known.items()}
        for attribute in ATTRIBUTES:
            stated = {source: getattr(one, attribute, None) for source, one in known.items()}
            if any(stated.values()):
                entry[attribute] = {source: str(value) for source, value in stated.items() if value}
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
