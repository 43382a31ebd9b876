"""``run.json``: read whole, or refused by name."""

import json

import pytest

from medmm.errors import CheckpointError
from medmm.training.provenance import FORMAT, read_record, write_record


def test_what_is_written_is_read(tmp_path):
    write_record(tmp_path, {"format": FORMAT, "seed": 3})
    assert read_record(tmp_path) == {"format": FORMAT, "seed": 3}


def test_a_run_that_a_kill_left_before_its_record_has_none(tmp_path):
    (tmp_path / "config.yaml").write_text("task: report_gen\n")
    assert read_record(tmp_path) == {}


def test_a_run_that_ended_is_refused_without_its_record(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").write_bytes(b"weights")
    with pytest.raises(CheckpointError, match=r"run\.json: the run's record is missing"):
        read_record(tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", "3", "null", "{}", '{"seed": 3}', "\udcff"])
def test_a_record_that_is_none_is_refused(content, tmp_path):
    (tmp_path / "run.json").write_text(content, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(CheckpointError, match=r"run\.json: the run's record cannot be read") as refused:
        read_record(tmp_path)
    assert refused.value.exit_code == 4


def test_a_record_of_another_format_is_refused_by_name(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"format": 2}))
    with pytest.raises(CheckpointError, match=r"run\.json: a run's record of another format; got format 2"):
        read_record(tmp_path)
