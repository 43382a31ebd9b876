"""Reports without full stops: a statement a line, in any capitals, numbered in any way; and wrapped ones."""

from __future__ import annotations

import textwrap

import pytest

from medmm.reports.findings import label_report
from medmm.reports.parse import parse_report


def statuses(text: str) -> dict[str, str]:
    return {name: str(found.status) for name, found in label_report(text).items() if name != "no_finding"}


@pytest.mark.parametrize(
    "text",
    [
        "FINDINGS:\nNO PNEUMOTHORAX\nLEFT PLEURAL EFFUSION",
        "no pneumothorax\nleft effusion",
        "(1) No pneumothorax (2) Left effusion",
        "1) No pneumothorax 2) Left effusion",
        "1.No pneumothorax\n2.Left effusion",
        "a) no pneumothorax\nb) left effusion",
        "– No pneumothorax\n– Left effusion",
        "PLEURA: No pneumothorax\nLUNGS: left effusion",
    ],
)
def test_a_line_does_not_deny_the_next(text: str) -> None:
    assert statuses(text) == {"pneumothorax": "absent", "pleural_effusion": "present"}


@pytest.mark.parametrize("change", [str, str.upper, str.lower])
@pytest.mark.parametrize("width", [40, 55, 70])
def test_a_wrapped_sentence_stays_one(width: int, change: type[str]) -> None:
    said = (
        "No evidence of focal airspace consolidation, large pleural effusion, pulmonary edema or pneumothorax on "
        "either side of this portable radiograph. Heart size is normal without hilar enlargement or mediastinal mass."
    )
    text = change(said)
    wrapped = parse_report(textwrap.fill("FINDINGS: " + text, width))
    assert [" ".join(part.text.split()) for part in wrapped.sentences] == [
        part.text for part in parse_report(text).sentences
    ]


@pytest.mark.parametrize("text", ["NO EVIDENCE OF\nPNEUMOTHORAX", "no large\npneumothorax", "No\nXXXX pneumothorax"])
def test_a_line_that_cannot_end_goes_on(text: str) -> None:
    assert statuses(text) == {"pneumothorax": "absent"}


def test_both_sides_have_no_grade_or_change_in_which_they_differ() -> None:
    found = label_report("Small left effusion. Large right effusion.")["pleural_effusion"]
    assert (found.laterality, found.severity) == ("bilateral", None)
    assert label_report("Right nodule 5 mm. Left nodule 12 mm.")["nodule"].size_mm == 12
    found = label_report("Left effusion has increased. Right effusion has decreased.")["pleural_effusion"]
    assert (found.laterality, found.change) == ("bilateral", None)
    found = label_report("Small left effusion. Small right effusion.")["pleural_effusion"]
    assert (found.laterality, found.severity) == ("bilateral", "small")


def test_a_body_under_no_heading_is_read_before_an_impression() -> None:
    assert statuses("COMPARISON: None.\n\nSmall left effusion.\n\nIMPRESSION: Edema.") == {
        "pleural_effusion": "present",
        "edema": "present",
    }
    assert statuses("CHEST: Left effusion.\nIMPRESSION: Mass") == {"pleural_effusion": "present", "mass": "present"}
    assert statuses("INDICATION: cough\n\npneumonia?\n\nIMPRESSION: Edema.") == {"edema": "present"}
    assert statuses("ADDENDUM: There is a pneumothorax.") == {"pneumothorax": "present"}


@pytest.mark.parametrize(
    ("text", "sections"),
    [
        ("FINDINGS\tClear lungs.\tIMPRESSION\tNormal.", {"findings": "Clear lungs.", "impression": "Normal."}),
        (
            "Comparison: None Indication: cough Findings: Clear Impression: Ok",
            {"comparison": "None", "indication": "cough", "findings": "Clear", "impression": "Ok"},
        ),
        ("PRELIMINARY IMPRESSION: nodule\nFINAL IMPRESSION: normal", {"impression": "normal"}),
        ("PRELIMINARY IMPRESSION: nodule", {"impression": "nodule"}),
        ("Findings\n--------\nClear\n\nImpression\n----------\nOk", {"findings": "Clear", "impression": "Ok"}),
        ("FINDINGS :: clear", {"findings": "clear"}),
        ("IMPRESSION: Ok\nEND OF IMPRESSION", {"impression": "Ok"}),
    ],
)
def test_odd_headings(text: str, sections: dict[str, str]) -> None:
    report = parse_report(text)
    assert {name: part.text for name, part in report.sections.items()} == sections
    assert all(text[part.start : part.end] == part.text for part in report.sections.values())


def test_no_loose_word_of_a_heading_and_no_language_of_a_misspelling() -> None:
    assert [part.text for part in parse_report("CHEST IMPRESSION: Ok").sentences] == ["Ok"]
    assert parse_report("IMPRESION: ok").language == "und"
