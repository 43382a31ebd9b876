"""Clinical F1 against scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from medmm.errors import UsageError
from medmm.metrics.finding_scores import Uncertain, finding_scores
from medmm.types import Finding, Status

NAMES = ("edema", "mass", "nodule")
STATUSES = (Status.PRESENT, Status.ABSENT, Status.UNCERTAIN, None)


def clinical_f1(truth: list, drafted: list, min_positives: int = 10) -> dict[str, float]:
    scores = finding_scores(truth, drafted, min_positives=min_positives).scores()
    return {name: float(score) for name, score in scores.items() if name.startswith("clinical_f1")}


def labels(generator: np.random.Generator, count: int) -> list[dict[str, Finding]]:
    rows = []
    for _ in range(count):
        drawn = {name: STATUSES[int(generator.integers(4))] for name in NAMES}
        rows.append({name: Finding(status) for name, status in drawn.items() if status is not None})
    return rows


def as_array(rows: list[dict[str, Finding]]) -> np.ndarray:
    return np.array([[name in row and row[name].status is Status.PRESENT for name in NAMES] for row in rows], int)


@pytest.mark.parametrize("seed", range(4))
def test_equals_scikit_learn(seed: int) -> None:
    generator = np.random.default_rng(seed)
    truth, drafted = labels(generator, 80), labels(generator, 80)
    scores = clinical_f1(truth, drafted, min_positives=1)
    want = f1_score(as_array(truth), as_array(drafted), average=None, zero_division=0)
    assert [scores[f"clinical_f1/{name}"] for name in NAMES] == pytest.approx(want.tolist(), abs=1e-12)
    for average in ("macro", "micro"):
        want_one = f1_score(as_array(truth), as_array(drafted), average=average, zero_division=0)
        assert scores[f"clinical_f1_{average}"] == pytest.approx(want_one, abs=1e-12)


def test_uncertain_counts_as_the_rest() -> None:
    truth = [{"mass": Finding(Status.PRESENT)}, {"mass": Finding(Status.UNCERTAIN)}]
    drafted = [{"mass": Finding(Status.PRESENT)}, {"mass": Finding(Status.PRESENT)}]
    assert clinical_f1(truth, drafted, 1)["clinical_f1/mass"] == pytest.approx(2 / 3)


def test_rare_findings_are_left_out() -> None:
    present = {"mass": Finding(Status.PRESENT)}
    both = {**present, "edema": Finding(Status.PRESENT)}
    counts = finding_scores([present] * 9 + [both], [present] * 10, min_positives=10)
    assert counts.names == ("mass",)
    assert counts.support == {"edema": 1, "mass": 10}
    assert "edema (1)" in counts.notes[0]
    assert clinical_f1([present] * 9 + [both], [present] * 10) == {
        "clinical_f1_macro": 1.0,
        "clinical_f1_micro": 1.0,
        "clinical_f1/mass": 1.0,
    }


def test_nothing_qualifies() -> None:
    counts = finding_scores([{"mass": Finding(Status.PRESENT)}] * 3, [{}] * 3)
    assert counts.scores() == {}
    assert counts.notes == ("no clinical F1: no finding is present in at least 10 of 3 studies",)
    assert clinical_f1([{}], [{}]) == {}


@pytest.mark.parametrize("policy", list(Uncertain))
def test_what_is_averaged_does_not_depend_on_the_drafts(policy: Uncertain) -> None:
    present, unsure = Finding(Status.PRESENT), Finding(Status.UNCERTAIN)
    truth = [{"edema": present}, {"mass": present}] * 10
    sure = finding_scores(truth, [{"edema": present}] * 20, uncertain=policy)
    hedging = finding_scores(truth, [{"edema": present, "mass": unsure}, {"edema": present}] * 10, uncertain=policy)
    doubtful = finding_scores(truth, [{"edema": present, "mass": unsure}] * 20, uncertain=policy)
    assert sure.names == hedging.names == doubtful.names == ("edema", "mass")
    assert sure.support == hedging.support == doubtful.support == {"edema": 10, "mass": 10}
    # edema: 10 of 20 right, F1 2/3; mass is never drafted, F1 0, unless a doubt counts as present
    mass = 2 / 3 if policy is Uncertain.POSITIVE else 0
    assert float(doubtful.scores()["clinical_f1_macro"]) == pytest.approx((2 / 3 + mass) / 2)


def test_weights_count_studies_as_often() -> None:
    generator = np.random.default_rng(9)
    truth, drafted = labels(generator, 40), labels(generator, 40)
    counts = finding_scores(truth, drafted, min_positives=1)
    weights = generator.integers(0, 4, size=(3, 40))
    scores = counts.scores(weights)
    for row in range(3):
        rows = np.repeat(np.arange(40), weights[row])
        want = f1_score(as_array(truth)[rows], as_array(drafted)[rows], average="macro", zero_division=0)
        assert scores["clinical_f1_macro"][row] == pytest.approx(want, abs=1e-12)


def test_wrong_use() -> None:
    with pytest.raises(UsageError):
        clinical_f1([{}, {}], [{}])
    with pytest.raises(UsageError):
        clinical_f1([], [])
