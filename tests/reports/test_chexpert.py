"""CheXpert's observations from the labeler's findings."""

from __future__ import annotations

import pytest

from medmm.data.readers._chexpert import OBSERVATIONS
from medmm.reports.chexpert import CHEXPERT_5, CHEXPERT_14, COVERED, chexpert_observations
from medmm.reports.findings import FINDINGS, label_report
from medmm.types import Finding, Status


def test_names() -> None:
    assert len(CHEXPERT_14) == 14
    assert set(CHEXPERT_5) <= set(CHEXPERT_14)
    assert {name for names in COVERED.values() for name in names} - set(FINDINGS) == {"lung_opacity"}
    for name in OBSERVATIONS.values():  # of the readers of CheXpert's tables
        found = chexpert_observations({name: Finding(Status.PRESENT)})
        own = "lung_opacity" if name == "opacity" else name
        beside = ["no_finding"] if name == "support_devices" else []  # a device is no disease
        assert [key for key, one in found.items() if one.status is Status.PRESENT] == [*beside, own]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Small left effusion.", {"pleural_effusion": "present", "no_finding": "absent"}),
        ("6 mm nodule.", {"lung_lesion": "present", "no_finding": "absent"}),
        ("Possible mass. No nodule.", {"lung_lesion": "uncertain", "no_finding": "absent"}),
        ("No rib fracture.", {"fracture": "absent", "no_finding": "present"}),
        ("Biapical pleural thickening.", {"pleural_other": "present", "no_finding": "absent"}),
        ("PICC in place. Scoliosis.", {"support_devices": "present", "no_finding": "present"}),
        ("Two views of the chest.", {}),
    ],
)
def test_observations(text: str, expected: dict[str, str]) -> None:
    found = chexpert_observations(label_report(text))
    assert {name: str(one.status) for name, one in found.items()} == expected
    assert list(found) == [name for name in CHEXPERT_14 if name in found]


def test_unmentioned_is_left_out() -> None:
    assert chexpert_observations({"edema": Finding(Status.UNMENTIONED)}) == {}
