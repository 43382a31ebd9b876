"""What ``medmm score`` says at the end: how much by this call and in all, by one clock, and what was set aside."""

import json

import pytest

from medmm.config.load import to_yaml
from medmm.config.schema import Config
from medmm.errors import ExitCode
from medmm.pipelines import score
from medmm.pipelines._console import Console
from medmm.scoring.engine import ScoreSummary


def summary(out, **more):
    numbers = {"scored": 1, "resumed": 0, "quarantined": 0, "images_left_out": 0, "reasons": {}, "seconds": 30.0}
    return ScoreSummary(out=out, **(numbers | more))


def test_the_summary_counts_earlier_calls_and_the_time_of_the_model(tmp_path, capsys):
    said = score._told(Console(), summary(tmp_path, scored=5, resumed=7), 42.0)
    assert capsys.readouterr().out == (
        "5 studies scored and 7 by earlier calls, 0 set aside, in 42 s, 12 s of them to load the model;"
        f" wrote {tmp_path}\n"
    )
    assert (said["scored"], said["resumed"], said["exit_code"]) == (5, 7, ExitCode.DONE)


def test_reasons_and_their_file_are_named(tmp_path, capsys):
    reasons = ("decode_failed", "too_large", "decode_failed", "file_empty")
    lines = "".join(json.dumps({"study_id": str(n), "reason": one}) + "\n" for n, one in enumerate(reasons))
    (tmp_path / "quarantine.jsonl").write_text(lines)
    said = score._told(Console(), summary(tmp_path, quarantined=3, images_left_out=1), 31.0)
    first, *rest = capsys.readouterr().out.splitlines()
    assert first.startswith("1 study scored, 3 set aside, in 31 s,")
    assert rest == [
        "  without 1 image of theirs, which could not be read",
        f"  set aside: 2 x decode_failed; see {tmp_path / 'quarantine.jsonl'}",
        f"  set aside: 1 x too_large; see {tmp_path / 'quarantine.jsonl'}",
        f"  set aside: 1 x file_empty; see {tmp_path / 'quarantine.jsonl'}",
    ]
    assert said["exit_code"] == ExitCode.QUARANTINED
    assert said["aside"] == {"decode_failed": 2, "too_large": 1, "file_empty": 1}


def test_a_dry_run_refuses_a_folder_that_is_not_empty(tmp_path, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text(to_yaml(Config()))
    words = ["--run", str(tmp_path / "run"), "--input", str(tmp_path), "--out", str(tmp_path), "--dry-run"]
    with pytest.raises(SystemExit) as ended:
        score.main(words)
    assert (ended.value.code, "the output folder is not empty" in capsys.readouterr().err) == (ExitCode.USAGE, True)
