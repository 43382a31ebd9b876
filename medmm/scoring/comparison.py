"""This run against another one, and this run among others that differ by their seed alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medmm.config.evaluation import EvaluateConfig
from medmm.metrics.bootstrap import enough
from medmm.reports.labelers import Labeler
from medmm.scoring.differences import differences, holm, mcnemar, permuted
from medmm.scoring.drafts import Drafts
from medmm.scoring.other_runs import OtherRun
from medmm.scoring.scores import Sample, Scorer, Scores, summary_names

_FEW_SEEDS = 3
_SWAPS_A_TEST = 100  # with so many for each metric, Holm's p of a difference that no swap reaches is below 0.01


@dataclass(frozen=True)
class Bench:
    """What other runs are held against.

    Attributes:
        samples: The studies.
        scorer: Scores drafts of them.
        labeler: Reads findings in drafts.
        config: Number of resamples.
        seed: Seed of the tests.
        run: ``weights_sha256``, ``seed``, ``recipe_sha256`` and ``generate`` of this run.
        drafts: Its drafts.
        scores: Their scores.
    """

    samples: Sequence[Sample]
    scorer: Scorer
    labeler: Labeler
    config: EvaluateConfig
    seed: int
    run: Mapping[str, Any]
    drafts: Drafts
    scores: Scores

    def of(self, other: OtherRun, with_intervals: bool) -> tuple[Drafts, Scores]:
        """Another run's drafts in the order of the samples, and their scores."""
        drafts = Drafts.of([other.drafts[sample.study_id] for sample in self.samples], self.labeler)
        return drafts, self.scorer.score(drafts.texts, drafts.findings, with_intervals)


def against(bench: Bench, other: OtherRun) -> dict[str, Any]:
    """Compare with another run on the same studies.

    Returns:
        ``run`` (what the other one is), ``metrics`` (metric to ``this``, ``other``, ``difference``, and where there is
        a bootstrap ``ci95``, ``p``, ``p_permutation``; main metrics also ``p_holm`` of the latter), ``mcnemar``,
        ``identical_drafts`` (share of the studies) and ``notes``. Of a few patients there is neither interval nor p.
    """
    drafts, scores = bench.of(other, with_intervals=True)
    found = differences(bench.scores, scores)
    for name, entry in found.items():
        found[name] = {"this": bench.scores.values[name], "other": scores.values[name], **entry}
    tests: dict[str, Any] = {}
    if enough(bench.scorer.patients):
        tests = _tested(bench, scores, found)
    pairs = zip(bench.drafts.texts, drafts.texts, strict=True)
    return {
        "run": dict(other.facts),
        "metrics": found,
        "mcnemar": tests,
        "identical_drafts": sum(one == two for one, two in pairs) / len(drafts.texts),
        "notes": _notes(bench.run, other.facts),
    }


def seeds(bench: Bench, others: Sequence[OtherRun]) -> dict[str, Any]:
    """Summarise this run and others of the same recipe over their seeds.

    Returns:
        ``runs``, ``metrics`` (metric to ``values``, ``mean``, ``sd``, ``min``, ``max``, ``ci95`` of the mean over seeds
        by Student's t, and ``ci95_within`` of this run over patients) and ``notes``.
    """
    scores = [bench.scores, *(bench.of(other, with_intervals=False)[1] for other in others)]
    runs = [dict(bench.run), *(dict(other.facts) for other in others)]
    shared = [name for name in bench.scores.values if all(name in one.values for one in scores)]
    metrics = {name: summary([one.values[name] for one in scores]) for name in shared}
    for name, entry in metrics.items():
        if name in bench.scores.ci95:
            entry["ci95_within"] = list(bench.scores.ci95[name])
    return {"runs": runs, "metrics": metrics, "notes": _seed_notes(runs)}


def _tested(bench: Bench, other: Scores, found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """McNemar's tests; the permutation's p-values go into ``found``."""
    mine, theirs = bench.scores.measures, other.measures
    if mine is None or theirs is None:
        return {}
    if bench.config.bootstrap:
        main = [name for name in summary_names(found) if name in found]
        swaps = max(bench.config.bootstrap, _SWAPS_A_TEST * len(main))
        p_values = permuted(mine, theirs, bench.scorer.patients, swaps, bench.seed)
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
