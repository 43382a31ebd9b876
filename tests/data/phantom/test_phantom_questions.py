"""Questions on phantom studies: every answer follows from the truth table."""

from __future__ import annotations

from collections import Counter

import pytest

from medmm.data.phantom.generator import study_rows
from medmm.data.phantom.questions import questions
from medmm.data.phantom.study import make_study

WORDS = {
    "pleural effusion": "pleural_effusion", "pulmonary edema": "edema", "rib fracture": "rib_fracture",
    "endotracheal tube": "endotracheal_tube",
}  # fmt: skip
SIDES = {"left": "left", "right": "right", "both sides": "bilateral"}


@pytest.fixture(scope="module")
def cases():
    made = [make_study(0, number, 64) for number in range(30)]
    return [(questions(0, study), *study_rows(0, study.place.study, study)) for study in made]


def finding(text, start):
    words = text.removeprefix(start).removesuffix("?").removeprefix("a ").removeprefix("an ")
    return WORDS.get(words, words)


def test_answers_are_true(cases):
    asked = Counter()
    for own, fact, rows in cases:
        truth = {row["finding"]: row for row in rows}
        for one in own:
            asked[one.kind, one.answer] += 1
            if one.kind == "PRES":
                present = truth[finding(one.text, "Is there ")]["status"] == "present"
                assert (one.answer, one.closed) == ("yes" if present else "no", True)
            elif one.kind == "POS":
                assert truth[finding(one.text, "On which side is the ")]["laterality"] == SIDES[one.answer]
            elif one.kind == "PLANE":
                assert one.answer == fact["view"]
            else:
                said = {finding(word, "") for word in one.answer.split(", ")} - {"none"}
                assert said == {name for name, row in truth.items() if row["status"] == "present"}
    assert min(asked["POS", side] for side in SIDES) > 0
    assert asked["ABN", "none"] > 0


def test_yes_and_no_are_even_where_something_is_found(cases):
    for own, _, rows in cases:
        answers = Counter(one.answer for one in own if one.kind == "PRES")
        present = sum(row["status"] == "present" for row in rows)
        assert answers["yes"] == present
        assert answers["no"] == min(max(1, present), len(rows) - present)


def test_the_same_study_is_asked_the_same():
    study = make_study(3, 7, 64)
    assert questions(3, study) == questions(3, study)
    assert len({one.text for one in questions(3, study)}) == len(questions(3, study))
