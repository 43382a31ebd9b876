"""What reports say of themselves, on sentences that an untrained search gets wrong."""

import pytest

from medmm.reports import mentions
from medmm.reports.parse import parse_report


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("EXAM: CHEST PA AND LATERAL\n\nFINDINGS: The lungs are clear.", {"PA", "LATERAL"}),
        ("PORTABLE AP CHEST\n\nFINDINGS: Clear lungs.", {"AP"}),
        ("TECHNIQUE: Single supine view.\n\nFINDINGS: Clear.", {"AP"}),
        ("FINDINGS: PA and lateral views of the chest were obtained. Clear lungs.", {"PA", "LATERAL"}),
        ("FINDINGS: AP portable chest radiograph shows low volumes.", {"AP"}),
        ("FINDINGS: Blunting of the lateral costophrenic angle.", set()),
        ("FINDINGS: Opacity in the left lateral chest wall.", set()),
        ("FINDINGS: Clear.\n\nCOMPARISON: PA chest of last year.", set()),
        ("FINDINGS: Unchanged compared with the prior PA and lateral views.", set()),
        ("IMPRESSION: Nodule. Recommend PA and lateral views.", set()),
        ("FINDINGS: No change.", set()),
    ],
)
def test_views_are_those_of_the_study_itself(text, expected):
    assert mentions.views(parse_report(text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FINDINGS: Fracture of the left patella.", {"left"}),
        ("FINDINGS: Both knees are normal.", {"left", "right"}),
        ("FINDINGS: Left knee normal.\n\nCOMPARISON: Right knee.", {"left"}),
        ("HALLAZGOS: derrame derecho", {"right"}),
        ("FINDINGS: Normal.", set()),
        ("FINDINGS: Leftover contrast, brightly shown.", set()),
    ],
)
def test_sides(text, expected):
    assert mentions.sides(parse_report(text)) == expected


def test_regions_count_different_words():
    text = "FINDINGS: The patella and the patella. Femoral condyles intact, the tibia too. Lungs not seen."
    report = parse_report(text)
    assert mentions.regions(report) == {"leg": 3, "chest": 1}


@pytest.mark.parametrize(
    ("said", "region"),
    [("CHEST", "chest"), ("Thorax^PA", "chest"), ("LT KNEE", "leg"), ("CSPINE", "spine"), ("BODY", None), (None, None)],
)
def test_a_headers_body_part(said, region):
    assert mentions.region_of(said) == region
