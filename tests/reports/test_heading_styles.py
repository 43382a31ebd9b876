"""Open-i's reports, written out as hospitals write free text, give every section back."""

from __future__ import annotations

import tarfile
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from medmm.errors import Reason, ReportError
from medmm.reports.parse import parse_openi_xml, parse_report

Sections = dict[str, str]
SHORT = {"indication": "HX", "technique": "TECH", "comparison": "COMP", "findings": "FIND", "impression": "IMP"}
SPANISH = {
    "indication": "DATOS CLÍNICOS",
    "comparison": "COMPARACION",
    "findings": "HALLAZGOS",
    "impression": "IMPRESIÓN",
}
GERMAN = {
    "indication": "Klinische Angaben",
    "comparison": "Vergleich",
    "findings": "Befund",
    "impression": "Beurteilung",
}


def numbered(name: str, text: str) -> str:
    """An impression as a numbered list, a sentence an item."""
    if name != "impression":
        return text
    items = [item.strip() for item in text.replace(". ", ".\n").split("\n") if item.strip()]
    return "\n".join(f"{number}. {item}" for number, item in enumerate(items, 1))


def wrapped(text: str) -> str:
    return textwrap.fill(text, 70, break_long_words=False, break_on_hyphens=False)


STYLES: dict[str, Callable[[Sections], str]] = {
    "capitals with colon": lambda s: "".join(f"{n.upper()}: {t}\n" for n, t in s.items()),
    "title case on a line of its own, wrapped": lambda s: "".join(
        f"{n.title()}:\n{wrapped(t)}\n\n" for n, t in s.items()
    ),
    "capitals alone on a line": lambda s: "".join(f"{n.upper()}\n\n{t}\n\n" for n, t in s.items()),
    "capitals without colon, inline": lambda s: "".join(f"{n.upper()} {t}\n\n" for n, t in s.items()),
    "abbreviated": lambda s: "".join(f"{SHORT[n]}: {t}\n" for n, t in s.items()),
    "bold, numbered impression": lambda s: "".join(f"**{n.title()}:**\n{numbered(n, t)}\n\n" for n, t in s.items()),
    "one paragraph, wrapped": lambda s: wrapped(" ".join(f"{n.upper()}: {t}" for n, t in s.items())),
    "HL7 line breaks": lambda s: "".join(f"{n.upper()}:\\.br\\{t}\\.br\\\\.br\\" for n, t in s.items()),
    "title case with dash": lambda s: "".join(f"{n.title()} - {t}\r\n" for n, t in s.items()),
    "Spanish": lambda s: "".join(f"{SPANISH[n]}: {t}\n" for n, t in s.items()),
    "German": lambda s: "".join(f"{GERMAN[n]}\n{t}\n\n" for n, t in s.items()),
}


def openi_sections(shared: Path) -> list[Sections]:
    """Sections of every published report that has any, white space collapsed."""
    found, empty = [], 0
    with tarfile.open(shared / "openi/NLMCXR_reports.tgz") as archive:
        members = [member for member in archive if member.isfile() and member.name.endswith(".xml")]
        assert len(members) == 3955
        for member in members:
            handle = archive.extractfile(member)
            assert handle is not None
            try:
                report = parse_openi_xml(handle.read()).report
            except ReportError as error:
                empty += error.reason is Reason.REPORT_EMPTY
                continue
            found.append({name: " ".join(part.text.split()) for name, part in report.sections.items()})
    assert empty == 28
    return found


@pytest.mark.shared
def test_sections_survive_every_style(shared: Path) -> None:
    reports = openi_sections(shared)
    total = sum(map(len, reports))
    assert total > 14000
    rates = {}
    for style, write in STYLES.items():
        right = 0
        for want in reports:
            text = write(want)
            got = parse_report(text).sections
            for name, part in got.items():
                assert text[part.start : part.end] == part.text, name
            is_numbered = "numbered" in style
            right += sum(
                name in got
                and " ".join(got[name].text.split())
                == " ".join((numbered(name, body) if is_numbered else body).split())
                for name, body in want.items()
            )
            right -= len(got.keys() - want.keys())
        rates[style] = round(right / total, 4)
    print(rates)  # noqa: T201  shown by pytest -s
    assert min(rates.values()) >= 0.99, rates
