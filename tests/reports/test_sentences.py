"""The labeler on sentences written by hand before it was run on them.

``sentences.csv`` has a row a finding. ``unmentioned`` means that the labeler must not name it; where a finding is
present or uncertain, an empty cell means that the sentence says nothing of the kind.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from pathlib import Path

import pytest

from medmm.reports.findings import FINDINGS, label_report
from medmm.types import Change, Finding, Laterality, Severity, Status, Zone

ROWS = list(csv.DictReader(io.StringIO((Path(__file__).parent / "sentences.csv").read_text(encoding="utf-8"))))
TEXTS = list(dict.fromkeys(row["text"] for row in ROWS))


def is_right(row: dict[str, str], found: Finding | None) -> bool:
    status = found.status if found else Status.UNMENTIONED
    if status != row["status"]:
        return False
    if found is None or status is Status.ABSENT:
        return not row["change"] or (found is not None and found.change == row["change"])
    said = (found.laterality, found.zone, found.severity, found.change)
    size = float(row["size_mm"]) if row["size_mm"] else None
    wanted = tuple(row[name] or None for name in ("laterality", "zone", "severity", "change"))
    return said == wanted and found.size_mm == size


def shares(column: str) -> dict[str, float]:
    wrong: dict[str, set[str]] = defaultdict(set)
    texts: dict[str, set[str]] = defaultdict(set)
    for row in ROWS:
        texts[row[column]].add(row["text"])
        if not is_right(row, label_report(row["text"]).get(row["finding"])):
            wrong[row[column]].add(row["text"])
    return {name: 1 - len(wrong[name]) / len(texts[name]) for name in texts}


def test_the_table_holds_what_it_says() -> None:
    assert len(TEXTS) >= 390
    for column, kind in (("status", Status), ("laterality", Laterality), ("zone", Zone), ("severity", Severity)):
        assert {row[column] for row in ROWS} - {""} == {one.value for one in kind}, column
    assert {row["change"] for row in ROWS} - {""} == {one.value for one in Change}
    assert {row["finding"] for row in ROWS} <= set(FINDINGS)
    assert {row["topic"] for row in ROWS} >= {"negation", "lists", "hedging", "double negation", "priors"}


def test_sentences() -> None:
    """A sentence is right when each of its rows is, with side, zone, grade, size and change."""
    wrong = {row["text"] for row in ROWS if not is_right(row, label_report(row["text"]).get(row["finding"]))}
    assert 1 - len(wrong) / len(TEXTS) >= 0.95, sorted(wrong)


@pytest.mark.parametrize("topic", sorted({row["topic"] for row in ROWS}))
def test_no_topic_is_left_behind(topic: str) -> None:
    assert shares("topic")[topic] >= 0.9


def test_a_labeler_that_ignores_negation_fails_the_table() -> None:
    present = sum(row["status"] == "present" for row in ROWS)
    assert present / len(ROWS) < 0.7
