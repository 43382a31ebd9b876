"""Text privacy: what may identify a patient in a report is replaced, the same by the same, and said where it stood.

Rules, no model: they know titles, labels, signatures and the shapes of dates and numbers (the identifiers of 45 CFR
164.514(b)(2) that a report's text may hold). A name without a title, a label or a comma gives no sign, and stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import chain

from medmm.reports.deid_languages import LANGUAGE_RULES
from medmm.reports.deid_rules import FORMS, RULES, Rule, day_of, is_no_name, name_key, without_tail
from medmm.reports.language import UNKNOWN, language_of

_DAY_FIRST = frozenset(("es", "de", "fr"))
_HAN = re.compile("[一-鿿]")


@dataclass(frozen=True, slots=True)
class Identifier:
    """Words that may identify a patient. Its ``repr`` does not show them, nor does it hold them.

    Attributes:
        kind: ``NAME``, ``DATE``, ``ID``, ``PHONE``, ``EMAIL``, ``URL``, ``ADDRESS``, ``AGE`` or ``HOSPITAL``.
        start: Offset of the first character in the original text.
        end: Offset behind the last one.
        replacement: What stands there now.
    """

    kind: str
    start: int
    end: int
    replacement: str


@dataclass(frozen=True, slots=True)
class Deidentified:
    """A text without identifiers.

    Attributes:
        text: The text with placeholders.
        spans: What was replaced, in the order of the original text; none overlap.
    """

    text: str = field(repr=False)
    spans: tuple[Identifier, ...]


def deidentify(text: str, *, shift_days: int | None = None, language: str | None = None) -> Deidentified:
    """Replace names, dates, numbers, addresses and hospitals in ``text``.

    The same words get the same placeholder: ``Dr. Smith`` and ``JOHN SMITH`` are both ``[NAME1]`` by the surname,
    ``3/4/2020`` and ``2020-03-04`` are both ``[DATE1]``. ``XXXX``, eponyms (Kerley, Swan-Ganz), vertebrae and
    measurements stay, and so do ages up to 89; a higher one becomes ``90+``.

    Args:
        text: A report in English, Spanish, German, French or Chinese.
        shift_days: Move whole dates by so many days instead of hiding them, so that intervals stay; written
            ``YYYY-MM-DD``.
            Dates without a year or a day are hidden all the same.
        language: ISO 639-1 code; None asks the text. Rules of a language apply to its texts and to those that do not
            say theirs; of ``12/03/2021`` the day comes first in Spanish, German and French.
    """
    language = language_of(text) if language is None else language
    found = list(_found(text, language))
    names = _Placeholders()
    spans: list[Identifier] = []
    pieces: list[str] = []
    end = 0
    for kind, start, stop in found:
        words = text[start:stop]
        replacement = _replacement(kind, words, names, shift_days, language in _DAY_FIRST)
        spans.append(Identifier(kind, start, stop, replacement))
        pieces += [text[end:start], replacement]
        end = stop
    return Deidentified("".join([*pieces, text[end:]]), tuple(spans))


def _found(text: str, language: str) -> Iterator[tuple[str, int, int]]:
    """Identifiers of all rules, in order, then the names that were found wherever they stand again.

    Where two overlap, the earlier rule holds.
    """
    taken: list[tuple[str, int, int]] = []
    busy = bytearray(len(text))
    own = [LANGUAGE_RULES[code] for code in LANGUAGE_RULES if language in (code, UNKNOWN)]
    for rule in chain(FORMS, *own, RULES):
        for start, stop in _matches(rule, text):
            if not any(busy[start:stop]):
                taken.append((rule.kind, start, stop))
                busy[start:stop] = b"\x01" * (stop - start)
    for start, stop in _surnames_again(text, [text[a:b] for kind, a, b in taken if kind == "NAME"]):
        if not any(busy[start:stop]):
            taken.append(("NAME", start, stop))
            busy[start:stop] = b"\x01" * (stop - start)
    yield from sorted(taken, key=lambda one: one[1])


def _matches(rule: Rule, text: str) -> Iterator[tuple[int, int]]:
    if rule.hint and not any(hint in text for hint in rule.hint):
        return
    for match in rule.pattern.finditer(text):
        start, stop = match.span("x")
        if rule.kind == "NAME":
            stop = start + len(without_tail(text[start:stop]))
            if is_no_name(text[start:stop]):
                continue
        if start < stop and "XXXX" not in text[start:stop]:
            yield start, stop


def _surnames_again(text: str, names: list[str]) -> Iterator[tuple[int, int]]:
    """Where the surname of a name that was found stands alone."""
    for key in {name_key(name) for name in names}:
        if _HAN.match(key) and len(key) > 1:
            yield from (match.span() for match in re.finditer(re.escape(key), text))
        elif len(key) > 2:  # noqa: PLR2004
            for match in re.finditer(rf"(?<![\w-]){re.escape(key)}(?![\w-])", text, re.IGNORECASE):
                if match[0][0].isupper() and not is_no_name(match[0]):
                    yield match.span()


def _replacement(kind: str, words: str, names: _Placeholders, shift_days: int | None, day_first: bool) -> str:
    if kind == "AGE":
        return "90+"
    if kind == "NAME":
        return names.of(kind, name_key(words))
    if kind == "DATE":
        day = day_of(words, day_first)
        if day is not None and shift_days is not None:
            return _shifted(day, shift_days)
        return names.of(kind, day.isoformat() if day else " ".join(words.lower().split()))
    if kind in {"ID", "PHONE"}:
        return names.of(kind, "".join(letter for letter in words.lower() if letter.isalnum()))
    return names.of(kind, " ".join(words.lower().split()))


def _shifted(day: date, days: int) -> str:
    try:
        return (day + timedelta(days=days)).isoformat()
    except OverflowError:
        return "[DATE]"


class _Placeholders:
    """Numbers what is the same alike, within one text."""

    def __init__(self) -> None:
        self._numbers: dict[str, dict[str, int]] = {}

    def of(self, kind: str, key: str) -> str:
        numbers = self._numbers.setdefault(kind, {})
        return f"[{kind}{numbers.setdefault(key, len(numbers) + 1)}]"
