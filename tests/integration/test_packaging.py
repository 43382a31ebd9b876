"""What a user installs and what the workflows say."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


def test_the_wheel_carries_configs_and_data_files(tmp_path):
    words = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path), str(ROOT)]
    subprocess.run(words, check=True, capture_output=True)
    names = zipfile.ZipFile(next(tmp_path.glob("medmm-*.whl"))).namelist()
    for config in (ROOT / "configs").rglob("*.yaml"):
        assert f"medmm/_configs/{config.relative_to(ROOT / 'configs')}" in names
    assert "medmm/reports/vocabulary.yaml" in names
    assert not [name for name in names if name.startswith("tests/")]


def test_the_demo_workflow_runs_what_make_demo_runs():
    stages = yaml.safe_load((ROOT / "pipelines/demo/dvc.yaml").read_text())["stages"]
    recipe = (ROOT / "Makefile").read_text().split("\ndemo:")[1].split("\ntest:")[0]
    made = [line.replace("$(DEMO)", "runs/demo") for line in re.findall(r"\$\(BIN\)/(python -m .*)", recipe)]
    # A stage of the workflow that was cut off goes on; `make demo` starts anew.
    assert [stage["cmd"].removesuffix(" --resume") for stage in stages.values()] == made


def test_workflow_outputs_persist_and_stay_out_of_the_cache():
    for file in (ROOT / "pipelines").rglob("dvc.yaml"):
        for name, stage in yaml.safe_load(file.read_text())["stages"].items():
            for out in stage["outs"]:
                assert list(out.values()) == [{"persist": True, "cache": False}], name


def test_workflow_folders_hold_no_code():
    assert not list((ROOT / "pipelines").rglob("*.py"))
