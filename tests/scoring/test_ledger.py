import json
import os
import stat
import subprocess
import sys
import time

import pytest

from medmm.errors import CheckpointError, Reason, UsageError
from medmm.scoring.ledger import Ledger
from medmm.types import Rejection

IDENTITY = {"weights": "a" * 64, "preprocess": "b" * 64}


def _open(folder, resume=False, identity=IDENTITY):
    return Ledger.open(folder, identity, {"device": "cpu"}, resume=resume)


def _line(number, print_="f0", **more):
    return {"study_id": f"s{number}", "fingerprint": print_, "report": f"Draft {number}.", **more}


def _lines(folder, name="predictions.jsonl"):
    return [json.loads(text) for text in (folder / name).read_text().splitlines()]


def test_what_was_added_is_done_for_these_files_only(tmp_path):
    with _open(tmp_path / "out") as ledger:
        ledger.add(_line(1))
    with _open(tmp_path / "out", resume=True) as ledger:
        assert ledger.is_done("s1", "f0")
        assert not ledger.is_done("s1", "f1")
        assert not ledger.is_done("s2", "f0")
        assert (ledger.resumed, ledger.repaired) == (1, 0)


def test_torn_last_line_is_taken_out_and_its_study_is_not_done(tmp_path):
    out = tmp_path / "out"
    with _open(out) as ledger:
        ledger.add(_line(1))
        ledger.add(_line(2))
    whole = (out / "predictions.jsonl").read_bytes()
    for cut in range(1, len(whole)):  # a kill may tear at any byte
        (out / "predictions.jsonl").write_bytes(whole[:cut])
        with _open(out, resume=True) as ledger:
            complete = whole[:cut].count(b"\n")
            assert [ledger.is_done(f"s{n}", "f0") for n in (1, 2)] == [complete >= 1, complete >= 2]
            assert ledger.repaired == int(whole[cut - 1] != ord("\n"))
            ledger.add(_line(3))
        assert [line["study_id"] for line in _lines(out)] == [f"s{n + 1}" for n in range(complete)] + ["s3"]


def test_spoilt_line_in_the_middle_costs_only_its_study(tmp_path):
    out = tmp_path / "out"
    with _open(out) as ledger:
        for number in range(3):
            ledger.add(_line(number))
    first, _, third = (out / "predictions.jsonl").read_bytes().splitlines()
    (out / "predictions.jsonl").write_bytes(b"\n".join([first, b"\0" * 40, b"[]", third, b""]))
    with _open(out, resume=True) as ledger:
        assert ledger.repaired == 2
        assert [ledger.is_done(f"s{n}", "f0") for n in range(3)] == [True, False, True]
    assert [line["study_id"] for line in _lines(out)] == ["s0", "s2"]


def test_study_whose_files_changed_leaves_one_line_the_last(tmp_path):
    out = tmp_path / "out"
    with _open(out) as ledger:
        ledger.add(_line(1, "old"))
        ledger.add(_line(2))
    with _open(out, resume=True) as ledger:
        ledger.add(_line(1, "new"))
        ledger.settle()
    assert {line["study_id"]: line["fingerprint"] for line in _lines(out)} == {"s1": "new", "s2": "f0"}
    assert len(_lines(out)) == 2


def test_resume_forgets_quarantined_studies_but_not_left_out_images_of_done_ones(tmp_path):
    out = tmp_path / "out"
    with _open(out) as ledger:
        ledger.add(_line(1))
        ledger.set_aside(Rejection("s1", Reason.DECODE_FAILED, "one view", tmp_path / "a.dcm"), scope="image")
        ledger.set_aside(Rejection("s2", Reason.FILE_EMPTY, "empty", tmp_path / "b.dcm"))
    assert [line["reason"] for line in _lines(out, "quarantine.jsonl")] == ["decode_failed", "file_empty"]
    with _open(out, resume=True):
        pass
    assert [(line["study_id"], line["scope"]) for line in _lines(out, "quarantine.jsonl")] == [("s1", "image")]


def test_private_files_are_for_the_owner_only(tmp_path):
    out = tmp_path / "out"
    with _open(out) as ledger:
        ledger.add(_line(1))
        ledger.settle()
    for name in ("predictions.jsonl", "quarantine.jsonl"):
        assert stat.S_IMODE(os.stat(out / name).st_mode) == 0o600
    assert (out / "quarantine.jsonl").read_text() == ""


def test_another_model_is_refused_and_named(tmp_path):
    with _open(tmp_path / "out"):
        pass
    with pytest.raises(CheckpointError, match="another model") as caught:
        _open(tmp_path / "out", resume=True, identity={**IDENTITY, "weights": "c" * 64})
    assert caught.value.got == "weights aaaaaaaaaaaa"
    assert caught.value.expected == "weights cccccccccccc"


def test_non_empty_folder_needs_resume(tmp_path):
    with _open(tmp_path / "out"):
        pass
    with pytest.raises(UsageError, match="--resume"):
        _open(tmp_path / "out")


def test_resume_into_an_empty_folder_begins(tmp_path):
    with _open(tmp_path / "new", resume=True) as ledger:
        assert ledger.resumed == 0


@pytest.mark.parametrize("content", [None, "{", '{"format": "medmm-scores", "version": 99}', "[1]"])
def test_folder_of_something_else_is_refused(tmp_path, content):
    (tmp_path / "notes.txt").write_text("mine")
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"manifest\.json"):
        _open(tmp_path, resume=True)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_two_processes_do_not_score_into_one_folder(tmp_path):
    with _open(tmp_path / "out"), pytest.raises(UsageError, match="another process"):
        _open(tmp_path / "out", resume=True)
    with _open(tmp_path / "out", resume=True):
        pass


_WRITER = """
import sys
from pathlib import Path
from medmm.scoring.ledger import Ledger
with Ledger.open(Path(sys.argv[1]), {"weights": "w"}, {}, resume=True) as ledger:
    for number in range(100_000):
        if not ledger.is_done(f"s{number}", "f"):
            ledger.add({"study_id": f"s{number}", "fingerprint": "f", "report": "x" * 3000})
"""


def test_killed_writer_loses_nothing_and_doubles_nothing(tmp_path):
    out = tmp_path / "out"
    seen = 0
    for _ in range(3):
        writer = subprocess.Popen([sys.executable, "-c", _WRITER, str(out)])
        try:
            deadline = time.monotonic() + 30
            goal = seen + 20
            while _size(out) < goal * 3000 and time.monotonic() < deadline:
                time.sleep(0.01)
        finally:
            writer.kill()
            writer.wait()
        with Ledger.open(out, {"weights": "w"}, {}, resume=True) as ledger:
            done = ledger.resumed
        assert done >= goal - 1
        assert [line["study_id"] for line in _lines(out)] == [f"s{n}" for n in range(done)]
        seen = done


def _size(out):
    path = out / "predictions.jsonl"
    return path.stat().st_size if path.exists() else 0


def test_needs_no_learning_stack():
    heavy = "{'torch', 'monai', 'mlflow', 'transformers'}"
    words = f"import sys, medmm.scoring.ledger; print(sorted({heavy} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
