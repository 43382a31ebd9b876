"""What ``medmm index`` says on the console, and which folders it leaves alone."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

from medmm.config.schema import DataConfig
from medmm.data import pairing
from medmm.data.manifest import Manifest, ManifestSummary
from medmm.errors import UsageError
from medmm.pipelines import index

KILLED = """
import os, signal, sys
from medmm.data.spool import Spool
from medmm.pipelines import index
Spool.finish = lambda *words: os.kill(os.getpid(), signal.SIGKILL)
index.main(sys.argv[1:])
"""
TEXTS = ("FINDINGS: Clear.", "just a note", "")


@pytest.fixture
def stage(capsys):
    """Run the stage: exit code and what it said on both streams."""

    def run(*words):
        with pytest.raises(SystemExit) as ended:
            index.main([str(word) for word in words])
        said = capsys.readouterr()
        return ended.value.code, said.out + said.err

    return run


@pytest.fixture
def source(layouts, tmp_path):
    """Twelve studies of six patients, two of whom the source puts into two parts; words that read the table."""
    parts = ("train", "train", "test", "val", "val", "test", "train", "train", "test", "val", "train", "train")
    rows = [
        {"file": f"{number}.png", "who": f"DOE^JANE {number % 6}", "part": part, "note": TEXTS[number % 3]}
        for number, part in enumerate(parts)
    ]
    for number, row in enumerate(rows):
        layouts.write_png(tmp_path / "in" / row["file"], number)
    path = layouts.write_csv(tmp_path / "in" / "t.csv", rows)
    return ["--data", f"table:{path}", "data.columns.image=file", "data.columns.report=note"]


def test_doubts_are_said(stage, source, tmp_path):
    words = (*source, "data.columns.patient=who", "data.columns.split=part", "--out", tmp_path / "out")
    code, said = stage(*words)
    assert code == 0  # the source lacks reports; nothing is broken
    assert said.splitlines()[-7:-1] == [
        "12 studies of 6 patients, 12 images, 8 paired with a report",
        f"  set aside: 4 x report_empty; see {tmp_path / 'out' / 'quarantine.jsonl'}",
        "  without report: 4 studies",
        "warning: 2 patients lie in several parts of the source's own split; test figures will flatter",
        "  neither findings nor impression: 4 reports (notes without headings: target.whole_text=true)",
        "studies a split: train 6, val 3, test 3",
    ]
    assert "DOE" not in said
    record = json.loads((tmp_path / "out" / "pairing.json").read_text())
    assert (record["counts"]["report_empty"], record["patients_known"]) == (4, True)
    lines = [json.loads(line) for line in (tmp_path / "out" / "quarantine.jsonl").read_text().splitlines()]
    assert [(line["study_id"], line["reason"]) for line in lines] == [
        (f"{number}.png", "report_empty") for number in (2, 5, 8, 11)
    ]
    summary = Manifest.open(tmp_path / "out" / "manifest.parquet").summary
    assert (summary.counts["patients_in_several_splits"], summary.patients_known) == (2, True)


def test_unknown_patients_are_said(stage, source, layouts, tmp_path):
    _, said = stage(*source, "--out", tmp_path / "out")
    assert said.count("patients are not known: every study counts as its own patient\n") == 1
    assert json.loads((tmp_path / "out" / "pairing.json").read_text())["patients_known"] is False
    summary = Manifest.open(tmp_path / "out" / "manifest.parquet").summary
    assert (summary.patients_known, summary.counts["studies_without_patient"]) == (False, 12)
    layouts.openi(tmp_path / "openi")
    words = ("--data", f"openi:{tmp_path / 'openi' / 'xml'}", f"data.image_root={tmp_path / 'openi' / 'png'}")
    assert "patients are not known" in stage(*words, "--out", tmp_path / "out2")[1]
    layouts.dicom(tmp_path / "dicom")
    assert "patients are not known" not in stage("--data", f"dicom:{tmp_path / 'dicom'}", "--out", tmp_path / "out3")[1]


def test_some_unknown_patients_are_counted(stage, layouts, tmp_path):
    layouts.dicom(tmp_path / "in")
    layouts.write_dicom(tmp_path / "in" / "new" / "1.dcm", study="1.2.9", patient="")
    said = stage("--data", f"dicom:{tmp_path / 'in'}", "--out", tmp_path / "out")[1]
    assert "  without patient: 1 study, each counts as its own patient\n" in said


def test_what_is_broken_ends_in_10_and_one_of_a_thing_is_singular(stage, layouts, tmp_path):
    layouts.write_png(tmp_path / "0.png", 0)
    path = layouts.write_csv(tmp_path / "t.csv", [{"file": "0.png", "note": TEXTS[0]}, {"file": "1.png", "note": ""}])
    words = ("--data", f"table:{path}", "data.columns.image=file", "data.columns.report=note")
    code, said = stage(*words, "--out", tmp_path / "out")
    assert (code, "set aside: 1 x file_missing; see" in said) == (10, True)
    assert "1 study of 1 patient, 1 image, 1 paired with a report" in said
    assert "would index 1 study, 1 image, in" in stage(*words, "--dry-run")[1]


def test_an_index_is_not_replaced_by_guess(stage, source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, said = stage(*source, "--resume")
    assert (code, "--resume: which index is to be replaced is not said. Add --out DIR." in said) == (2, True)


def test_an_older_manifest_does_not_say_whether_patients_are_known():
    assert ManifestSummary({"studies": 3}, {}, {}, "", "").patients_known is True


def test_openi_without_images_says_how_to_give_them(stage, layouts, tmp_path):
    layouts.openi(tmp_path / "in")
    code, said = stage("--data", f"openi:{tmp_path / 'in' / 'xml'}", "--out", tmp_path / "out")
    assert code == 2
    assert "got 6 named, none there. Set data.image_root to their folder." in said


def test_an_index_of_another_source_is_replaced_only_when_asked(stage, source, layouts, tmp_path):
    out = tmp_path / "out"
    assert stage(*source, "--out", out)[0] == 0
    before = (out / "manifest.parquet").read_bytes()
    assert stage(*source, "--out", out)[0] == 0
    other = ("--data", f"dicom:{layouts.dicom(tmp_path / 'dicom').path}", "--out", out)
    for words in (other, (*source, "data.limit=10", "--out", out)):
        code, said = stage(*words)
        assert code == 2
        assert "an index of another source or of other settings" in said
        assert "--resume to replace" in said
        assert (out / "manifest.parquet").read_bytes() == before
    assert stage(*other, "--resume")[0] == 0
    assert Manifest.open(out / "manifest.parquet").counts()["all"] == 5


def test_a_folder_of_other_files_is_never_written_to(stage, source, layouts, tmp_path):
    names = sorted(path.name for path in (tmp_path / "in").iterdir())
    for words in ((), ("--resume",)):
        code, said = stage(*source, "--out", tmp_path / "in", *words)
        assert code == 2
        assert "--out: the folder holds other files than an index; got 13 files" in said
        assert sorted(path.name for path in (tmp_path / "in").iterdir()) == names


def test_a_failed_index_and_a_source_named_otherwise_are_no_hindrance(layouts, tmp_path, monkeypatch):
    out = tmp_path / "out"
    out.mkdir()
    (out / "quarantine.jsonl").write_text("{}\n")
    config = DataConfig(reader="dicom", path=tmp_path / "in")
    pairing.require_free(out, config, replace=False)
    (out / "manifest.parquet").write_bytes(b"")
    with pytest.raises(UsageError, match="another source"):
        pairing.require_free(out, config, replace=False)
    monkeypatch.chdir(tmp_path)
    (out / "pairing.json").write_text(json.dumps({"source": pairing.source_of(DataConfig(reader="dicom", path="in"))}))
    pairing.require_free(out, config, replace=False)


def test_a_deep_pass_finds_broken_and_shared_images(stage, source, tmp_path):
    """Image 3 is cut short, image 4 is a copy of another patient's image 1, seen through another window."""
    import cv2

    folder = tmp_path / "in"
    (folder / "3.png").write_bytes((folder / "3.png").read_bytes()[:60])
    cv2.imwrite(str(folder / "4.png"), 30 + cv2.imread(str(folder / "1.png"), 0) // 2)
    words = (*source, "data.columns.patient=who", "--deep", "--json", "--out", tmp_path / "out")
    code, said = stage(*words)
    told = json.loads(next(line for line in said.splitlines() if line.startswith("{")))
    assert code == 10
    assert told["rejected"]["decode_failed"] == 1
    assert told["doubts"] == {"same_image_for_several_patients": 1}
    (doubt,) = map(json.loads, (tmp_path / "out" / "doubts.jsonl").read_text().splitlines())
    assert (doubt["study_id"], doubt["other_study_id"]) == ("4.png", "1.png")
    page = (tmp_path / "out" / "pairing.html").read_text()
    assert "Two patients share an image: an image like one of another patient" in page
    studies = {one.study_id: one for one in Manifest.open(tmp_path / "out" / "manifest.parquet").studies()}
    assert studies["3.png"].images == ()
    assert len(studies["0.png"].images[0].content_hash) == 64


def test_what_a_killed_index_left_goes_with_the_next(stage, source, tmp_path):
    out = tmp_path / "out"
    words = [*source, "data.columns.patient=who", "--out", str(out)]
    killed = subprocess.run([sys.executable, "-c", KILLED, *words], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    left = list(out.iterdir())
    assert all(path.name.startswith(".medmm-") for path in left)
    assert any(TEXTS[0].encode() in path.read_bytes() for path in left)
    assert stage(*words)[0] == 0
    assert {path.name for path in out.iterdir()} == pairing.FILES
