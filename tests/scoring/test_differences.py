import itertools

import numpy as np
import pytest
from sklearn.metrics import f1_score

from medmm.config.evaluation import EvaluateConfig
from medmm.metrics.bootstrap import resample_counts, two_sided_p
from medmm.metrics.text import score_texts
from medmm.reports.findings import label_report
from medmm.scoring.differences import differences, holm, mcnemar, permuted
from medmm.scoring.scores import Sample, Scorer

EFFUSION, COLLAPSE, CLEAR = "Small left pleural effusion.", "There is a right pneumothorax.", "The lungs are clear."
REFERENCES = [EFFUSION, COLLAPSE, CLEAR, EFFUSION, f"{EFFUSION} {COLLAPSE}", CLEAR, COLLAPSE, EFFUSION]
GOOD = [EFFUSION, COLLAPSE, CLEAR, EFFUSION, EFFUSION, CLEAR, CLEAR, EFFUSION]
POOR = [CLEAR, COLLAPSE, EFFUSION, EFFUSION, CLEAR, CLEAR, COLLAPSE, CLEAR]
PATIENTS = list("aabbcdef")
NAMES = ("pleural_effusion", "pneumothorax")


@pytest.fixture(scope="module")
def scored():
    """Scores of two sets of drafts for eight studies of six patients."""
    samples = [
        Sample(str(place), patient, "test", text, label_report(text), 1)
        for place, (patient, text) in enumerate(zip(PATIENTS, REFERENCES, strict=True))
    ]
    config = EvaluateConfig(min_positives=1, bootstrap=300, tokenizer="plain")
    scorer = Scorer(samples, NAMES, config, seed=5)
    return [scorer.score(drafts, [label_report(one) for one in drafts], True) for drafts in (GOOD, POOR)]


def _present(texts):
    found = [label_report(text) for text in texts]
    return np.array([[str(one[name].status) == "present" if name in one else False for name in NAMES] for one in found])


def test_differences_and_their_intervals_from_drafts_drawn_again(scored):
    found = differences(*scored)
    rows = np.concatenate(list(resample_counts(PATIENTS, 300, 5))).astype(int)
    truth = _present(REFERENCES)
    gaps = []
    for row in rows:
        drawn = np.repeat(np.arange(8), row)
        own, other = (
            f1_score(truth[drawn], _present(drafts)[drawn], average="macro", zero_division=0) for drafts in (GOOD, POOR)
        )
        gaps.append(own - other)
    entry = found["clinical_f1_macro"]
    own, other = (f1_score(truth, _present(drafts), average="macro") for drafts in (GOOD, POOR))
    assert entry["difference"] == pytest.approx(own - other)
    np.testing.assert_allclose(entry["ci95"], np.quantile(gaps, [0.025, 0.975]), atol=1e-12)
    rarer = min(sum(gap <= 1e-12 for gap in gaps), sum(gap >= -1e-12 for gap in gaps))
    assert entry["p"] == pytest.approx(min(1, 2 * (rarer + 1) / 301))


def test_permutation_p_is_the_share_of_all_swaps_that_reach_as_far(scored):
    owner = np.unique(PATIENTS, return_inverse=True)[1]

    def gap(kept):
        one = [good if kept[who] else poor for who, good, poor in zip(owner, GOOD, POOR, strict=True)]
        two = [poor if kept[who] else good for who, good, poor in zip(owner, GOOD, POOR, strict=True)]
        return {name: abs(score_texts(REFERENCES, one, "plain")[name] - score_texts(REFERENCES, two, "plain")[name])
                for name in ("bleu_2", "rouge_l", "cider_d")}  # fmt: skip

    every = [gap(kept) for kept in itertools.product((True, False), repeat=6)]
    found = permuted(scored[0].measures, scored[1].measures, PATIENTS, 4000, seed=0)
    for name in ("bleu_2", "rouge_l", "cider_d"):
        exact = np.mean([one[name] >= every[0][name] - 1e-9 for one in every])
        assert found[name] == pytest.approx(exact, abs=0.03), name


def test_a_run_does_not_differ_from_itself(scored):
    for name, entry in differences(scored[0], scored[0]).items():
        assert (entry["difference"], entry["ci95"], entry["p"]) == (0.0, [0.0, 0.0], 1.0), name
    swaps = permuted(scored[0].measures, scored[0].measures, PATIENTS, 50, seed=0)
    assert set(swaps.values()) == {1.0}
    assert set(swaps) == set(scored[0].values)


def test_ignored_doubts_leave_the_same_findings_to_compare():
    texts = [EFFUSION, COLLAPSE] * 6
    samples = [Sample(str(place), str(place), "test", one, label_report(one), 1) for place, one in enumerate(texts)]
    config = EvaluateConfig(min_positives=6, bootstrap=100, uncertain="ignored", metrics=("clinical", "chexpert"))
    scorer = Scorer(samples, NAMES, config, seed=0, every=NAMES)
    drafted = [[EFFUSION] * 12, [EFFUSION, "Possible pneumothorax."] * 6]
    own, other = (scorer.score(texts, [label_report(one) for one in texts], True) for texts in drafted)
    # pneumothorax is never called in either; effusion 6 right of 12, and 6 of 6
    assert own.values["clinical_f1_macro_14"] == pytest.approx((2 / 3 + 0) / 2)
    assert other.values["clinical_f1_macro_14"] == pytest.approx((1 + 0) / 2)
    assert own.measures.averaged() == other.measures.averaged()
    assert own.measures.averaged()["clinical_f1_macro_14"] == NAMES
    found = permuted(own.measures, other.measures, scorer.patients, 100, 0)
    assert set(found) == set(differences(own, other))


def test_mcnemar_by_hand(scored):
    found = mcnemar(scored[0].measures, scored[1].measures)
    # effusion: GOOD is right everywhere; POOR wrong in 0, 2, 4, 7. Four against none: 2 * (1/2)^4.
    assert found["clinical_f1/pleural_effusion"] == {"only_this": 4, "only_other": 0, "p": pytest.approx(0.125)}
    # pneumothorax: GOOD misses studies 4 and 6, POOR misses 4 alone.
    assert found["clinical_f1/pneumothorax"] == {"only_this": 0, "only_other": 1, "p": 1.0}


@pytest.mark.parametrize(
    ("values", "p"),
    [([0.1] * 99, 0.02), ([0.1] * 97 + [-0.1] * 2, 0.06), ([0.0] * 99, 1.0), ([-0.2, 0.1, 0.3], 1.0)],
)
def test_two_sided_p_by_hand(values, p):
    assert two_sided_p(np.array(values)) == pytest.approx(p)


def test_holm_by_hand():
    adjusted = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.9})
    assert adjusted == {"a": pytest.approx(0.04), "c": pytest.approx(0.09), "b": pytest.approx(0.09), "d": 0.9}
