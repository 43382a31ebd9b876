"""What the reports say against what is true, read by the labeler."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from sklearn.metrics import f1_score

from medmm.data.phantom import anatomy, disease, subject
from medmm.data.phantom.disease import FINDINGS, SIDED
from medmm.data.phantom.study import exposure_of, report_on
from medmm.reports.findings import label_report
from medmm.reports.parse import parse_report
from medmm.types import Status

STUDIES = 400


@pytest.fixture(scope="module")
def dictations():
    """(conditions, facts, report) of the first studies of seed 3, without images."""
    made = []
    for number in range(STUDIES):
        place = subject.visit(3, number)
        who = subject.patient(3, place.patient)
        found, exposure = disease.conditions(3, number), exposure_of(3, number)
        facts = anatomy.assemble(3, number, place.patient, who, exposure, found).facts
        made.append((found, facts, report_on(3, place, who, exposure.projection, found, facts)))
    return made


def test_the_labeler_reads_what_is_true(dictations):
    truth = np.array([[name in {c.name for c in found} for name in FINDINGS] for found, _, _ in dictations])
    read = []
    for _, _, report in dictations:
        labels = label_report(report.text())
        read.append([name in labels and labels[name].status is Status.PRESENT for name in FINDINGS])
    assert f1_score(truth, np.array(read), average="macro") >= 0.95


def test_what_is_said_is_what_the_labeler_reads(dictations):
    """The report's own account of itself: present, hedged, denied, not mentioned."""
    agree = Counter()
    for _, _, report in dictations:
        labels = label_report(report.text())
        for name in FINDINGS:
            read = labels[name].status if name in labels else Status.UNMENTIONED
            agree[report.said[name] is read or (report.said[name] is Status.UNMENTIONED and read is Status.ABSENT)] += 1
    assert agree[True] / agree.total() > 0.99


def test_sides_are_named(dictations):
    right = Counter()
    for found, _, report in dictations:
        labels = label_report(report.text())
        for condition in found:
            if condition.name in SIDED and labels.get(condition.name) and report.said[condition.name] is Status.PRESENT:
                right[labels[condition.name].laterality is condition.side] += 1
    assert right[True] / right.total() > 0.99


def test_every_finding_is_mentioned_and_few_are_hedged(dictations):
    said = Counter(report.said[c.name] for found, _, report in dictations for c in found)
    assert set(said) <= {Status.PRESENT, Status.UNCERTAIN}
    assert 0.02 < said[Status.UNCERTAIN] / said.total() < 0.08
    for found, _, report in dictations:
        here = {c.name for c in found}
        assert all(
            status in {Status.ABSENT, Status.UNMENTIONED} for name, status in report.said.items() if name not in here
        )


def test_sections_and_length(dictations):
    words, headings = [], Counter()
    for _, _, report in dictations:
        parsed = parse_report(report.text())
        assert tuple(parsed.sections) == tuple(report.sections)
        assert {name: part.text for name, part in parsed.sections.items()} == dict(report.sections)
        headings.update(parsed.sections.keys())
        words.append(len(report.text().split()))
    assert headings["impression"] == STUDIES
    assert 0 < STUDIES - headings["findings"] < 0.08 * STUDIES
    assert 0 < headings["indication"] < STUDIES
    assert 30 <= np.median(words) <= 80
    assert max(words) < 150


def test_radiologists_differ_and_slip(dictations):
    openings = {report.style: Counter() for _, _, report in dictations}
    masked = 0
    for _, _, report in dictations:
        openings[report.style][report.text().split()[0]] += 1
        masked += "XXXX" in report.text()
    assert len(openings) == 8
    assert len({style.most_common(1)[0][0] for style in openings.values()}) > 2
    assert 0.05 < masked / STUDIES < 0.8
    texts = [report.sections["impression"] for found, _, report in dictations if not found]
    assert len(set(texts)) >= 3


def test_sizes_and_ribs_are_those_of_the_truth(dictations):
    seen = 0
    for found, facts, report in dictations:
        for condition in found:
            size = facts.get(condition.name)
            if condition.name in {"nodule", "mass"} and report.said[condition.name] is Status.PRESENT:
                text = " ".join(report.sections.values())
                seen += 1
                assert (
                    f"{size.size_mm:.0f} mm" in text
                    or f"{size.size_mm / 10:.1f} cm" in text
                    or "findings" not in report.sections
                )
            if (
                condition.name == "rib_fracture"
                and "findings" in report.sections
                and "fractures" in report.sections["findings"]
            ):
                assert str(size.ribs[-1]) in report.sections["findings"]
    assert seen > 50


def test_comparisons_only_where_there_is_a_prior(dictations):
    for number, (_, _, report) in enumerate(dictations):
        text = report.sections.get("findings", "")
        if subject.visit(3, number).prior is None:
            assert "prior" not in text
            assert "resolved" not in text
        else:
            assert "comparison" in report.sections
            assert "none" not in report.sections["comparison"].lower()
