"""Comparisons with other runs as parts of ``metrics.md``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medmm.scoring.figures import marked
from medmm.scoring.markdown import Table, finer, interval, number, p_value, table

_WEIGHTS_SHOWN = 12


def tables(metrics: Mapping[str, Any]) -> list[Table]:
    """The main table of each comparison that ``metrics.json`` holds, narrow enough for a terminal."""
    found = []
    if "against" in metrics:
        title, columns, rows = _against_table(metrics["against"])
        found.append((title, _narrow(columns), [_narrow(row) for row in rows]))
    if "seeds" in metrics:
        found.append(_seeds_table(metrics["seeds"]))
    return found


def sections(metrics: Mapping[str, Any], pictures: Sequence[str] = ()) -> list[str]:
    """The comparisons that ``metrics.json`` holds, as parts of ``metrics.md``, and the pictures of them."""
    against, seeds = metrics.get("against"), metrics.get("seeds")
    return [
        *([] if against is None else _against_section(against)),
        *([] if seeds is None else _seeds_section(seeds)),
        *(f"![Differences of the main metrics with their intervals]({name})" for name in pictures),
    ]


def _against_section(found: Mapping[str, Any]) -> list[str]:
    run = found["run"]
    title, columns, rows = _against_table(found)
    parts = [
        f"## {title}",
        f"The other run: weights `{str(run['weights_sha256'])[:_WEIGHTS_SHOWN]}`, seed {run['seed']}, predictions"
        f" {run['predictions']}. In {found['identical']:.1%} of the cases both say the same.",
        _minded(found["notes"]),
        table(columns, rows),
        "Differences are this run minus the other, on the same resamples of patients; *p* is the bootstrap's,"
        " two-sided. *p (permutation)* is that of a test that swaps what the two say of whole patients;"
        f" {len(rows)} metrics are looked at together, and *p (Holm)* adjusts it for that.",
    ]
    if found["mcnemar"]:
        parts.append(table(*_alone_table(found)))
        parts.append("McNemar's test counts cases that one run alone gets right; cases count as independent.")
    return [part for part in parts if part]


def _seeds_section(found: Mapping[str, Any]) -> list[str]:
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
            marked(name),
            number(metrics[name]["this"]),
            number(metrics[name]["other"]),
            finer(metrics[name]["difference"]),
            interval(metrics[name].get("ci95")),
            *(p_value(metrics[name].get(p)) for p in ("p", "p_holm", "p_permutation")),
        )
        for name in found["main"]
    ]
    columns = ("metric", "this run", "other run", "difference", "95% interval", "p", "p (Holm)", "p (permutation)")
    return "Against another run", columns, rows


def _seeds_table(found: Mapping[str, Any]) -> Table:
    metrics = found["metrics"]
    rows: list[tuple[str, ...]] = [
        (
            marked(name),
            number(metrics[name]["mean"]),
            number(metrics[name]["sd"]),
            f"{metrics[name]['min']:.3f} to {metrics[name]['max']:.3f}",
            interval(metrics[name]["ci95"]),
            interval(metrics[name].get("ci95_within")),
        )
        for name in found["main"]
    ]
    columns = ("metric", "mean", "SD", "range", "95% interval over seeds", "95% over patients, this run")
    return f"Over {len(found['runs'])} seeds", columns, rows


def _narrow(cells: tuple[str, ...]) -> tuple[str, ...]:
    """Without the values themselves and all p-values but Holm's."""
    return (cells[0], *cells[3:5], cells[6])


def _minded(sentences: Sequence[str]) -> str:
    return "\n".join(f"- **Mind:** {sentence}" for sentence in sentences)


def _alone_table(found: Mapping[str, Any]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    rows: list[tuple[str, ...]] = []
    for name, test in sorted(found["mcnemar"].items(), key=lambda item: ("/" not in item[0], item[0])):
        entry = found["metrics"].get(name)
        if entry is None:
            continue
        rows.append(
            (
                marked(name),
                number(entry["this"]),
                number(entry["other"]),
                finer(entry["difference"]),
                interval(entry.get("ci95")),
                p_value(entry.get("p")),
                f"{test['only_this']} / {test['only_other']}",
                p_value(test["p"]),
            )
        )
    columns = ("metric", "this run", "other run", "difference", "95% interval", "p", "right alone", "p (McNemar)")
    return columns, rows
