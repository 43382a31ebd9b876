"""Comparisons with other runs as parts of ``metrics.md``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medmm.scoring.markdown import finer, interval, number, p_value, table
from medmm.scoring.scores import LESS_IS_BETTER, PREFIX, summary_names

_WEIGHTS_SHOWN = 12


Table = tuple[str, tuple[str, ...], list[tuple[str, ...]]]
"""Title, columns and rows."""


def tables(metrics: Mapping[str, Any]) -> list[Table]:
    """The main table of each comparison that ``metrics.json`` holds, narrow enough for a terminal."""
    found = []
    if "against" in metrics:
        title, columns, rows = _against_table(metrics["against"])
        found.append((title, _narrow(columns), [_narrow(row) for row in rows]))
    if "seeds" in metrics:
        found.append(_seeds_table(metrics["seeds"]))
    return found


def against_section(found: Mapping[str, Any]) -> list[str]:
    """Heading, words and tables of what ``metrics.json`` holds under ``against``."""
    run, metrics = found["run"], found["metrics"]
    title, columns, rows = _against_table(found)
    parts = [
        f"## {title}",
        f"The other run: weights `{str(run['weights_sha256'])[:_WEIGHTS_SHOWN]}`, seed {run['seed']}, drafts"
        f" {run['drafts']}. In {found['identical_drafts']:.1%} of the studies both drafts are the same text.",
        _minded(found["notes"]),
        table(columns, rows),
        "Differences are this run minus the other, on the same resamples of patients; *p* is the bootstrap's,"
        " two-sided. *p (permutation)* is that of a test that swaps the two drafts of whole patients;"
        f" {len(rows)} metrics are looked at together, and *p (Holm)* adjusts it for that.",
    ]
    classes = [name for name in metrics if name.startswith(PREFIX)]
    if classes and found["mcnemar"]:
        parts.append(table(*_finding_table(found, classes)))
        parts.append("McNemar's test counts studies that one run alone gets right; studies count as independent.")
    return [part for part in parts if part]


def seeds_section(found: Mapping[str, Any]) -> list[str]:
    """Heading, words and table of what ``metrics.json`` holds under ``seeds``."""
    title, columns, rows = _seeds_table(found)
    parts = [
        f"## {title}",
        f"Training seeds {', '.join(str(run['seed']) for run in found['runs'])}. The interval over seeds is that of"
        " their mean (Student's t); the one over patients says how other patients would move this run's figures."
        " Neither holds the other's doubt.",
        _minded(found["notes"]),
        table(columns, rows),
    ]
    return [part for part in parts if part]


def _against_table(found: Mapping[str, Any]) -> Table:
    metrics = found["metrics"]
    rows: list[tuple[str, ...]] = [
        (
            _marked(name),
            number(metrics[name]["this"]),
            number(metrics[name]["other"]),
            finer(metrics[name]["difference"]),
            interval(metrics[name].get("ci95")),
            *(p_value(metrics[name].get(p)) for p in ("p", "p_holm", "p_permutation")),
        )
        for name in summary_names(metrics)
        if name in metrics
    ]
    columns = ("metric", "this run", "other run", "difference", "95% interval", "p", "p (Holm)", "p (permutation)")
    return "Against another run", columns, rows


def _seeds_table(found: Mapping[str, Any]) -> Table:
    metrics = found["metrics"]
    rows: list[tuple[str, ...]] = [
        (
            _marked(name),
            number(metrics[name]["mean"]),
            number(metrics[name]["sd"]),
            f"{metrics[name]['min']:.3f} to {metrics[name]['max']:.3f}",
            interval(metrics[name]["ci95"]),
            interval(metrics[name].get("ci95_within")),
        )
        for name in summary_names(metrics)
        if name in metrics
    ]
    columns = ("metric", "mean", "SD", "range", "95% interval over seeds", "95% over patients, this run")
    return f"Over {len(found['runs'])} seeds", columns, rows


def _narrow(cells: tuple[str, ...]) -> tuple[str, ...]:
    """Without the values themselves and all p-values but Holm's."""
    return (cells[0], *cells[3:5], cells[6])


def _minded(sentences: Sequence[str]) -> str:
    return "\n".join(f"- **Mind:** {sentence}" for sentence in sentences)


def _finding_table(found: Mapping[str, Any], names: list[str]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    rows: list[tuple[str, ...]] = []
    for name in (*sorted(names), "exact_match"):
        entry, test = found["metrics"].get(name), found["mcnemar"].get(name)
        if entry is None or test is None:
            continue
        rows.append(
            (
                name.removeprefix(PREFIX),
                number(entry["this"]),
                number(entry["other"]),
                finer(entry["difference"]),
                interval(entry.get("ci95")),
                p_value(entry.get("p")),
                f"{test['only_this']} / {test['only_other']}",
                p_value(test["p"]),
            )
        )
    columns = ("F1 of", "this run", "other run", "difference", "95% interval", "p", "right alone", "p (McNemar)")
    return columns, rows


def _marked(name: str) -> str:
    return f"{name} ↓" if name in LESS_IS_BETTER else name
