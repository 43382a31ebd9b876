"""A folder of CT studies as scanners send them, a file a slice: indexed, trained on and scored as volumes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

SMALL = (
    "train.steps=4", "train.batch_size=2", "preprocess.size=32", "preprocess.depth=16", "model.encoder.spatial_dims=3",
    "model.encoder.width=16", "model.decoder.width=32", "model.decoder.layers=1", "model.findings.minimum=1",
    "generate.max_tokens=8", "tracking.enabled=false",
)  # fmt: skip


def medmm(*words, code=0):
    run = subprocess.run([sys.executable, "-m", "medmm", *map(str, words)], capture_output=True, text=True, check=False)
    assert run.returncode == code, run.stderr + run.stdout
    return run


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    """Eight CT studies, each a folder of slices with its report beside them."""
    place = tmp_path_factory.mktemp("ct")
    words = ("data.phantom.modality=ct", "data.phantom.volume_format=dicom", "data.phantom.volume_shape=[16,32,32]")
    medmm("phantom", "--studies", 8, "--out", place / "phantom", *words)
    folder = place / "studies"
    for study in sorted(path for path in (place / "phantom").iterdir() if path.name.isdecimal()):
        shutil.copytree(study, folder / study.name)
    return folder


def test_volumes_are_counted_trained_on_and_scored(studies, tmp_path):
    medmm("index", "--data", f"dicom:{studies}", "--out", tmp_path / "index", "--deep")
    counts = json.loads((tmp_path / "index" / "pairing.json").read_text())["counts"]
    assert (counts["studies"], counts["images"], counts["paired"]) == (8, 8, 8)
    medmm("finetune", "--task", "report_gen", "--data", f"dicom:{studies}", "--out", tmp_path / "run", *SMALL)
    medmm("score", "--run", tmp_path / "run", "--input", studies, "--out", tmp_path / "scored")
    lines = [json.loads(line) for line in (tmp_path / "scored" / "predictions.jsonl").read_text().splitlines()]
    assert len(lines) == 8
    assert all(len(line["sources"]) == 1 and line["notes"] == [] for line in lines)
    medmm("score", "--run", tmp_path / "run", "--input", studies, "--out", tmp_path / "scored", "--resume")
    manifest = json.loads((tmp_path / "scored" / "manifest.json").read_text())
    assert (manifest["counts"]["scored"], manifest["counts"]["skipped"]) == (0, 8)
