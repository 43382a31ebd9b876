"""Answers against the right ones: by hand, and BLEU-1 against another implementation."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from medmm.metrics.answers import AnswerScores, is_closed, kind_of, normalised

CASES = [
    ("Is there a nodule?", "yes", "Yes."),
    ("Is there a mass?", "No", "yes"),
    ("Is this a PA or an AP film?", "AP", "ap"),
    ("Where is the mass?", "the right upper lobe", "right lower lobe"),
    ("How many nodules are there?", "two", "2"),
    ("What is shown?", "x-ray of the chest", "chest"),
]
QUESTIONS, RIGHT, GIVEN = zip(*CASES, strict=True)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Yes.", "yes"),
        (" The RIGHT lung ", "right lung"),
        ("5.6cm focal, predominantly hypodense", "5.6cm focal predominantly hypodense"),
        ("X-ray", "x ray"),
        ("T2-weighted", "t2 weighted"),
        ("2-3 cm", "2-3 cm"),
        ("Two", "2"),
        ("and/or", "and or"),
        ("a", ""),
        ("", ""),
    ],
)
def test_normalised(text, wanted):
    assert normalised(text) == wanted


@pytest.mark.parametrize(
    ("question", "answer", "closed", "kind"),
    [
        ("Is there a nodule?", "Yes", True, "yes_no"),
        ("Is it on the left or the right?", "Left", True, "choice"),
        ("Is it CT or MRI?", "ultrasound", False, "acquisition"),
        ("For what organ?", "or", False, "other"),
        ("Where is the lesion?", "pons", False, "position"),
        ("How many are there?", "3", False, "count"),
        ("How large is it?", "5 cm", False, "size"),
        ("In which plane was it taken?", "axial", False, "acquisition"),
        ("What is wrong?", "pneumonia", False, "other"),
    ],
)
def test_closed_and_kind(question, answer, closed, kind):
    assert is_closed(question, answer) is closed
    assert kind_of(question, answer) == kind


def test_scores_by_hand():
    found = {name: float(value[0]) for name, value in AnswerScores(QUESTIONS, RIGHT, GIVEN).scores().items()}
    assert found == pytest.approx(
        {
            "accuracy": 3 / 6,
            "accuracy_closed": 2 / 3,
            "accuracy_open": 1 / 3,
            "accuracy/yes_no": 1 / 2,
            "accuracy/choice": 1.0,
            "accuracy/position": 0.0,
            "accuracy/count": 1.0,
            "accuracy/other": 0.0,
            "token_f1": (2 * 2 / 6 + 1 + 2 * 1 / 5) / 3,
            "bleu_1": np.exp(1 - 8 / 5) * 4 / 5,
        }
    )


def test_bleu_and_accuracy_are_those_of_others(capsys):
    bleu = pytest.importorskip("pycocoevalcap.bleu.bleu").Bleu(1)
    open_ones = [row for row in CASES if not is_closed(row[0], row[1])]
    references = {place: [normalised(row[1])] for place, row in enumerate(open_ones)}
    theirs, _ = bleu.compute_score(references, {place: [normalised(row[2])] for place, row in enumerate(open_ones)})
    capsys.readouterr()  # it prints what it counts
    scores = AnswerScores(QUESTIONS, RIGHT, GIVEN).scores()
    assert scores["bleu_1"][0] == pytest.approx(theirs[0], abs=1e-6)
    right, given = ([normalised(text) for text in column] for column in (RIGHT, GIVEN))
    assert scores["accuracy"][0] == accuracy_score(right, given)


def test_a_resample_is_the_questions_that_it_counts():
    counts = np.array([[2, 0, 1, 3, 0, 1], [0, 1, 0, 0, 0, 1], [1, 1, 1, 0, 0, 0]], np.float64)
    many = AnswerScores(QUESTIONS, RIGHT, GIVEN).scores(counts)
    for row, count in enumerate(counts.astype(int)):
        chosen = [case for case, number in zip(CASES, count, strict=True) for _ in range(number)]
        alone = AnswerScores(*zip(*chosen, strict=True)).scores()
        for name, values in many.items():
            if name in alone:
                assert values[row] == pytest.approx(alone[name][0], nan_ok=True), name
            else:
                assert np.isnan(values[row]), name
