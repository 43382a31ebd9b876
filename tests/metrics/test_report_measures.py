"""chrF, METEOR, scores of findings and judges against independent implementations and sums done by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sacrebleu.metrics import CHRF
from sklearn.metrics import cohen_kappa_score, precision_recall_fscore_support

from medmm.config.evaluation import LabelerConfig
from medmm.errors import UsageError
from medmm.metrics.attributes import attribute_agreement
from medmm.metrics.chrf import chrf_statistics
from medmm.metrics.finding_errors import along_with, finding_errors, prior_references
from medmm.metrics.finding_scores import Uncertain, finding_scores
from medmm.metrics.judges import judge_scores, load_judge
from medmm.metrics.meteor import meteor_statistics
from medmm.reports.labelers import choose_labeler
from medmm.reports.vocabulary import load_vocabulary
from medmm.types import Finding, Laterality, Severity, Status

RNG = np.random.default_rng(7)
WORDS = "no pleural effusion or pneumothorax the heart is enlarged small left nodule seen again".split()
REFERENCES = [" ".join(RNG.choice(WORDS, RNG.integers(4, 25))) for _ in range(60)]
DRAFTS = [" ".join(RNG.choice(WORDS, RNG.integers(0, 25))) for _ in range(60)]
STATUSES = (Status.PRESENT, Status.ABSENT, Status.UNCERTAIN, None)
NAMES = ("edema", "mass", "nodule")


def drawn(seed):
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(200):
        chosen = {name: STATUSES[rng.integers(4)] for name in NAMES}
        rows.append({name: Finding(status) for name, status in chosen.items() if status is not None})
    return rows


TRUTH, SAID = drawn(1), drawn(2)


def flags(rows, name, positive):
    return np.array([name in row and row[name].status in positive for row in rows])


def test_chrf_is_sacrebleus():
    found = chrf_statistics(REFERENCES, DRAFTS)
    assert float(found.scores()["chrf"]) == pytest.approx(
        CHRF().corpus_score(DRAFTS, [REFERENCES]).score / 100, abs=1e-9
    )
    each = [CHRF().sentence_score(draft, [one]).score / 100 for draft, one in zip(DRAFTS, REFERENCES, strict=True)]
    np.testing.assert_allclose(found.each()["chrf"], each, atol=1e-9)


def test_chrf_reads_texts_without_spaces():
    found = chrf_statistics(["双肺未见异常"], ["双肺未见明显异常"])
    assert float(found.scores()["chrf"]) == pytest.approx(
        CHRF().corpus_score(["双肺未见明显异常"], [["双肺未见异常"]]).score / 100, abs=1e-9
    )


def meteor(reference, draft):
    return float(meteor_statistics([reference.split()], [draft.split()]).scores()["meteor"])


def test_meteor_by_hand():
    """Weights: content words 0.75, function words 0.25; a stem counts 0.6; one chunk of all words costs nothing."""
    assert meteor("small left effusion", "small left effusion") == pytest.approx(1.0)
    assert meteor("small left effusion", "large right mass") == 0.0
    share = (0.75 + 0.6 * 0.75) / 1.5
    mean = share * share / (0.85 * share + 0.15 * share)
    assert meteor("small effusions", "small effusion") == pytest.approx(mean)
    precision, recall = 1.0, 1.5 / 2.25
    mean = precision * recall / (0.85 * precision + 0.15 * recall)
    penalty = 0.6 * (1 / 2) ** 0.2
    assert meteor("small left effusion", "small left") == pytest.approx(mean * (1 - penalty))


def test_meteor_says_what_it_is_and_weighs_function_words_less():
    assert meteor_statistics([["a"]], [["a"]]).name == "meteor (exact, stem)"
    assert meteor("the effusion", "effusion") > meteor("the effusion", "the") > 0


@pytest.mark.parametrize("policy", list(Uncertain))
def test_scores_of_findings_are_sklearns(policy):
    positive = {Status.PRESENT} | ({Status.UNCERTAIN} if policy is Uncertain.POSITIVE else set())
    scores = finding_scores(TRUTH, SAID, NAMES, policy, min_positives=1).scores()
    f1 = []
    for name in NAMES:
        keep = np.ones(len(TRUTH), bool)
        if policy is Uncertain.IGNORED:
            keep = ~(flags(TRUTH, name, {Status.UNCERTAIN}) | flags(SAID, name, {Status.UNCERTAIN}))
        wanted = precision_recall_fscore_support(
            flags(TRUTH, name, positive)[keep], flags(SAID, name, positive)[keep], average="binary"
        )
        for part, value in zip(("precision", "recall", "f1"), wanted, strict=False):
            assert float(scores[f"clinical_{part}/{name}"]) == pytest.approx(value, abs=1e-12)
        f1.append(wanted[2])
    assert float(scores["clinical_f1_macro"]) == pytest.approx(np.mean(f1), abs=1e-12)


def test_resampled_scores_are_those_of_the_resampled_studies():
    found = finding_scores(TRUTH, SAID, NAMES, min_positives=1)
    weights = np.random.default_rng(3).integers(0, 3, (2, len(TRUTH)))
    for row, counts in enumerate(weights):
        rows = np.repeat(np.arange(len(TRUTH)), counts)
        again = finding_scores([TRUTH[at] for at in rows], [SAID[at] for at in rows], NAMES, min_positives=1).scores()
        for name, value in found.scores(weights).items():
            assert value[row] == pytest.approx(float(again[name]), abs=1e-12), name


def test_errors_by_hand():
    def row(**statuses):
        return {name: Finding(status) for name, status in statuses.items()}

    present, absent, unsure = Status.PRESENT, Status.ABSENT, Status.UNCERTAIN
    truth = [row(mass=present, edema=absent), row(nodule=unsure), row()]
    drafted = [row(edema=present), row(nodule=present), row()]
    scores = {name: float(value) for name, value in finding_errors(truth, drafted).scores().items()}
    assert scores == {"hallucinated_per_report": 1 / 3, "omitted_per_report": 1 / 3, "exact_match": 1 / 3}


def test_a_finding_read_along_with_another_is_no_second_error():
    present, unsure, along = Finding(Status.PRESENT), Finding(Status.UNCERTAIN), {"rib": {"bone"}, "hip": {"bone"}}

    def errors(truth, drafted):
        found = finding_errors([dict.fromkeys(truth, present)], [dict.fromkeys(drafted, present)], along=along)
        return float(found.hallucinated[0]), float(found.omitted[0]), float(found.exact[0])

    assert errors([], ["rib", "bone"]) == (1, 0, 0)
    assert errors(["rib", "bone"], []) == (0, 1, 0)
    assert errors(["rib", "hip", "bone"], ["mass"]) == (1, 2, 0)
    assert errors(["rib", "bone"], ["hip", "bone"]) == (1, 1, 0)
    assert errors(["bone"], ["rib", "bone"]) == (1, 0, 0)
    assert errors(["rib", "bone"], ["bone"]) == (0, 1, 0)
    # a truth table that names the rib alone
    assert errors(["rib"], ["rib", "bone"]) == (0, 0, 1)
    assert errors(["rib"], ["bone"]) == (0, 1, 0)
    doubted = finding_errors([{"rib": unsure}], [{"bone": present}], along=along)
    assert doubted.hallucinated.tolist() == [0]
    only = finding_errors([{}], [dict.fromkeys(("rib", "bone"), present)], ["bone"], along)
    assert only.hallucinated.tolist() == [1]


def test_what_is_read_along_with_a_finding_is_what_the_labeler_reads_in_its_name():
    found = along_with(choose_labeler(LabelerConfig()))
    assert found["rib_fracture"] == found["vertebral_fracture"] == found["clavicle_fracture"] == {"fracture"}
    assert found["pacemaker"] == found["central_line"] == {"support_devices"}
    assert found["calcified_granuloma"] == {"granuloma"}
    implied = {name: words.implies for name, words in load_vocabulary().findings.items() if words.implies}
    for name, others in implied.items():
        assert found[name] >= set(others), name
    assert not {"fracture", "hernia", "no_finding", "pleural_effusion"} & set(found)


def test_priors_are_counted_a_draft():
    assert prior_references(["unchanged", "clear", " "], lambda text: ["x"] if "un" in text else []).tolist() == [
        1,
        0,
        0,
    ]


def test_agreement_of_severity_is_sklearns_kappa():
    rng = np.random.default_rng(4)
    grades = list(Severity)
    there, said = rng.integers(0, 3, 80), rng.integers(0, 3, 80)
    said = np.where(rng.random(80) < 0.6, there, said)
    rows = [[{"edema": Finding(Status.PRESENT, severity=grades[at])} for at in side] for side in (there, said)]
    scores = attribute_agreement(*rows, "severity").scores()
    assert float(scores["severity_agreement"]) == pytest.approx((there == said).mean())
    assert float(scores["severity_kappa"]) == pytest.approx(cohen_kappa_score(there, said))
    assert float(scores["severity_kappa_linear"]) == pytest.approx(cohen_kappa_score(there, said, weights="linear"))


def test_a_side_is_compared_only_where_both_state_it():
    left, silent = Finding(Status.PRESENT, Laterality.LEFT), Finding(Status.PRESENT)
    right, absent = Finding(Status.PRESENT, Laterality.RIGHT), Finding(Status.ABSENT)
    found = attribute_agreement(
        [{"mass": left}, {"mass": left}, {"mass": left}, {"mass": left}],
        [{"mass": left}, {"mass": right}, {"mass": silent}, {"mass": absent}],
        "laterality",
    )
    assert (found.both_present, found.compared, found.draft_silent) == (3, 2, 1)
    assert float(found.scores()["laterality_agreement"]) == 0.5


def nonsense(references, drafts):
    return {"ratio": [math.nan for _ in drafts]}


def test_judges_are_loaded_by_name_and_checked(tmp_path, monkeypatch):
    (tmp_path / "my_judges.py").write_text(
        "class Length:\n    version = '3'\n    def __call__(self, references, drafts):\n"
        "        return {'ratio': [len(d) / len(r) for d, r in zip(drafts, references)]}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    found = judge_scores("my_judges:Length", ["abcd", "ab"], ["ab", "ab"])
    assert (found.version, float(found.scores()["length_ratio"])) == ("3", 0.75)
    with pytest.raises(UsageError, match="not finite"):
        judge_scores("x", ["a"], ["b"], judge=nonsense)
    for name in ("my_judges:Nobody", "nobody_here:x", "unheard_of"):
        with pytest.raises(UsageError):
            load_judge(name)


@pytest.mark.parametrize("measure", [chrf_statistics, meteor_statistics, finding_scores, finding_errors])
def test_unequal_numbers_and_nothing_at_all_are_refused(measure):
    for references, drafts in (([["a"]], []), ([], []), ([["a"]], [["b"], ["c"]])):
        with pytest.raises(UsageError):
            measure(references, drafts)
