"""This run against another one, and this run among others that differ by their seed alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medmm.metrics.bootstrap import enough
from medmm.scoring.differences import differences, holm, mcnemar, permuted
from medmm.scoring.evaluation import Request
from medmm.scoring.figures import Figures, Outcomes
from medmm.scoring.other_runs import OtherRun, facts_of, find
from medmm.scoring.sameness import Line, Subject

_FEW_SEEDS = 3
_SWAPS_A_TEST = 100  # with so many for each figure, Holm's p of a difference that no swap reaches is below 0.01


@dataclass(frozen=True)
class Bench:
    """What other runs are held against.

    Attributes:
        subject: The samples.
        outcomes_of: What comes of a run's lines of ``predictions.jsonl``, in the order of the samples.
        figures: This run's.
        main: The figures that people read first; None: all that are not of one class.
    """

    subject: Subject
    outcomes_of: Callable[[Sequence[Line]], Outcomes]
    figures: Figures
    main: Sequence[str] | None = None

    @property
    def patients(self) -> list[str]:
        """Each sample's patient."""
        return [line["patient_key"] for line in self.subject.lines]

    def main_of(self, found: Mapping[str, object]) -> list[str]:
        """The main figures that were found."""
        return [name for name in (found if self.main is None else self.main) if name in found and "/" not in name]


def compare(bench: Bench, request: Request, card: Mapping[str, Any]) -> tuple[dict[str, Any], list[OtherRun]]:
    """What ``metrics.json`` says of other runs, ``against`` and ``seeds``, and these.

    Args:
        bench: This run's figures, and of what they are.
        request: Names the other runs.
        card: The card of this evaluation.

    Raises:
        DataError: Another run is not of the same.
        CheckpointError: A run cannot be loaded.
    """
    said: dict[str, Any] = {}
    own = facts_of(card, "of this evaluation")
    runs = [find(place, bench.subject, request, card, "--seeds") for place in request.others.seeds]
    if runs:
        said["seeds"] = _seeds(bench, own, runs)
    if request.others.against is not None:
        rival = find(request.others.against, bench.subject, request, card, "--against")
        said["against"] = _against(bench, request, own, rival)
        runs.append(rival)
    return said, runs


def _against(bench: Bench, request: Request, own: Mapping[str, Any], other: OtherRun) -> dict[str, Any]:
    """Compare with another run on the same samples.

    Returns:
        ``run`` (what the other one is), ``main`` (names of the main figures), ``metrics`` (figure to ``this``,
        ``other``, ``difference``, and where there is a bootstrap ``ci95``, ``p``, ``p_permutation``; main figures also
        ``p_holm`` of the latter), ``mcnemar``, ``identical`` (share of the samples of which both say the same) and
        ``notes``. Of a few patients there is neither interval nor p.
    """
    resamples, seed = request.config.evaluate.bootstrap, request.config.seed
    figures = Figures.of(bench.outcomes_of(other.lines), bench.patients, resamples, seed)
    found = differences(bench.figures, figures)
    for name, entry in found.items():
        found[name] = {"this": bench.figures.values[name], "other": figures.values[name], **entry}
    tests = _tested(bench, figures, found, resamples, seed) if enough(bench.patients) else {}
    subject = bench.subject
    pairs = zip(subject.lines, other.lines, strict=True)
    return {
        "run": dict(other.facts),
        "main": bench.main_of(found),
        "metrics": found,
        "mcnemar": tests,
        "identical": sum(one[subject.said] == two[subject.said] for one, two in pairs) / len(subject.lines),
        "notes": _notes(own, other.facts),
    }


def _seeds(bench: Bench, own: Mapping[str, Any], others: Sequence[OtherRun]) -> dict[str, Any]:
    """Summarise this run and others of the same recipe over their seeds.

    Returns:
        ``runs``, ``main`` (names of the main figures), ``metrics`` (figure to ``values``, ``mean``, ``sd``, ``min``,
        ``max``, ``ci95`` of the mean over seeds by Student's t, and ``ci95_within`` of this run over patients) and
        ``notes``.
    """
    figures = [bench.figures, *(Figures.of(bench.outcomes_of(one.lines), bench.patients, 0, 0) for one in others)]
    runs = [dict(own), *(dict(other.facts) for other in others)]
    shared = [name for name in bench.figures.values if all(name in one.values for one in figures)]
    metrics = {name: summary([one.values[name] for one in figures]) for name in shared}
    for name, entry in metrics.items():
        if name in bench.figures.ci95:
            entry["ci95_within"] = list(bench.figures.ci95[name])
    return {"runs": runs, "main": bench.main_of(metrics), "metrics": metrics, "notes": _seed_notes(runs)}


def _tested(
    bench: Bench, other: Figures, found: dict[str, dict[str, Any]], resamples: int, seed: int
) -> dict[str, Any]:
    """McNemar's tests; the permutation's p-values go into ``found``."""
    mine, theirs = bench.figures.measures, other.measures
    if mine is None or theirs is None:
        return {}
    if resamples:
        main = bench.main_of(found)
        p_values = permuted(mine, theirs, bench.patients, max(resamples, _SWAPS_A_TEST * len(main)), seed)
        for name, p in p_values.items():
            if name in found:
                found[name]["p_permutation"] = p
        for name, p in holm({name: p_values[name] for name in main if name in p_values}).items():
            found[name]["p_holm"] = p
    return mcnemar(mine, theirs)


def summary(values: Sequence[float]) -> dict[str, Any]:
    """Mean, standard deviation (n - 1), range and 95% interval of the mean by Student's t of at least two values."""
    from scipy.stats import t

    array = np.asarray(values, np.float64)
    mean, sd = float(array.mean()), float(array.std(ddof=1))
    reach = float(t.ppf(0.975, len(array) - 1)) * sd / len(array) ** 0.5
    return {
        "values": [float(value) for value in array],
        "mean": mean,
        "sd": sd,
        "min": float(array.min()),
        "max": float(array.max()),
        "ci95": [mean - reach, mean + reach],
    }


def _notes(own: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    said = []
    if own.get("weights_sha256") == other.get("weights_sha256"):
        said.append("Both runs have the same weights.")
    if own.get("generate") != other.get("generate"):
        said.append("The two write with different generation settings.")
    if other.get("data_hash") not in {None, own.get("data_hash")}:
        said.append("The other run was trained on other data: make sure that it has not seen these patients.")
    return said


def _seed_notes(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    said = []
    recipes = {run.get("recipe_sha256") for run in runs}
    if len(recipes) > 1 or None in recipes:
        said.append("The runs differ by more than their seed: their spread is not that of seeds alone.")
    if len({run.get("seed") for run in runs}) < len(runs):
        said.append("Several runs have the same seed: their spread is too small.")
    if len({run.get("data_hash") for run in runs}) > 1 or len({run.get("split_hash") for run in runs}) > 1:
        said.append("The runs were not trained on the same data and split.")
    if len({str(run.get("generate")) for run in runs}) > 1:
        said.append("The runs write with different generation settings.")
    if len(runs) < _FEW_SEEDS:
        said.append("Two seeds say little of the spread: the interval over seeds is as wide as that.")
    return said
