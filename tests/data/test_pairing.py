"""Pairing told to programs, without patients, and to people, without holes for what a report may hold."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from medmm.config.schema import DataConfig, SplitConfig
from medmm.data import pairing
from medmm.data.indexing import index
from medmm.data.manifest import Manifest, build
from medmm.errors import Reason
from medmm.reports.parse import parse_report
from medmm.types import ImageRef, Rejection, Study, study_tag

_VOID = {"meta", "img", "br"}


class Checker(HTMLParser):
    """Checks that every element is closed in its turn, and gathers tags, texts and pictures."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.texts, self.sources = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [value for name, value in attrs if name == "src"]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def check(path):
    """Parse a page; every element must be closed."""
    checker = Checker()
    checker.feed(path.read_text())
    checker.close()
    assert checker.open == []
    return checker


@pytest.fixture
def awkward(layouts, tmp_path):
    """A table with every kind of doubt, patients on both sides of its split among them."""
    rows = []
    for number in range(40):
        split = ("train", "train", "val", "test")[number % 4]
        text = "" if number % 10 == 9 else f"IMPRESSION: Case {number}. <script>alert(1)</script> & more"
        rows.append({"file": f"{number}.png", "patient": f"DOE^JANE {number // 3}", "split": split, "note": text})
        layouts.write_png(tmp_path / "in" / f"{number}.png", number)
    (tmp_path / "in" / "0.png").unlink()
    (tmp_path / "in" / "1.png").write_bytes(b"no picture")
    rows[2]["split"] = "holdout"
    path = layouts.write_csv(tmp_path / "in" / "t.csv", rows)
    columns = {"image": "file", "report": "note", "patient": "patient", "split": "split"}
    config = DataConfig(reader="table", path=path, columns=columns)
    return index(config, 0, tmp_path / "out")


def test_json_counts_what_was_paired_and_what_not(awkward):
    record = json.loads(awkward.pairing.read_text())
    assert record["counts"] == {
        "studies": 38, "patients": 13 + 1, "images": 38, "reports": 34, "paired": 34, "image_without_report": 4,
        "report_without_image": 1, "report_without_target": 0, "patients_in_several_splits": 12, "report_empty": 4,
        "report_shared": 0, "other_files": 0, "studies_without_patient": 0, "reference_withheld": 0, "copies": 0,
        "with_masks": 0, "with_questions": 0,
    }  # fmt: skip
    assert record["patients_known"] is True
    assert {reason: entry["count"] for reason, entry in record["set_aside"].items()} == {
        "file_missing": 1, "report_without_image": 1, "split_unknown": 1, "report_empty": 4,
    }  # fmt: skip
    assert record["set_aside"]["split_unknown"]["first"] == [study_tag("2.png")]
    assert record["splits"]["test"]["studies"] == 10
    assert (record["split_hash"], record["data_hash"]) == (awkward.split_hash, awkward.data_hash)


def test_json_and_errors_hold_no_patient_and_no_path(awkward, tmp_path):
    text = awkward.pairing.read_text()
    assert "DOE" not in text
    assert ".png" not in text
    assert str(tmp_path) not in text
    assert "Case" not in text


def test_private_files_are_private(awkward):
    assert awkward.page.stat().st_mode & 0o777 == 0o600
    assert awkward.quarantine.stat().st_mode & 0o777 == 0o600


def test_page_is_whole_and_inert(awkward):
    checker = check(awkward.page)
    assert not {"script", "link", "iframe", "object"} & set(checker.tags)
    assert all(source.startswith("data:image/png;base64,") for source in checker.sources)
    text = "".join(checker.texts)
    assert "<script>alert(1)</script> & more" in text
    assert "12 patients have studies in more than one part" in text
    assert "DOE" not in text


def test_page_shows_pairs_and_doubts(awkward):
    checker = check(awkward.page)
    assert checker.tags.count("article") == 24
    text = "".join(checker.texts)
    assert text.count("No report") == 4
    tags = set(re.findall(r"study#[0-9a-f]{8}", text))
    assert {study_tag(f"{number}.png") for number in (9, 19, 29, 39)} <= tags


def test_thumbnail_shows_the_image(layouts, tmp_path):
    pixels = np.zeros((96, 64), np.uint8)
    pixels[:, 32:] = 255
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), pixels)
    rows = [{"file": f"{number}.png"} for number in range(3)]
    config = DataConfig(reader="table", path=layouts.write_csv(tmp_path / "t.csv", rows), columns={"image": "file"})
    page = index(config, 0, tmp_path / "out").page
    checker = check(page)
    assert len(checker.sources) == 3
    data = np.frombuffer(base64.b64decode(checker.sources[0].split(",")[1]), np.uint8)
    shown = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    assert shown.shape[:2] == (128, 128)
    assert "aspect-ratio:0.6667" in page.read_text()
    assert (int(shown[64, 10].max()), int(shown[64, 118].min())) == (0, 255)


def test_image_that_cannot_be_read_is_said(layouts, tmp_path):
    rows = [{"file": f"{number}.png"} for number in range(3)]
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(b"\x89PNG\r\n\x1a\n but no more")
    config = DataConfig(reader="table", path=layouts.write_csv(tmp_path / "t.csv", rows), columns={"image": "file"})
    text = "".join(check(index(config, 0, tmp_path / "out").page).texts)
    assert text.count("cannot be shown") == 3


def test_examples_are_the_same_for_the_same_data_in_any_order(tmp_path):
    image, report = ImageRef(Path("/d/x")), parse_report("Clear.")
    studies = [
        Study(f"s{number}", f"p{number}", (image,) if number % 7 else (), report if number % 5 else None)
        for number in range(1, 80)
    ]
    chosen = []
    for name, items in (("a", studies), ("b", list(reversed(studies)))):
        build(items, tmp_path / f"{name}.parquet", SplitConfig(), lambda _: None)
        chosen.append([study.study_id for study in pairing.examples(Manifest.open(tmp_path / f"{name}.parquet"))])
    assert chosen[0] == chosen[1]
    assert len(set(chosen[0])) == 24
    kinds = [(int(one[1:]) % 7 > 0, int(one[1:]) % 5 > 0) for one in chosen[0]]
    assert [kinds.count(kind) for kind in ((True, False), (False, True), (True, True))] == [4, 4, 16]


def test_quarantine_keeps_tags_of_the_first_and_counts_all(tmp_path):
    with pairing.Quarantine(tmp_path / "q.jsonl") as aside:
        for number in range(50):
            aside.add(Rejection(f"s{number}", Reason.FILE_EMPTY, "the file is empty", Path(f"/d/{number}")))
        aside.add(Rejection("n", Reason.NOT_AN_IMAGE, "a file of another kind", Path("/d/M\udcfcller")))
    assert aside.reasons() == {"file_empty": 50}
    assert aside.passed_over() == {"other_files": 1, "copies": 0, "reference_withheld": 0}
    assert aside.tags() == {"file_empty": [study_tag(f"s{number}") for number in range(20)]}
    lines = [json.loads(line) for line in (tmp_path / "q.jsonl").read_text().splitlines()]
    assert len(lines) == 51
    assert lines[0] == {
        "study": study_tag("s0"), "study_id": "s0", "reason": "file_empty", "detail": "the file is empty",
        "path": "/d/0",
    }  # fmt: skip
