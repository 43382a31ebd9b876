"""The text that a model learns to write."""

from __future__ import annotations

import pytest

from medmm.errors import Reason, ReportError
from medmm.reports.parse import parse_report
from medmm.reports.target import target_text
from medmm.types import Report

REPORT = parse_report("INDICATION: cough\nFINDINGS:\n Clear  lungs.\nNo effusion.\nIMPRESSION: Normal.")


def test_one_section_is_plain_text() -> None:
    assert target_text(REPORT, ("findings",)) == "Clear lungs. No effusion."
    assert target_text(REPORT, ["impression"]) == "Normal."


def test_several_sections_can_be_told_apart_again() -> None:
    text = target_text(REPORT)
    assert text == "FINDINGS: Clear lungs. No effusion. IMPRESSION: Normal."
    again = parse_report(text)
    assert {name: part.text for name, part in again.sections.items()} == {
        "findings": "Clear lungs. No effusion.",
        "impression": "Normal.",
    }
    assert target_text(again) == text


def test_order_is_the_callers() -> None:
    assert target_text(REPORT, ("impression", "findings")).startswith("IMPRESSION: Normal. FINDINGS: Clear")


def test_one_of_two_sections_keeps_its_heading() -> None:
    assert target_text(parse_report("IMPRESSION: Normal.")) == "IMPRESSION: Normal."


def test_merged_section_is_taken_once() -> None:
    merged = parse_report("FINDINGS AND IMPRESSION: Clear.")
    assert target_text(merged) == "FINDINGS AND IMPRESSION: Clear."
    assert target_text(merged, ("impression",)) == "Clear."


def test_whole_text_only_without_sections() -> None:
    note = parse_report("Male, 60.\nCough.")
    assert target_text(note, whole_text=True) == "Male, 60. Cough."
    with pytest.raises(ReportError, match="whole_text") as error:
        target_text(note)
    assert error.value.reason is Reason.SECTION_MISSING
    with pytest.raises(ReportError) as error:
        target_text(parse_report("INDICATION: cough"), whole_text=True)
    assert error.value.reason is Reason.SECTION_MISSING


def test_empty_report() -> None:
    with pytest.raises(ReportError) as error:
        target_text(Report(raw=" "))
    assert error.value.reason is Reason.REPORT_EMPTY
