"""What it takes to find comparisons with earlier studies in one language and to take them out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

Replacement = str | Callable[[re.Match[str]], str]


@dataclass(frozen=True)
class PriorRules:
    """The rules of a language.

    Attributes:
        reference: Words that compare, in groups named ``comparison``, ``no_change``, ``new`` and ``change``.
        clause_rules: How a comparison is taken out of a clause, in the order in which it is done.
        gone: What says that something is gone, or denies what is new: without the comparison nothing can be said.
        unavailable: What says that there is nothing to compare with, or asks to compare.
        broken: Loose ends of a sentence.
        clause: What parts the clauses of a sentence.
        comma: What parts all that a comma does.
        subordinate: How a clause begins that does not stand alone.
        is_said_of_nothing: Whether a clause, rid of its comparison, names anatomy and nothing that was found of it.
        joint: Written between clauses.
        between: Written between sentences that came without space between them.
    """

    reference: re.Pattern[str]
    clause_rules: tuple[tuple[re.Pattern[str], Replacement], ...]
    gone: re.Pattern[str]
    unavailable: re.Pattern[str]
    broken: tuple[re.Pattern[str], ...]
    clause: re.Pattern[str]
    comma: re.Pattern[str]
    subordinate: re.Pattern[str]
    is_said_of_nothing: Callable[[str], bool]
    joint: str = ", "
    between: str = " "


def compiled(rules: Iterable[tuple[str, Replacement]]) -> tuple[tuple[re.Pattern[str], Replacement], ...]:
    """Patterns and replacements, ready to use; case does not matter."""
    return tuple((re.compile(pattern, re.IGNORECASE), replacement) for pattern, replacement in rules)


def names_only(words: str) -> Callable[[str], bool]:
    """Whether a clause consists of these words, such as anatomy and little words."""
    known = frozenset(words.split())
    return lambda clause: all(word in known for word in re.findall(r"[^\W\d_][^\W\d_-]*", clause.lower()))
