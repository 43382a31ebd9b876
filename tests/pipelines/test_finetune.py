"""``medmm finetune --dry-run``: a plan from counts, without making or reading what need not be."""

import json
import subprocess
import sys

from medmm.config.schema import Config, SplitConfig
from medmm.data import manifest as manifests
from medmm.reports.parse import parse_report
from medmm.training.run import usable
from medmm.types import ImageRef, Study


def dry(cwd, *words, **more):
    command = [sys.executable, "-m", "medmm", "finetune", "--dry-run", "--json", *words]
    env = {"XDG_CACHE_HOME": str(cwd / "cache"), "HOME": str(cwd), "PATH": "/usr/bin", "OMP_NUM_THREADS": "1"} | more
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False, env=env)


def test_phantom_studies_are_counted_not_made(tmp_path):
    run = dry(tmp_path, "data.phantom.studies=200000", "train.steps=3", "train.batch_size=8")
    said = json.loads(run.stdout)
    assert (said["studies"], said["train"], said["val"], said["test"]) == (200_000, 140_000, 20_000, 40_000)
    assert (said["plan"]["steps"], said["plan"]["studies"]) == (3, 24)
    assert list(tmp_path.iterdir()) == []


def test_of_several_processes_the_first_alone_says_the_plan(tmp_path):
    first, second = (dry(tmp_path, "train.steps=3", WORLD_SIZE="2", RANK=rank) for rank in "01")
    assert json.loads(first.stdout)["plan"]["processes"] == 2
    assert "plan: 3 steps" in first.stderr
    assert (first.returncode, second.returncode, second.stdout, second.stderr) == (0, 0, "", "")


def test_an_absent_gpu_is_said_first(tmp_path):
    run = dry(tmp_path, "--device", "cuda:99", "--data", "table:absent.csv")
    assert (run.returncode, "there is no such GPU" in run.stderr) == (2, True)


def test_only_pairs_count_as_usable(tmp_path):
    image, report = (ImageRef(path=tmp_path / "1.png"),), parse_report("FINDINGS: Normal.")
    parts = [(image, report), (image, None), ((), report), (image, report)]
    studies = [Study(f"s{i}", f"p{i}", images, text, split="train") for i, (images, text) in enumerate(parts)]
    manifests.build(studies, tmp_path / "m.parquet", SplitConfig(val=0.0), lambda rejection: None)
    manifest = manifests.Manifest.open(tmp_path / "m.parquet")
    assert (manifest.counts()["train"], usable(Config(), manifest)) == (4, 2)


def test_a_dry_run_refuses_the_folder_that_the_run_would_refuse(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "manifest.parquet").write_text("")
    run = dry(tmp_path, "--out", "full")
    assert (run.returncode, "--out: the folder is not empty. Name another folder." in run.stderr) == (2, True)
    run = dry(tmp_path, "--out", "full", "--resume")
    assert (run.returncode, "the folder holds no run to go on with" in run.stderr) == (2, True)
    run = dry(tmp_path, "--resume")
    assert (run.returncode, "got no folder runs/report_gen" in run.stderr) == (2, True)


def test_what_the_index_set_aside_counts_too(tmp_path, capsys):
    from medmm.pipelines._cli import Invocation
    from medmm.pipelines._console import Console
    from medmm.pipelines._training import _told
    from medmm.training.run import RunResult

    (tmp_path / "data").mkdir()
    call = Invocation(None, (), None, False, False, Console(), {}, False)
    result = RunResult(tmp_path, 3, 1.0, 2.0, 3, {"report_empty": 2}, True)
    for aside, code in (({"report_empty": 89}, 0), ({"report_empty": 89, "file_missing": 1}, 10)):
        record = {"set_aside": {reason: {"count": number, "first": []} for reason, number in aside.items()}}
        (tmp_path / "data" / "pairing.json").write_text(json.dumps(record))
        said = _told(result, call)
        assert (said["exit_code"], said["aside"], said["aside_by_index"]) == (code, {"report_empty": 2}, aside)
    lines = capsys.readouterr().out.splitlines()
    assert f"  set aside: 1 x file_missing; see {tmp_path / 'data' / 'quarantine.jsonl'}" in lines
    assert f"  set aside: 2 x report_empty; see {tmp_path / 'quarantine.jsonl'}" in lines
