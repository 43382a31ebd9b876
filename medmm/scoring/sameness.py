"""What two runs must share to be compared, and what they do not, in words."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medmm.config.schema import Config
from medmm.errors import DataError

if TYPE_CHECKING:
    from medmm.training.loaded import LoadedModel

SAME = ("task", "split", "split_hash", "data_hash")
"""Entries of the card that any two evaluations must share."""
_SHOWN = 12  # digits of a hash in a message

Line = Mapping[str, Any]
"""A line of ``predictions.jsonl``."""
Ask = Callable[["LoadedModel", Config, Path, str], Sequence[Line]]
Differing = dict[str, tuple[str, str]]
"""What differs, by name: what was found, what was expected."""


@dataclass(frozen=True)
class Subject:
    """What a run must be of to be held against this evaluation's, and how it is asked.

    Attributes:
        lines: This evaluation's.
        key: Entries of a line that name its sample.
        said: The entry that the model fills.
        known: The entry that holds what is known of the sample.
        truth: That, taken from the entry.
        card: Entries of the card that must be the same, beside data, split and task.
        ask: Lets a loaded run with its config, a folder for the time being and the option that named it, for messages,
            say its lines.
        samples, truths: What the two are called in messages.
    """

    lines: Sequence[Line]
    key: tuple[str, ...]
    said: str
    ask: Ask
    known: str = "reference"
    truth: Callable[[Any], Any] = str
    card: tuple[str, ...] = ()
    samples: str = "studies"
    truths: str = "references"


def differing(other: Mapping[str, Any], own: Mapping[str, Any], names: Sequence[str]) -> Differing:
    """Which of the named entries of two cards or configs differ; the order of a list does not count."""
    return {
        name: (shown(other.get(name)), shown(own[name]))
        for name in names
        if _unordered(other.get(name)) != _unordered(own[name])
    }


def other_samples(rows: Sequence[Line], subject: Subject) -> Differing:
    """How the samples of another run's lines differ from this evaluation's: in number, or in what is known of them."""
    ours, theirs = (Counter(_key(row, subject) for row in some) for some in (subject.lines, rows))
    if foreign := ((ours - theirs) + (theirs - ours)).total():
        return {subject.samples: (f"{len(rows)}, {foreign} of them not in both", str(len(subject.lines)))}
    pairs = zip(subject.lines, in_order(rows, subject), strict=True)
    changed = sum(_truth(own, subject) != _truth(other, subject) for own, other in pairs)
    return {subject.truths: (f"{changed} that differ", "the same")} if changed else {}


def refuse(found: Differing, option: str) -> None:
    """Refuse another run by all that differs.

    Raises:
        DataError: Something does.
    """
    if found:
        raise DataError(
            "the other run cannot be compared",
            where=option,
            got="; ".join(f"{name} {got}" for name, (got, _) in found.items()),
            expected="; ".join(f"{name} {wanted}" for name, (_, wanted) in found.items()),
            fix="Evaluate both runs on the same data and split, or name the other run's directory.",
        )


def in_order(rows: Sequence[Line], subject: Subject) -> list[Line]:
    """The lines in the order of this evaluation's; a question that is asked twice has two, in their own order."""
    found = defaultdict(list)
    for row in reversed(rows):
        found[_key(row, subject)].append(row)
    return [found[_key(line, subject)].pop() for line in subject.lines]


def _key(row: Line, subject: Subject) -> tuple[Any, ...]:
    return tuple(row[name] for name in subject.key)


def _truth(line: Line, subject: Subject) -> Any:
    return subject.truth(line[subject.known])


def _unordered(value: Any) -> Any:
    return sorted(map(str, value)) if isinstance(value, (list, tuple)) else value


def shown(value: Any) -> str:
    """An entry of a card as a message has it: lists by commas, hashes short."""
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    text = str(value)
    return text[:_SHOWN] if len(text) == len(hashlib.sha256().hexdigest()) else text


def refuse_other_classes(got: Collection[str], expected: Collection[str], option: str) -> None:
    """Refuse a loaded run that knows other classes than this one.

    Raises:
        DataError: It does.
    """
    if set(got) != set(expected):
        said = [", ".join(sorted(names)) for names in (got, expected)]
        raise DataError("the other run knows other classes", where=option, got=said[0], expected=said[1])
