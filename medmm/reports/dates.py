"""The day that a report's text gives for itself. It is compared and then forgotten: a date may identify a patient."""

from __future__ import annotations

import datetime
import re

_DATE = re.compile(r"\d{4}-\d\d?-\d\d?|(?:19|20)\d{6}|\d\d?[./]\d\d?[./]\d{4}")
_LABEL = r"(?:(?:report|dictat\w+|transcri\w+|sign\w*|finali[sz]ed|verified|approved|electronically)[\w ]{0,60})"
_LINE = re.compile(
    rf"^[ \t]*{_LABEL}?(?:date|on|at)?[ \t]*[:.]?[ \t]*"
    rf"(?P<date>{_DATE.pattern})\b",
    re.IGNORECASE | re.MULTILINE,
)
_LABELLED = re.compile(rf"^[ \t]*{_LABEL}", re.IGNORECASE)


def report_date(text: str) -> datetime.date | None:
    """The latest day that a line of its own gives for dictation, report or signature; None where none does.

    Day and month may stand in either order: where both orders are dates the later one is taken, so that a report is
    never called older than it may be.
    """
    days = [day for line in _LINE.finditer(text) if _LABELLED.match(line[0]) for day in _readings(line["date"])]
    return max(days, default=None)


def cell_date(text: str) -> datetime.date | None:
    """The day of a table's cell such as ``2020-01-31 10:12``, ``20200131`` or ``31.01.2020``; None where it is none."""
    found = _DATE.match(text.strip())
    return max(_readings(found[0]), default=None) if found else None


def _readings(text: str) -> list[datetime.date]:
    """Dates that a text may stand for."""
    if "-" in text:
        year, *rest = map(int, text.split("-"))
    elif text.isdecimal():
        year, rest = int(text[:4]), [int(text[4:6]), int(text[6:])]
    else:
        *rest, year = map(int, re.split(r"[./]", text))
    orders = [(rest[0], rest[1])] if "-" in text or text.isdecimal() else [(rest[0], rest[1]), (rest[1], rest[0])]
    found = []
    for month, day in orders:
        try:
            found.append(datetime.date(year, month, day))
        except ValueError:
            continue
    return found
