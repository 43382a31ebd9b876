"""Questions and answers of studies, as a task learns them and as it may be asked."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from medmm.errors import UsageError
from medmm.metrics.answers import normalised
from medmm.types import Study

MOST_CHARACTERS = 100_000


def checked(question: object) -> str:
    """The question, if it can be asked.

    Raises:
        UsageError: It is no text, says nothing, or is longer than 100,000 characters.
    """
    if not isinstance(question, str) or not question.strip():
        raise UsageError("a question that says nothing", where="question", expected="a sentence")
    if len(question) > MOST_CHARACTERS:
        got, expected = f"{len(question):,} characters", f"at most {MOST_CHARACTERS:,}"
        raise UsageError("the question is too long", where="question", got=got, expected=expected)
    return question


def plain(question: str) -> str:
    """A question as the model reads it: lower case, white space collapsed, ending in a word."""
    return " ".join(question.lower().split()).rstrip(" ?.!:") or "?"


def pairs(study: Study) -> list[tuple[str, str]]:
    """The study's questions that say something and have an answer that does."""
    return [(question, answer) for question, answer in study.questions if question.strip() and normalised(answer)]


def choose_answers(asked: Sequence[tuple[str, str, str]], minimum: int) -> dict[str, float]:
    """Choose the answers that a head may call.

    Args:
        asked: Patient, question and answer of each training question.
        minimum: Patients that must have an answer.

    Returns:
        Answer, written as it is most often, to its share of the questions; in the order of the normalised answers.
    """
    patients: dict[str, set[str]] = defaultdict(set)
    written: dict[str, Counter[str]] = defaultdict(Counter)
    for patient, _, answer in asked:
        patients[normalised(answer)].add(patient)
        written[normalised(answer)][" ".join(answer.split())] += 1
    enough = sorted(key for key, whose in patients.items() if len(whose) >= minimum)
    best = {key: min(written[key], key=lambda text: (-written[key][text], text)) for key in enough}
    return {best[key]: written[key].total() / len(asked) for key in enough}
