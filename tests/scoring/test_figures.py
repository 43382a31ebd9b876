"""Figures and intervals of any task, and what two runs' outcomes are side by side."""

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from medmm.config.schema import Config
from medmm.metrics.bootstrap import resample_counts
from medmm.reports.findings import label_report
from medmm.scoring.classification_evaluation import Answers, ClassOutcomes
from medmm.scoring.differences import differences, mcnemar, permuted
from medmm.scoring.figures import Figures, is_better_small
from medmm.scoring.measures import Instruments
from medmm.scoring.segmentation_evaluation import OutlineOutcomes
from medmm.scoring.vqa_evaluation import AnswerOutcomes
from medmm.scoring.vqa_samples import QuestionSample

N = 24
PATIENTS = [f"p{number // 2}" for number in range(N)]
RNG = np.random.default_rng(0)
TRUTH = RNG.integers(0, 2, (N, 2)).astype(float)
KNOWN = RNG.random((N, 2)) > 0.1
CLASSES = Config.model_validate({"task": "classification", "evaluate": {"min_positives": 4}})
SINGLE = Config.model_validate({"task": "classification", "classification": {"kind": "single"}})
WORDS = ["yes", "no", "left lung", "The left", "two nodules"]
REPORTS = ["Small left pleural effusion.", "There is a right pneumothorax.", "The lungs are clear."]


def _answers(seed):
    p = np.random.default_rng(seed).random((N, 2)).round(1)
    return [(row, row > 0.5) for row in p]


def _of_classes(rows, config=CLASSES, truth=TRUTH, known=KNOWN):
    p, called = (np.stack(part) for part in zip(*rows, strict=True))
    return ClassOutcomes(Answers(p, called, np.zeros_like(called)), truth, known, ("a", "b"), config)


def _of_one_class(rows):
    truth = np.eye(2)[TRUTH[:, 0].astype(int)]
    return _of_classes(rows, SINGLE, truth, np.ones((N, 2), bool))


def _said(seed):
    return [WORDS[place] for place in np.random.default_rng(seed).integers(0, 5, N)]


def _of_answers(rows):
    asked = ["Is it there?", "Where is it?", "How many?"]
    samples = [QuestionSample(f"s{n}", PATIENTS[n], "test", asked[n % 3], WORDS[n % 5]) for n in range(N)]
    return AnswerOutcomes(samples, rows)


def _outlines(seed):
    generator = np.random.default_rng(seed)
    rows = []
    for _ in range(N):
        row = {name: {"dice": generator.random(), "iou": generator.random()} for name in ("liver", "spleen")}
        if generator.random() > 0.3:
            row["spleen"]["hd95"] = 9 * generator.random()
        rows.append(row if generator.random() > 0.2 else {"liver": row["liver"]})
    return rows


def _of_outlines(rows):
    task = SimpleNamespace(code=SimpleNamespace(classes=("liver", "spleen")), lesions=("liver",))
    return OutlineOutcomes(rows, task, "mm")


def _drafts(seed):
    return [REPORTS[place] for place in np.random.default_rng(seed).integers(0, 3, N)]


def _of_drafts(rows):
    references = [REPORTS[n % 3] for n in range(N)]
    names = ("pleural_effusion", "pneumothorax")
    settings = Config.model_validate({"evaluate": {"min_positives": 1, "tokenizer": "plain"}}).evaluate
    instruments = Instruments(references, [label_report(one) for one in references], names, names, settings)
    return instruments.measure(rows, [label_report(one) for one in rows])


KINDS = [(_answers, _of_classes), (_answers, _of_one_class), (_said, _of_answers), (_outlines, _of_outlines),
         (_drafts, _of_drafts)]  # fmt: skip


@pytest.mark.parametrize(("draw", "outcomes_of"), KINDS, ids=["classes", "class", "answers", "outlines", "drafts"])
def test_weights_choose_whose_prediction_counts(draw, outcomes_of):
    """What stands side by side, weighted, scores as the mixed predictions do when they are scored by themselves."""
    one, two = draw(1), draw(2)
    kept = np.random.default_rng(3).integers(0, 2, N).astype(bool)
    weights = np.concatenate([kept, ~kept]).astype(float)[None]
    found = outcomes_of(one).beside(outcomes_of(two)).scores(weights)
    mixed = [own if use else other for use, own, other in zip(kept, one, two, strict=True)]
    alone = outcomes_of(mixed).scores()
    assert len(alone) > 2
    for name, values in alone.items():
        np.testing.assert_allclose(np.ravel(found[name]), np.ravel(values), atol=1e-12, err_msg=name)


@pytest.mark.parametrize(("draw", "outcomes_of"), KINDS, ids=["classes", "class", "answers", "outlines", "drafts"])
def test_a_run_does_not_differ_from_itself(draw, outcomes_of):
    figures = Figures.of(outcomes_of(draw(1)), PATIENTS, 100, seed=0)
    assert len(figures.ci95) > 2
    for name, entry in differences(figures, figures).items():
        assert entry["difference"] == 0.0
        assert entry.get("p", 1.0) == 1.0, name
    assert set(permuted(figures.measures, figures.measures, PATIENTS, 20, seed=0).values()) == {1.0}
    assert all(test["p"] == 1.0 for test in mcnemar(figures.measures, figures.measures).values())


def test_difference_of_auroc_and_its_interval_from_patients_drawn_again():
    one, two = (Figures.of(_of_classes(_answers(seed)), PATIENTS, 300, seed=5) for seed in (1, 2))
    p = [np.stack([row for row, _ in _answers(seed)])[:, 0] for seed in (1, 2)]
    rows = np.concatenate(list(resample_counts(PATIENTS, 300, 5))).astype(int)
    gaps = []
    for row in rows:
        drawn = np.repeat(np.arange(N), row * KNOWN[:, 0])
        aurocs = [roc_auc_score(TRUTH[drawn, 0], values[drawn]) for values in p]
        gaps.append(aurocs[0] - aurocs[1])
    entry = differences(one, two)["auroc/a"]
    known = KNOWN[:, 0]
    aurocs = [roc_auc_score(TRUTH[known, 0], values[known]) for values in p]
    assert entry["difference"] == pytest.approx(aurocs[0] - aurocs[1])
    np.testing.assert_allclose(entry["ci95"], np.quantile(gaps, [0.025, 0.975]), atol=1e-12)


def test_a_figure_that_many_resamples_lack_has_no_interval():
    """One of twelve patients shows the spleen: a third of the resamples are without it."""
    rows = [{"liver": {"dice": 0.1 * (n % 7)}} | ({"spleen": {"dice": 0.5}} if n == 0 else {}) for n in range(N)]
    figures = Figures.of(_of_outlines(rows), PATIENTS, 200, seed=0)
    assert set(figures.values) == {"dice_mean", "dice/liver", "dice/spleen"}
    assert set(figures.ci95) == {"dice/liver"}
    assert "p" not in differences(figures, figures)["dice/spleen"]


def test_right_alone_by_hand():
    truth, known = np.array([[1.0], [1], [0], [0]]), np.array([[True], [True], [True], [False]])
    calls = ([1, 1, 0, 0], [0, 1, 1, 1])
    one, two = (
        ClassOutcomes(Answers(np.array([row]).T * 0.9, np.array([row]).T > 0, np.zeros((4, 1), bool)), truth, known,
                      ("a",), CLASSES)
        for row in calls
    )  # fmt: skip
    assert mcnemar(one, two) == {"f1/a": {"only_this": 2, "only_other": 0, "p": pytest.approx(0.5)}}


def test_where_less_is_better():
    assert all(map(is_better_small, ("ece", "hd95_mm/liver", "volume_error_ml", "omitted_per_report")))
    assert not any(map(is_better_small, ("dice_mean", "auroc/edema", "accuracy", "surface_dice/liver")))
