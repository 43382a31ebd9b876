"""What the finding head learns, and where its thresholds come to lie."""

import numpy as np
import pytest

from medmm.config.schema import FindingHeadConfig
from medmm.errors import UsageError
from medmm.models.heads import SIDES
from medmm.reports.findings import FINDINGS, NO_FINDING, label_report
from medmm.tasks.findings import best_offsets, choose_findings
from medmm.tasks.losses import NO_SIDE
from medmm.tasks.study_labels import label_targets
from medmm.types import Finding, Laterality, Status

PRESENT, ABSENT, UNCERTAIN = Finding(Status.PRESENT), Finding(Status.ABSENT), Finding(Status.UNCERTAIN)
FIRST, SECOND, THIRD = [name for name in FINDINGS if name != NO_FINDING][:3]


def labels():
    """Ten studies: the first finding present in 6, the second in 3, the third never, only doubted and denied."""
    studies = []
    for number in range(10):
        one = {THIRD: UNCERTAIN if number % 2 else ABSENT, NO_FINDING: PRESENT}
        one[FIRST] = PRESENT if number < 6 else ABSENT
        if number < 3:
            one[SECOND] = PRESENT
        elif number < 8:
            one[SECOND] = UNCERTAIN
        studies.append(one)
    return studies


@pytest.mark.parametrize(
    ("minimum", "chosen"),
    [(1, {FIRST: 0.6, SECOND: 0.3}), (3, {FIRST: 0.6, SECOND: 0.3}), (4, {FIRST: 0.6}), (6, {FIRST: 0.6}), (7, {})],
)
def test_findings_present_often_enough_are_chosen(minimum, chosen):
    names, shares = choose_findings(labels(), FindingHeadConfig(minimum=minimum))
    assert dict(zip(names, shares, strict=True)) == pytest.approx(chosen)


def test_names_stand_in_the_labelers_order_whatever_the_order_of_the_texts():
    reversed_studies = [dict(reversed(list(one.items()))) for one in reversed(labels())]
    names, _ = choose_findings(reversed_studies, FindingHeadConfig(minimum=1))
    assert names == tuple(name for name in FINDINGS if name in names)
    assert names == (FIRST, SECOND)


def test_names_of_the_config_go_before_the_minimum():
    config = FindingHeadConfig(minimum=100, names=(THIRD, FIRST))
    assert choose_findings(labels(), config) == ((THIRD, FIRST), (0.0, 0.6))


def test_no_weight_no_findings():
    assert choose_findings(labels(), FindingHeadConfig(weight=0, minimum=1, names=(FIRST,))) == ((), ())


def test_no_study_no_finding_and_no_division_by_zero():
    assert choose_findings([], FindingHeadConfig(minimum=1)) == ((), ())
    assert choose_findings([], FindingHeadConfig(names=(FIRST,))) == ((FIRST,), (0.0,))


def test_targets_of_each_status_and_side():
    said = {
        "a": Finding(Status.PRESENT, Laterality.LEFT),
        "b": Finding(Status.PRESENT, Laterality.RIGHT),
        "c": Finding(Status.PRESENT, Laterality.BILATERAL),
        "d": PRESENT,
        "e": Finding(Status.ABSENT, Laterality.LEFT),
        "f": Finding(Status.UNCERTAIN, Laterality.LEFT),
        "not asked for": PRESENT,
    }
    targets = label_targets(said, ("f", "e", "d", "c", "b", "a", "not said"))
    assert targets["present"].tolist() == [0, 0, 1, 1, 1, 1, 0]
    assert targets["known"].tolist() == [0, 1, 1, 1, 1, 1, 1]
    assert targets["side"].tolist() == [
        -100, -100, -100, SIDES.index(Laterality.BILATERAL), SIDES.index(Laterality.RIGHT),
        SIDES.index(Laterality.LEFT), -100,
    ]  # fmt: skip
    assert NO_SIDE == -100  # torch's cross entropy leaves it out
    assert {name: array.dtype.name for name, array in targets.items()} == {
        "present": "float32", "known": "float32", "side": "int64",
    }  # fmt: skip


def test_targets_of_a_report_as_it_is_read():
    text = "FINDINGS: There is a left pleural effusion. No pneumothorax. Possible right lung nodule."
    found = label_targets(label_report(text), ("pleural_effusion", "pneumothorax", "nodule", "mass"))
    assert found["present"].tolist() == [1, 0, 0, 0]
    assert found["known"].tolist() == [1, 1, 0, 1]
    assert found["side"].tolist() == [SIDES.index(Laterality.LEFT), -100, -100, -100]


def test_no_finding_no_column():
    assert {name: array.shape for name, array in label_targets({FIRST: PRESENT}, ()).items()} == {
        "present": (0,), "known": (0,), "side": (0,),
    }  # fmt: skip


def smoothed_f1(scores, truth, threshold):
    """F1 with a study added to each cell of the table: two that are present, two that are not, half of them called."""
    true_positive, false_positive, false_negative = 1, 1, 1
    for score, is_present in zip(scores, truth, strict=True):
        called = score >= threshold
        true_positive += called and is_present
        false_positive += called and not is_present
        false_negative += not called and is_present
    precision = true_positive / (true_positive + false_positive)
    recall = true_positive / (true_positive + false_negative)
    return 2 * precision * recall / (precision + recall)


def brute_force(scores, truth):
    """The threshold between two scores (or half below the last) with the best F1, the highest of equals; drawn to 0."""
    positives = sum(truth)
    if positives in (0, len(truth)):
        return 0.0
    ranked = sorted(scores, reverse=True)
    between = [(high + low) / 2 for high, low in zip(ranked, ranked[1:], strict=False)] + [ranked[-1] - 0.5]
    best = max(between, key=lambda threshold: (round(smoothed_f1(scores, truth, threshold), 12), threshold))
    return best * positives / (positives + 10)


@pytest.mark.parametrize("seed", range(40))
def test_offsets_are_those_of_a_search_over_all_thresholds(seed):
    generator = np.random.default_rng(seed)
    count = int(generator.integers(2, 60))
    present = generator.random((count, 5)) < generator.random(5)
    logits = generator.normal(size=(count, 5)) * 2 + present * generator.uniform(0, 4, 5) + generator.normal(size=5)
    known = generator.random((count, 5)) < 0.8
    wanted = []
    for column in range(5):
        use = known[:, column]
        wanted.append(brute_force(logits[use, column].tolist(), present[use, column].tolist()))
    offsets = best_offsets(logits, present.astype(float), known.astype(float))
    np.testing.assert_allclose(offsets, wanted, rtol=1e-9, atol=1e-12)


def test_offsets_of_findings_that_are_never_or_always_there_stay_at_zero():
    logits = np.array([[1.0, 2.0, 3.0], [2.0, 3.0, -1.0], [3.0, -4.0, 0.5]])
    present = np.array([[0, 1, 1], [0, 1, 0], [0, 1, 1]], float)
    known = np.array([[1, 1, 0], [1, 1, 0], [1, 1, 0]], float)  # of the last nothing is known
    assert best_offsets(logits, present, known).tolist() == [0, 0, 0]


def test_many_studies_put_the_threshold_where_the_classes_part():
    logits = np.concatenate([np.linspace(-3, 1, 300), np.linspace(2, 5, 990)])[:, None]
    present = (logits > 1.5).astype(float)
    found = best_offsets(logits, present, np.ones_like(present))
    assert found[0] == pytest.approx(1.5 * 990 / 1000)


def test_a_misspelt_finding_is_refused_with_the_nearest_name():
    with pytest.raises(UsageError, match=r"got 'pneumothoraks'.*Did you mean 'pneumothorax'"):
        choose_findings(labels(), FindingHeadConfig(names=("pneumothoraks",)))


def test_no_threshold_lies_between_equal_scores():
    logits = np.array([3.0] + [1.0] * 40)[:, None]
    first, last = np.zeros_like(logits), np.zeros_like(logits)
    first[1:11], last[-10:] = 1, 1
    found = [float(best_offsets(logits, present, np.ones_like(logits))[0]) for present in (first, last)]
    assert found == pytest.approx([0.5 / 2] * 2)  # all are called: the threshold half below the last, drawn to 0


def test_a_handful_of_positives_hardly_moves_it():
    logits = np.array([[4.0], [3.0], [-1.0], [-2.0], [-3.0]])
    present = np.array([[1.0], [0.0], [0.0], [0.0], [0.0]])
    found = best_offsets(logits, present, np.ones_like(present))
    assert found[0] == pytest.approx(3.5 / 11)


def test_what_is_not_known_does_not_count():
    generator = np.random.default_rng(0)
    logits, present = generator.normal(size=(30, 1)), (generator.random((30, 1)) < 0.4).astype(float)
    known = np.ones((30, 1))
    known[20:] = 0
    alone = best_offsets(logits[:20], present[:20], known[:20])
    logits[20:], present[20:] = 50.0, 1 - present[20:]
    assert alone[0] != 0
    np.testing.assert_array_equal(best_offsets(logits, present, known), alone)
