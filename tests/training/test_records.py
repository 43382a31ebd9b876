"""A run directory is claimed once and resumed only by the config that it was started with."""

import pytest

from medmm.config.load import load
from medmm.errors import CheckpointError, UsageError
from medmm.training.records import claim, read_config, require_free, tracked_as


def test_a_claimed_run_reads_back_and_is_not_claimed_twice(tmp_path):
    config = load(None, None, ["train.lr=2e-4"])
    claim(tmp_path / "run", config, resume=False)
    assert read_config(tmp_path / "run") == config
    (tmp_path / "run" / "run.json").write_text("{}")
    with pytest.raises(UsageError, match="not empty.*--resume"):
        claim(tmp_path / "run", config, resume=False)


def test_resume_names_every_setting_that_differs_but_no_path(tmp_path):
    claim(tmp_path, load(None, None, ["data.image_root=/wards/doe"]), resume=False)
    (tmp_path / "run.json").write_text("{}")
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


@pytest.mark.parametrize("resume", [False, True])
def test_a_run_that_never_began_gives_its_folder_back(tmp_path, resume):
    claim(tmp_path, load(None, None, ["data.columns.image=fil"]), resume=False)
    (tmp_path / "data").mkdir()
    for name in ("manifest.parquet", "pairing.json", "pairing.html", "doubts.jsonl", "quarantine.jsonl"):
        (tmp_path / "data" / name).write_text("of the first attempt")
    right = load(None, None, ["data.columns.image=file"])
    claim(tmp_path, right, resume=resume)
    assert read_config(tmp_path) == right
    assert not (tmp_path / "data").exists()


def test_somebody_elses_folder_is_left_alone(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        claim(tmp_path, load(None), resume=False)
    assert (tmp_path / "data" / "mine.txt").read_text() == "mine"


def test_resume_where_nothing_was_begun_starts_afresh(tmp_path):
    claim(tmp_path / "new", load(None), resume=True)
    assert read_config(tmp_path / "new") == load(None)


def test_what_is_no_run_is_said(tmp_path):
    with pytest.raises(UsageError, match="^run: no such folder"):
        read_config(tmp_path / "absent")
    with pytest.raises(UsageError, match="^--run: no run directory"):
        read_config(tmp_path, "--run")
    (tmp_path / "config.yaml").write_text("version: 99\n")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_config(tmp_path)


def test_the_tracking_id_is_none_until_there_is_one(tmp_path):
    assert tracked_as(tmp_path) is None
    (tmp_path / "run.json").write_text('{"mlflow_run_id": "abc"}')
    assert tracked_as(tmp_path) == "abc"
    (tmp_path / "run.json").write_text('{"mlflow_run_id": null}')
    assert tracked_as(tmp_path) is None


def test_a_project_that_looks_like_a_run_keeps_its_data(tmp_path):
    claim(tmp_path, load(None), resume=False)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "scan.dcm").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        claim(tmp_path, load(None), resume=False)
    (tmp_path / "data" / "scan.dcm").rename(tmp_path / "data" / "manifest.parquet")
    (tmp_path / "config.yaml").write_text("mine: 1\n")
    with pytest.raises(UsageError, match="not empty"):
        claim(tmp_path, load(None), resume=False)
    assert (tmp_path / "data" / "manifest.parquet").read_text() == "mine"


def test_settings_that_are_free_to_change_are_taken_over(tmp_path):
    claim(tmp_path, load(None, None, ["device=cpu"]), resume=False)
    (tmp_path / "run.json").write_text("{}")
    changed = load(None, None, ["device=auto", "generate.max_tokens=9"])
    claim(tmp_path, changed, resume=True)
    assert read_config(tmp_path) == changed


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("names", [["manifest.parquet", "pairing.json", "quarantine.jsonl"], ["config.yaml", "a.dcm"]])
@pytest.mark.parametrize("resume", [False, True])
def test_where_no_run_lies_none_is_gone_on_with(tmp_path, names, resume):
    for name in names:
        (tmp_path / name).write_text("version: 1\n")
    before = content(tmp_path)
    with pytest.raises(UsageError) as caught:
        claim(tmp_path, load(None), resume=resume)
    said = "the folder holds no run to go on with" if resume else "the folder is not empty"
    assert (caught.value.where, caught.value.what) == ("--out", said)
    assert "--resume" not in str(caught.value.fix)
    assert content(tmp_path) == before


def test_a_folder_is_checked_without_being_claimed(tmp_path):
    config, other = load(None), load(None, None, ["train.lr=0.5"])
    require_free(tmp_path / "new", config, resume=False)
    assert list(tmp_path.iterdir()) == []
    claim(tmp_path, config, resume=False)
    require_free(tmp_path, other, resume=False)  # a run that never began
    (tmp_path / "run.json").write_text("{}")
    before = content(tmp_path)
    require_free(tmp_path, config, resume=True)
    with pytest.raises(UsageError, match="not empty.*--resume"):
        require_free(tmp_path, config, resume=False)
    with pytest.raises(CheckpointError, match="another config"):
        require_free(tmp_path, other, resume=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="the output is a file"):
        require_free(tmp_path / "file", config, resume=True)
    (tmp_path / "file").unlink()
    assert content(tmp_path) == before


def test_names_of_masks_that_differ_are_a_difference_and_no_bug(tmp_path):
    claim(tmp_path, load(None, None, ["data.labels.liver=1"]), resume=False)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"labels\.liver None, was \[1\]; data\.labels\.spleen \[2\], was None"):
        claim(tmp_path, load(None, None, ["data.labels.spleen=2"]), resume=True)
