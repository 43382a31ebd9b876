"""Bootstrap intervals: patients are drawn whole, and the width is what theory says."""

from __future__ import annotations

import numpy as np
import pytest

from medmm.errors import UsageError
from medmm.metrics.bootstrap import LEAST_PATIENTS, interval, intervals, replicates, resample_counts
from medmm.metrics.finding_scores import finding_scores
from medmm.metrics.text import text_statistics
from medmm.types import Finding, Status


def test_patients_are_drawn_whole() -> None:
    patients = ["b", "a", "b", "c", "a", "b"]
    counts = np.concatenate(list(resample_counts(patients, 500, seed=1)))
    assert counts.shape == (500, 6)
    assert np.array_equal(counts[:, 0], counts[:, 2])
    assert np.array_equal(counts[:, 0], counts[:, 5])
    assert np.array_equal(counts[:, 1], counts[:, 4])
    assert np.array_equal(counts[:, 0] + counts[:, 1] + counts[:, 3], np.full(500, 3.0))
    assert counts[:, 3].mean() == pytest.approx(1, abs=0.15)


def test_width_follows_the_standard_error_of_clusters() -> None:
    """Equal values within a patient: the interval is that of 100 patients, not of 400 studies."""
    values = np.random.default_rng(0).normal(size=100)
    studies = np.repeat(values, 4)
    patients = [str(number // 4) for number in range(400)]
    low, high = interval(lambda rows: float(studies[rows].mean()), patients, 4000, seed=2)
    error = values.std(ddof=0) / np.sqrt(100)
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)


def test_both_ways_agree_on_text_and_clinical_scores() -> None:
    generator = np.random.default_rng(4)
    words = np.array("no effusion left small heart clear lungs".split())
    references = [list(generator.choice(words, 9)) for _ in range(30)]
    drafts = [list(generator.choice(words, 8)) for _ in range(30)]
    patients = [str(number // 2) for number in range(30)]
    statistics = text_statistics(references, drafts)
    present = [[{"mass": Finding(Status.PRESENT)}, {}][int(one)] for one in generator.integers(0, 2, 60)]
    clinical = finding_scores(present[:30], present[30:], min_positives=1)
    fast = intervals(lambda counts: {**statistics.scores(counts), **clinical.scores(counts)}, patients, 200, seed=5)
    for name, scores in [
        ("bleu_4", statistics.scores),
        ("cider_d", statistics.scores),
        ("clinical_f1_macro", clinical.scores),
    ]:

        def by_rows(rows: np.ndarray, name: str = name, scores=scores) -> float:
            return float(scores(np.bincount(rows, minlength=30))[name])

        slow = interval(by_rows, patients, 200, seed=5)
        assert fast[name] == pytest.approx(slow, abs=1e-12), name
        assert slow[0] < slow[1]


def test_seed_and_level() -> None:
    patients = [str(number) for number in range(50)]
    values = np.linspace(0, 1, 50)

    def width(seed: int, level: float) -> tuple[float, float]:
        return interval(lambda rows: float(values[rows].mean()), patients, 300, seed, level)

    assert width(0, 0.95) == width(0, 0.95)
    assert width(0, 0.95) != width(1, 0.95)
    assert width(0, 0.95)[0] < width(0, 0.5)[0] < width(0, 0.5)[1] < width(0, 0.95)[1]


def test_chunks_together_have_every_resample() -> None:
    chunks = list(resample_counts([str(number) for number in range(3000)], 3000, seed=0))
    assert len(chunks) > 1
    assert sum(len(chunk) for chunk in chunks) == 3000


def test_a_few_patients_say_nothing_of_others() -> None:
    values = np.arange(20.0)

    def mean(counts: np.ndarray) -> dict[str, np.ndarray]:
        return {"mean": counts @ values / counts.sum(-1)}

    for number in range(1, LEAST_PATIENTS):
        patients = [str(place % number) for place in range(20)]
        assert replicates(mean, patients, 100, 0) == {}
        assert intervals(mean, patients, 100, 0) == {}
    patients = [str(place % LEAST_PATIENTS) for place in range(20)]
    assert replicates(mean, patients, 100, 0)["mean"].std() > 0


def test_wrong_use() -> None:
    with pytest.raises(UsageError):
        intervals(lambda counts: {}, [], 10, 0)
    with pytest.raises(UsageError):
        interval(lambda rows: 0.0, ["a"], 0, 0)
    with pytest.raises(UsageError):
        replicates(lambda counts: {}, ["a"], 0, 0)
