"""A finding survives the manifest's JSON whole."""

from __future__ import annotations

import json

import pytest

from medmm.data.records import _finding, _finding_record
from medmm.reports.findings import label_report
from medmm.types import Change, Finding, Status


@pytest.mark.parametrize("text", ["Enlarging 8 mm left apical nodule.", "Effusion has resolved.", "No edema."])
def test_there_and_back(text: str) -> None:
    for finding in label_report(text).values():
        assert _finding(json.loads(json.dumps(_finding_record(finding)))) == finding


def test_change_is_written_where_it_is_said() -> None:
    assert _finding_record(Finding(Status.PRESENT, change=Change.WORSE)) == {"status": "present", "change": "worse"}
    assert _finding({"status": "present"}).change is None  # as older manifests have it
    assert label_report("Enlarging 8 mm nodule.")["nodule"].change is Change.WORSE
