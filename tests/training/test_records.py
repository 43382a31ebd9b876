"""A run directory is claimed once and resumed only by the config that it was started with."""

import pytest

from medmm.config.load import load
from medmm.errors import CheckpointError, UsageError
from medmm.training.records import claim, read_config, tracked_as


def test_a_claimed_run_reads_back_and_is_not_claimed_twice(tmp_path):
    config = load(None, None, ["train.lr=2e-4"])
    claim(tmp_path / "run", config, resume=False)
    assert read_config(tmp_path / "run") == config
    with pytest.raises(UsageError, match="not empty.*--resume"):
        claim(tmp_path / "run", config, resume=False)


def test_resume_names_every_setting_that_differs_but_no_path(tmp_path):
    claim(tmp_path, load(None, None, ["data.image_root=/wards/doe"]), resume=False)
    claim(
        tmp_path, load(None, None, ["data.image_root=/wards/doe", "device=cpu", "generate.strategy=beam"]), resume=True
    )
    other = load(None, None, ["train.lr=0.5", "preprocess.size=64", "data.image_root=/wards/roe"])
    with pytest.raises(CheckpointError) as caught:
        claim(tmp_path, other, resume=True)
    assert "train.lr 0.5, was 0.001" in str(caught.value)
    assert "preprocess.size 64, was 128" in str(caught.value)
    assert "data.image_root differs" in str(caught.value)
    assert "wards" not in str(caught.value)


def test_resume_where_nothing_was_begun_starts_afresh(tmp_path):
    claim(tmp_path / "new", load(None), resume=True)
    assert read_config(tmp_path / "new") == load(None)


def test_what_is_no_run_is_said(tmp_path):
    with pytest.raises(UsageError, match="no such folder"):
        read_config(tmp_path / "absent")
    with pytest.raises(UsageError, match="no run directory"):
        read_config(tmp_path)
    (tmp_path / "config.yaml").write_text("version: 99\n")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_config(tmp_path)


def test_the_tracking_id_is_none_until_there_is_one(tmp_path):
    assert tracked_as(tmp_path) is None
    (tmp_path / "run.json").write_text('{"mlflow_run_id": "abc"}')
    assert tracked_as(tmp_path) == "abc"
    (tmp_path / "run.json").write_text('{"mlflow_run_id": null}')
    assert tracked_as(tmp_path) is None
