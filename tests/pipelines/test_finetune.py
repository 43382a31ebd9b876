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
