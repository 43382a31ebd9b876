"""What is said of a source after indexing it: reports are missing only where there are some."""

from collections import Counter
from types import SimpleNamespace

import pytest

from medmm.pipelines._console import Console
from medmm.pipelines._data import show_pairing


def told(capsys, **counts):
    numbers = Counter({"studies": 6, "patients": 6, "images": 6, **counts})
    show_pairing(
        SimpleNamespace(counts=numbers, rejected={}, quarantine="q", doubts={}, splits={"train": 6}), Console()
    )
    return capsys.readouterr().out.splitlines()


def test_masks_without_reports_lack_nothing(capsys):
    assert told(capsys, with_masks=6, image_without_report=6) == [
        "6 studies of 6 patients, 6 images, none paired with a report",
        "  with masks: 6 studies",
        "studies a split: train 6",
    ]


@pytest.mark.parametrize(("paired", "bare"), [(4, 2), (0, 6)])
def test_where_there_are_reports_the_others_are_counted(paired, bare, capsys):
    said = told(capsys, reports=4, paired=paired, image_without_report=bare)
    assert said[0] == f"6 studies of 6 patients, 6 images, {paired} paired with a report"
    assert said[1] == f"  without report: {bare} studies"
