"""Doubts are raised where header and report contradict each other, and nowhere else."""

from pathlib import Path

import pytest

from medmm.data.doubts import Inspector, Kind, summarize
from medmm.reports.parse import parse_report
from medmm.types import ImageRef, Laterality, Study

CHEST = "FINDINGS: The lungs are clear. The heart is normal."
KNEE = "FINDINGS: The left patella is intact. Normal tibia."


def study(number, text, *, views=("PA",), body_part=None, laterality=None, days_after=None, patient=None):
    images = tuple(
        ImageRef(Path(f"/images/{number}-{view}"), view=view, body_part=body_part, laterality=laterality)
        for view in views
    )
    report = parse_report(text)
    object.__setattr__(report, "days_after", days_after)
    return Study(f"s{number}", patient or f"p{number}", images, report)


def doubts(*studies):
    inspector = Inspector()
    for one in studies:
        inspector.add(one)
    return [(doubt.study_id, doubt.kind, doubt.detail) for doubt in inspector.doubts()]


def kinds(*studies):
    return [kind for _, kind, _ in doubts(*studies)]


def test_a_pair_that_fits_is_not_doubted():
    assert doubts(study(1, f"EXAM: Chest PA and lateral.\n{CHEST}", views=("PA", "LATERAL"), body_part="CHEST")) == []


def test_another_frontal_view():
    text = f"PORTABLE AP CHEST\n{CHEST}"
    assert doubts(study(1, text)) == [("s1", Kind.VIEW, "the report says AP, the source PA")]
    assert kinds(study(1, text, views=("AP Supine",))) == []
    assert kinds(study(1, text, views=(None,))) == []
    assert kinds(study(1, text, views=("PA", "AP"))) == []


def test_a_lateral_view_that_is_missing():
    text = f"EXAM: Chest PA and lateral.\n{CHEST}"
    assert kinds(study(1, text)) == [Kind.VIEW]
    assert kinds(study(1, text, views=("PA", "LL"))) == []


@pytest.mark.parametrize(
    ("laterality", "body_part", "expected"),
    [
        (Laterality.RIGHT, "KNEE", [Kind.SIDE]),
        (Laterality.LEFT, "KNEE", []),
        (Laterality.BILATERAL, "KNEE", []),
        (None, "KNEE", []),
    ],
)
def test_the_other_side(laterality, body_part, expected):
    assert kinds(study(1, KNEE, views=(None,), laterality=laterality, body_part=body_part)) == expected


def test_the_side_of_a_chest_is_no_side_of_its_findings():
    text = "FINDINGS: Right pleural effusion of the lung."
    assert kinds(study(1, text, laterality=Laterality.LEFT, body_part="CHEST")) == []


def test_another_body_part_than_the_headers():
    assert doubts(study(1, KNEE, views=(None,), body_part="CHEST")) == [
        ("s1", Kind.BODY_PART, "the source says chest, the report speaks of leg")
    ]
    assert kinds(study(1, CHEST, body_part="CHEST"), study(2, KNEE, views=(None,), body_part="KNEE")) == []


def test_another_body_part_than_all_the_others():
    many = [study(number, CHEST, views=(None,)) for number in range(30)]
    assert doubts(*many, study(99, KNEE, views=(None,))) == [
        ("s99", Kind.BODY_PART, "the reports speak of chest, this one of leg")
    ]
    mixed = [study(number, KNEE if number % 2 else CHEST, views=(None,)) for number in range(30)]
    assert kinds(*mixed) == []
    assert kinds(*many[:5], study(99, KNEE, views=(None,))) == []  # too few to say what is usual


def test_a_report_older_than_its_image():
    assert doubts(study(1, CHEST, days_after=-2)) == [("s1", Kind.OLDER, "the report is 2 days older")]
    assert kinds(study(1, CHEST, days_after=0), study(2, CHEST, days_after=None)) == []


def test_the_same_long_text_for_two_patients():
    long = CHEST + " The mediastinum is not widened, the bones are intact." * 8
    found = doubts(study(1, long, patient="a"), study(2, f" {long}\n", patient="b"), study(3, long, patient="a"))
    assert [(one, kind) for one, kind, _ in found] == [("s2", Kind.SAME_TEXT)]
    assert kinds(study(1, CHEST), study(2, CHEST)) == []  # short texts repeat by habit


def test_a_summary_names_every_kind_and_no_study():
    inspector = Inspector()
    inspector.add(study(1, CHEST, days_after=-1))
    told = summarize(inspector.doubts())
    assert set(told) == {str(kind) for kind in Kind}
    assert told["report_older_than_image"]["count"] == 1
    assert told["report_older_than_image"]["first"][0].startswith("study#")
