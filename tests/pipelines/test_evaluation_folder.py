"""An evaluation replaces nothing but an earlier one of the same run and split, and says what is gone with it."""

import hashlib
import json

import pytest

from medmm.config.load import to_yaml
from medmm.config.schema import Config
from medmm.errors import ExitCode, UsageError
from medmm.pipelines import evaluate
from medmm.pipelines._evaluation_folder import lost, require_free

FILES = (
    "metrics.md", "predictions.jsonl", "quarantine.jsonl", "findings.png", "differences.png", "drafts-abc.jsonl",
    "roc.png", "reliability.png", "risk_coverage.png",
)  # fmt: skip


@pytest.fixture
def run(tmp_path):
    (tmp_path / "run" / "model").mkdir(parents=True)
    (tmp_path / "run" / "model" / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "run" / "config.yaml").write_text(to_yaml(Config()))
    (tmp_path / "run" / "quarantine.jsonl").write_text("of the training\n")
    return tmp_path / "run"


def evaluation(folder, weights=b"weights", split="test", **more):
    folder.mkdir(parents=True, exist_ok=True)
    card = {"split": split, "data_hash": "d", "run": {"weights_sha256": hashlib.sha256(weights).hexdigest()}}
    (folder / "metrics.json").write_text(json.dumps({"test": {}, "card": card, **more}))
    for name in FILES:
        (folder / name).write_text("")
    return folder


def refused(*given, replace=False):
    with pytest.raises(UsageError) as caught:
        require_free(*given, replace=replace)
    assert caught.value.where == "--out"
    return f"{caught.value.what}: {caught.value.got}"


def test_free_is_what_holds_nothing_or_an_evaluation_of_the_same(run, tmp_path):
    for replace in (False, True):
        require_free(tmp_path / "new", run, "test", replace=replace)
        require_free(evaluation(tmp_path / "same"), run, "test", replace=replace)
    (tmp_path / "same" / ".medmm-left").write_text("")
    (tmp_path / "same" / "data").mkdir()
    (tmp_path / "same" / "data" / "manifest.parquet").write_text("")
    require_free(tmp_path / "same", run, "test", replace=False)
    (tmp_path / "same" / "metrics.json").unlink()  # one that was cut off
    require_free(tmp_path / "same", run, "test", replace=False)
    assert not (tmp_path / "new").exists()
    assert (tmp_path / "same" / "data" / "manifest.parquet").is_file()  # looking changes nothing


def test_another_evaluation_is_replaced_only_when_asked(run, tmp_path):
    for folder, got in (
        (evaluation(tmp_path / "val", split="val"), "split 'val'"),
        (evaluation(tmp_path / "other", b"others"), f"weights {hashlib.sha256(b'others').hexdigest()[:8]}"),
    ):
        said = refused(folder, run, "test")
        assert said == f"the folder holds the evaluation of another run or split: {got}"
        require_free(folder, run, "test", replace=True)


def test_anything_else_is_never_written_over(run, tmp_path):
    index, scores, mixed = tmp_path / "index", tmp_path / "scores", evaluation(tmp_path / "mixed")
    for folder, names in (
        (index, ("manifest.parquet", "pairing.json", "quarantine.jsonl")),
        (scores, ("predictions.jsonl", "quarantine.jsonl", "manifest.json")),
        (mixed, ("notes.txt",)),
        (tmp_path / "project" / "data", ("scan.dcm",)),
    ):
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            (folder / name).write_text("")
    for replace in (False, True):
        for folder, number in ((run, 2), (index, 2), (scores, 1), (mixed, 1), (tmp_path / "project", 1)):
            said = refused(folder, run, "test", replace=replace)
            assert said == f"the folder holds other things than an evaluation: {number}"
    assert refused(run / "config.yaml", run, "test").startswith("the output is a file")


def test_the_stage_leaves_the_runs_own_files_alone(run, capsys):
    for words in ((), ("--resume",), ("--dry-run",)):
        with pytest.raises(SystemExit) as ended:
            evaluate.main(["--run", str(run), "--out", str(run), *words])
        assert ended.value.code == ExitCode.USAGE
        assert "--out: the folder holds other things than an evaluation" in capsys.readouterr().err
    assert (run / "quarantine.jsonl").read_text() == "of the training\n"


def test_a_comparison_that_is_replaced_is_named(run, tmp_path):
    first, second = evaluation(tmp_path / "first", b"1"), evaluation(tmp_path / "second", b"2")
    hashes = {name: {"weights_sha256": hashlib.sha256(name).hexdigest()} for name in (b"weights", b"1", b"2")}
    both = {"against": {"run": hashes[b"1"]}, "seeds": {"runs": [hashes[b"weights"], hashes[b"2"]]}}
    out = evaluation(tmp_path / "out", **both)
    short = {name: one["weights_sha256"][:8] for name, one in hashes.items()}
    assert list(lost(out, [first, second], "d")) == []
    (seeds,) = lost(out, [first], "d")
    assert seeds == f"this replaces the earlier --seeds {short[b'2']} in {out}; another --out keeps both"
    against, seeds, data = lost(out, [], "e")
    assert against == f"this replaces the earlier --against {short[b'1']} in {out}; another --out keeps both"
    assert data == f"this replaces an evaluation on other data in {out}; another --out keeps both"
    assert list(lost(tmp_path / "new", [first], "d")) == []
    assert len(list(lost(out, [run], "d"))) == 2
