"""Questions on a phantom study whose answers are true by construction."""

from __future__ import annotations

from dataclasses import dataclass

from medmm.data.phantom.disease import FINDINGS, Condition
from medmm.data.phantom.study import PhantomStudy
from medmm.data.phantom.subject import stream
from medmm.types import Laterality

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
_SIDES = {Laterality.LEFT: "left", Laterality.RIGHT: "right", Laterality.BILATERAL: "both sides"}
_NOTHING = "none"


@dataclass(frozen=True, slots=True)
class Question:
    """A question and its answer.

    Attributes:
        text: The question.
        answer: ``yes`` or ``no`` for a closed one.
        kind: As VQA-RAD names it: ``PRES`` (presence), ``POS`` (position), ``ABN`` (abnormality), ``PLANE``.
        closed: Whether the answers that can be given are yes and no.
    """

    text: str
    answer: str
    kind: str
    closed: bool


def questions(seed: int, study: PhantomStudy) -> tuple[Question, ...]:
    """Ask a study what is there, where it is and how it was taken.

    As many findings that are absent are asked for as are present, at least one, so that neither answer can be guessed.

    Args:
        seed: The phantom's.
        study: The study.
    """
    here = {condition.name: condition for condition in study.conditions}
    absent = [name for name in FINDINGS if name not in here]
    rng = stream(seed, study.place.study, "questions")
    count = min(len(absent), max(1, len(here)))
    chosen = {absent[at] for at in rng.choice(len(absent), count, replace=False)} if absent else set()
    asked = [_presence(name, name in here) for name in FINDINGS if name in here or name in chosen]
    asked += [_side(condition) for condition in study.conditions if condition.side is not None]
    seen = ", ".join(_bare(condition.name) for condition in study.conditions)
    view = study.exposure.projection
    asked.append(Question("Which findings does this image show?", seen or _NOTHING, "ABN", closed=False))
    asked.append(Question("In which projection was this image taken?", view, "PLANE", closed=False))
    return tuple(asked)


def _presence(name: str, present: bool) -> Question:
    return Question(f"Is there {_NAMES[name]}?", "yes" if present else "no", "PRES", closed=True)


def _side(condition: Condition) -> Question:
    """Ask for the side of a finding that has one."""
    assert condition.side is not None
    return Question(f"On which side is the {_bare(condition.name)}?", _SIDES[condition.side], "POS", closed=False)


def _bare(name: str) -> str:
    return _NAMES[name].removeprefix("an ").removeprefix("a ")
