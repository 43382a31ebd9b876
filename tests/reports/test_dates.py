"""Days that a report's own lines give; a day within a sentence is somebody else's."""

import datetime

import pytest

from medmm.reports.dates import cell_date, report_date

DAY = datetime.date


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Report date: 2020-01-31\nFINDINGS: Clear.", DAY(2020, 1, 31)),
        ("Dictated on 31.01.2020\nSigned: 2020-02-02", DAY(2020, 2, 2)),
        ("Electronically signed by the radiologist on 02/03/2020", DAY(2020, 3, 2)),
        ("Transcribed: 02/03/2020", DAY(2020, 3, 2)),  # 2 March or 3 February: the later one
        ("Finalized 20200131", DAY(2020, 1, 31)),
        ("FINDINGS: compared with 2019-05-05, unchanged.", None),
        ("COMPARISON: 2019-05-05", None),
        ("Report date: 2020-13-45", None),
        ("", None),
    ],
)
def test_report_date(text, expected):
    assert report_date(text) == expected


@pytest.mark.parametrize(
    ("cell", "expected"),
    [("2020-01-31 10:12", DAY(2020, 1, 31)), ("20200131", DAY(2020, 1, 31)), ("31.01.2020", DAY(2020, 1, 31)),
     ("01/31/2020", DAY(2020, 1, 31)), ("yesterday", None), ("", None)],
)  # fmt: skip
def test_cell_date(cell, expected):
    assert cell_date(cell) == expected
