"""Questions on phantom studies: every answer follows from the truth table."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest

from medmm.data.phantom import disease
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
    made = [study_rows(0, number, make_study(0, number, 64)) for number in range(60)]
    return [(questions(fact, rows), fact, rows) for fact, rows in made]


def finding(text, start, end="?"):
    words = text.removeprefix(start).removesuffix(end).removeprefix("a ").removeprefix("an ")
    return WORDS.get(words, words)


def true_answer(one, fact, rows):
    truth = {row["finding"]: row for row in rows}
    if one.kind == "PRES":
        return "yes" if truth[finding(one.text, "Is there ")]["status"] == "present" else "no"
    if one.kind == "POS":
        side = truth[finding(one.text, "On which side is the ")]["laterality"]
        return next(word for word, value in SIDES.items() if value == side)
    if one.kind == "SIZE":
        return truth[finding(one.text, "Is the ", " small, moderate or large?")]["severity"]
    if one.kind == "COUNT":
        return str(sum(row["status"] == "present" for row in rows))
    return fact["view"]


def test_answers_are_true(cases):
    asked = defaultdict(Counter)
    for own, fact, rows in cases:
        for one in own:
            asked[one.kind][one.answer] += 1
            if one.kind == "ABN":
                side = one.text.split()[-2]
                there = [row["finding"] for row in rows if row["laterality"] in {side, "bilateral"}]
                assert there == [finding(one.answer, "")]
            else:
                assert one.answer == true_answer(one, fact, rows)
            assert one.closed == (one.kind in {"PRES", "SIZE", "PLANE"})
    assert set(asked) == {"PRES", "POS", "SIZE", "COUNT", "ABN", "PLANE"}
    assert set(asked["POS"]) == set(SIDES)
    assert set(asked["SIZE"]) == {"small", "moderate", "large"}
    assert set(asked["PLANE"]) == {"PA", "AP"}


def test_a_question_alone_does_not_tell_its_answer():
    """Over many studies; the truth alone is needed, so no picture is made."""
    counts = defaultdict(Counter)
    for number in range(4000):
        here = {one.name: one for one in disease.conditions(0, number)}
        rows = [
            {
                "finding": name,
                "status": "present" if name in here else "absent",
                "laterality": str(here[name].side) if name in here and here[name].side else None,
                "severity": str(here[name].severity) if name in here and name in disease.GRADED else None,
            }
            for name in disease.FINDINGS
        ]
        for one in questions({"study_id": f"study {number}", "view": None}, rows):
            counts[one.kind, one.text][one.answer] += 1
    most = {key: max(found.values()) / sum(found.values()) for key, found in counts.items()}
    for (kind, text), share in most.items():
        assert share < {"PRES": 0.56, "POS": 0.56, "SIZE": 0.5, "COUNT": 0.45, "ABN": 0.35}[kind], text
    assert len([1 for kind, _ in most if kind == "PRES"]) == len(disease.FINDINGS)


def test_the_same_study_is_asked_the_same(cases):
    for own, fact, rows in cases:
        assert questions(fact, rows) == own
        assert len({one.text for one in own}) == len(own) > 0
