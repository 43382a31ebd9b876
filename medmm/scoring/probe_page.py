"""Files of a probe: ``metrics.json``, ``metrics.md`` and ``shots.png``: names of findings and numbers, no patient."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medmm.data.pairing import write_quarantine
from medmm.io import atomic
from medmm.scoring import probing
from medmm.scoring.evaluation import QUARANTINE
from medmm.scoring.labelled import Archive, Judged
from medmm.scoring.markdown import Table, finer, interval, number, table
from medmm.scoring.run_card import describe_data, describe_run, describe_versions

METRICS, PAGE, PICTURE = "metrics.json", "metrics.md", "shots.png"
_LOOKS = {  # of Okabe and Ito: colours that the common kinds of colour blindness keep apart; shapes do so in print
    probing.ZERO: ("zero-shot, by the run's prompts", "#000000", ""),
    probing.LINEAR: ("linear probe", "#0072B2", "o"),
    probing.ADAPTER: ("adapter", "#E69F00", "s"),
    probing.PROMPTS: ("learned prompts", "#009E73", "^"),
    probing.RANDOM: ("linear probe, random weights", "#999999", "D"),
}


def probe(archive: Archive) -> Judged:
    """Learn from few studies, judge on test, and write the files into ``archive.out``.

    Raises:
        DataError: A split is missing, or no finding can be learned and judged.
        ResourceError: Out of disk or memory.
    """
    (archive.out / METRICS).unlink(missing_ok=True)
    material = probing.gather(archive)
    metrics = {"shots": probing.measure(archive, material), "card": _card(archive, material)}
    shown = _tables(metrics)
    write_quarantine(archive.out / QUARANTINE, archive.rejections)
    _draw(metrics["shots"], archive.out / PICTURE)
    atomic.write_text(archive.out / PAGE, _page(metrics, shown, material))
    atomic.write_json(archive.out / METRICS, metrics)
    return Judged(metrics, shown, tuple(material.left_out), len(archive.rejections))


def _card(archive: Archive, material: probing.Material) -> dict[str, Any]:
    model, config = archive.model, archive.config
    return {
        **describe_run(model, config, "test", {"seed": archive.task.config.seed}, model.device),
        **describe_data(model, archive.manifest, config),
        "probe": config.probe.model_dump(mode="json"),
        "min_positives": config.evaluate.min_positives,
        "counts": {**material.counts, "patients": len(set(material.patients))},
        "left_out": material.left_out,
        "prompts": {"present": list(archive.task.prompts.present), "absent": list(archive.task.prompts.absent)},
        **describe_versions(("torch", "numpy", "scikit-learn")),
    }


def _tables(metrics: Mapping[str, Any]) -> tuple[Table, ...]:
    rows: list[tuple[str, ...]] = []
    differences: list[tuple[str, ...]] = []
    for shots, found in metrics["shots"].items():
        for method, one in found["methods"].items():
            cells = (number(one["auroc_macro"]), number(one["sd"]), interval(one["ci95"]))
            rows.append((f"{shots}: {_LOOKS[method][0]}", str(len(found["findings"])), *cells))
        for pair, one in found["differences"].items():
            words = " over ".join(_LOOKS[method][0] for method in pair.split(" - "))
            differences.append((f"{shots}: {words}", finer(one["difference"]), interval(one["ci95"])))
    return (
        ("Shots", ("shots and method", "findings", "AUROC", "sd over draws", "95% interval"), rows),
        ("Differences", ("shots and methods", "difference", "95% interval"), differences),
    )


def _page(metrics: Mapping[str, Any], shown: tuple[Table, ...], material: probing.Material) -> str:
    counts = metrics["card"]["counts"]
    parts = [
        f"# Few shots on {counts['test']} test studies of {counts['patients']} patients",
        *[f"- **Mind:** {sentence}." for sentence in material.left_out],
        f"![AUROC over shots]({PICTURE})",
        *[part for title, columns, rows in shown for part in (f"## {title}", table(columns, rows))],
        _READING,
    ]
    return "\n\n".join(parts) + "\n"


_READING = (
    "N shots are N training studies with a finding and N without it. AUROC is the mean over the findings that have"
    " them, and over draws; *sd* is over draws. Intervals resample the test patients and leave the draws as they are."
    " Settings (the probe's `C`, the adapter's blend) were chosen on the whole validation split, which is more than the"
    " shots."
)


def _draw(shots: Mapping[str, Any], path: Path) -> None:
    """AUROC over shots, a line a method: points with the spread over draws."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 5.0), dpi=120, layout="constrained")
    axes = figure.subplots()
    places = range(len(shots))
    for step, (method, (label, colour, shape)) in enumerate(_LOOKS.items()):
        found = [one["methods"].get(method) for one in shots.values()]
        if not all(found):
            continue
        values, spreads = [one["auroc_macro"] for one in found], [one["sd"] or 0.0 for one in found]
        if method == probing.ZERO:
            axes.plot(places, values, color=colour, linestyle="--", marker="_", label=label)
        else:
            shifted = [place + 0.06 * (step - 2.5) for place in places]  # bars beside, not upon each other
            axes.errorbar(shifted, values, spreads, color=colour, marker=shape, capsize=3, label=label)
    axes.set_xticks(list(places), list(shots))
    axes.set(xlabel="shots: training studies with a finding, and as many without", ylabel="macro-AUROC on test")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=2, frameon=False, title="mean and sd over draws")
    with atomic.replacing(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})
