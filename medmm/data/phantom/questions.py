"""Questions on a phantom study whose answers are true by construction."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medmm.data.phantom.disease import GRADED, SIDED
from medmm.types import Laterality, Status

_NAMES = {
    "pleural_effusion": "a pleural effusion",
    "pneumothorax": "a pneumothorax",
    "consolidation": "a consolidation",
    "atelectasis": "atelectasis",
    "edema": "pulmonary edema",
    "nodule": "a nodule",
    "mass": "a mass",
    "cardiomegaly": "cardiomegaly",
    "emphysema": "emphysema",
    "rib_fracture": "a rib fracture",
    "pacemaker": "a pacemaker",
    "endotracheal_tube": "an endotracheal tube",
}
_SIDES = {"left": "left", "right": "right", "bilateral": "both sides"}
_SIDE_TELLS = SIDED - {"pacemaker"}  # which three in four have on the left
_ABSENT = 0.176  # of the absent findings are asked for: each is present in 15%, so yes and no are even for each of them
_SOME = 1 / 3  # of the studies are asked for what is harder to see
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Question:
    """A question and its answer.

    Attributes:
        text: The question.
        answer: ``yes`` or ``no``, or one of the words of the question, for a closed one.
        kind: As VQA-RAD names it: ``PRES`` (presence), ``POS`` (position), ``SIZE``, ``ABN`` (abnormality), ``COUNT``,
            ``PLANE``.
        closed: Whether the question says which answers can be given.
    """

    text: str
    answer: str
    kind: str
    closed: bool


def questions(fact: Row, rows: Sequence[Row]) -> tuple[Question, ...]:
    """Ask a study what is there, on which side, how large, how much of it, and how it was taken.

    The same study is always asked the same. What is asked hardly gives the answer away: for each finding yes and no are
    as frequent, and the sides, the sizes and the findings that are asked for vary as the studies do.

    Args:
        fact: The study's facts, as ``generator.study_rows`` gives them.
        rows: What is true of each finding.
    """
    digest = hashlib.blake2b(str(fact["study_id"]).encode(), digest_size=8).digest()
    rng = np.random.default_rng(int.from_bytes(digest, "big"))
    here = [row for row in rows if row["status"] == Status.PRESENT]
    draws = rng.random(len(rows))
    asked = [
        _presence(row, row in here) for row, draw in zip(rows, draws, strict=True) if row in here or draw < _ABSENT
    ]
    asked += [_side(row) for row in here if row["finding"] in _SIDE_TELLS and row["laterality"]]
    sized = [_size(row) for row in here if row["finding"] in GRADED]
    for choice, share in ((sized, 2 * _SOME), (list(_lone(here)), _SOME)):
        if choice and rng.random() < share:
            asked.append(choice[rng.integers(len(choice))])
    if rng.random() < _SOME or not asked:
        asked.append(Question("How many different findings are there?", str(len(here)), "COUNT", closed=False))
    if fact["view"] is not None:
        asked.append(Question("Is this an AP or a PA projection?", fact["view"], "PLANE", closed=True))
    return tuple(asked)


def _presence(row: Row, present: bool) -> Question:
    return Question(f"Is there {_NAMES[row['finding']]}?", "yes" if present else "no", "PRES", closed=True)


def _side(row: Row) -> Question:
    side = _SIDES[row["laterality"]]
    return Question(f"On which side is the {_bare(row['finding'])}?", side, "POS", closed=False)


def _size(row: Row) -> Question:
    text = f"Is the {_bare(row['finding'])} small, moderate or large?"
    return Question(text, str(row["severity"]), "SIZE", closed=True)


def _lone(here: Sequence[Row]) -> Iterator[Question]:
    """Ask which finding a side has, where it has one that lies on no other side and nothing else has a side there."""
    sided = [row for row in here if row["laterality"]]
    for side in (Laterality.LEFT, Laterality.RIGHT):
        found = [row for row in sided if row["laterality"] in (side, Laterality.BILATERAL)]
        if len(found) == 1 and found[0]["laterality"] == side:
            yield Question(f"Which finding is on the {side} side?", _bare(found[0]["finding"]), "ABN", closed=False)


def _bare(name: str) -> str:
    return _NAMES[name].removeprefix("an ").removeprefix("a ")
