"""Classification through the command line: phantom, finetune, evaluate, score."""

from __future__ import annotations

import json
import math
import stat
import subprocess
import sys

import pytest

import medmm

SMALL = (
    "train.steps=10", "train.batch_size=4", "preprocess.size=64", "model.encoder.width=32",
    "classification.minimum=3", "evaluate.bootstrap=100", "evaluate.min_positives=2", "tracking.enabled=false",
)  # fmt: skip


def run(*words, code=0, cwd=None):
    done = subprocess.run(
        [sys.executable, "-m", "medmm", *map(str, words)], capture_output=True, text=True, cwd=cwd, check=False
    )
    assert done.returncode == code, done.stderr + done.stdout
    return done


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with 60 phantom studies, a classifier of them and its evaluation."""
    place = tmp_path_factory.mktemp("classified")
    run("phantom", "--studies", 60, "--out", place / "phantom", "data.phantom.size=96")
    data = f"phantom:{place / 'phantom'}"
    run("finetune", "--task", "classification", "--data", data, "--out", place / "run", *SMALL)
    run("evaluate", "--run", place / "run", "--out", place / "evaluation", "evaluate.min_positives=2")
    return place


def test_figures_stand_beside_baselines_and_their_card(place):
    metrics = json.loads((place / "evaluation" / "metrics.json").read_text())
    for name in ("auroc_macro", "auprc_macro", "f1_macro", "ece"):
        assert math.isfinite(metrics["test"][name])
        assert metrics["ci95"][name][0] <= metrics["ci95"][name][1]
    assert set(metrics["baselines"]) == {"most_frequent", "nearest_image", "swapped_image"}
    assert metrics["baselines"]["most_frequent"]["auroc_macro"] == 0.5
    assert metrics["card"]["truth"] == "the data's own labels, else what the labeler reads in the report"
    for picture in ("roc.png", "reliability.png", "risk_coverage.png"):
        assert (place / "evaluation" / picture).read_bytes().startswith(b"\x89PNG")
    predictions = place / "evaluation" / "predictions.jsonl"
    assert len(predictions.read_text().splitlines()) == metrics["card"]["counts"]["studies"]
    assert stat.S_IMODE(predictions.stat().st_mode) == 0o600
    assert "auroc_macro" in (place / "run" / "MODEL_CARD.md").read_text()


def test_figures_can_be_computed_again_from_the_predictions(place):
    from sklearn.metrics import roc_auc_score

    metrics = json.loads((place / "evaluation" / "metrics.json").read_text())
    lines = [json.loads(line) for line in (place / "evaluation" / "predictions.jsonl").read_text().splitlines()]
    for name in metrics["card"]["averaged"]:
        pairs = [line["findings"][name] for line in lines if line["findings"][name]["truth"] != "uncertain"]
        again = roc_auc_score([one["truth"] == "present" for one in pairs], [one["probability"] for one in pairs])
        assert metrics["test"][f"auroc/{name}"] == pytest.approx(again, abs=1e-9)


def test_scoring_declines_what_it_cannot_promise(place):
    night = place / "night"
    run("phantom", "--studies", 3, "--seed", 7, "--out", night, "data.phantom.size=96")
    run("score", "--run", place / "run", "--input", night, "--out", place / "plain")
    run("score", "--run", place / "run", "--input", night, "--out", place / "strict", "reliability.most_wrong=0.01")
    plain, strict = (
        [json.loads(line) for line in (place / name / "predictions.jsonl").read_text().splitlines()]
        for name in ("plain", "strict")
    )
    assert {one["status"] for line in plain for one in line["findings"].values()} <= {"present", "absent"}
    assert {one["status"] for line in strict for one in line["findings"].values()} == {"uncertain"}
    assert all(line["abstained"] for line in strict)


def test_a_run_does_not_differ_from_itself_whether_read_or_asked_anew(place):
    for name, source in (("evaluation", "taken from its predictions.jsonl"), ("run", "made anew")):
        out = place / f"against-{name}"
        words = ("--against", place / name, "--out", out, "evaluate.min_positives=2", "evaluate.baselines=false")
        run("evaluate", "--run", place / "run", *words)
        found = json.loads((out / "metrics.json").read_text())["against"]
        assert (found["identical"], found["run"]["predictions"]) == (1.0, source)
        assert {entry["difference"] for entry in found["metrics"].values()} == {0.0}
        assert {"auroc_macro", "f1_macro", "ece", "brier"} <= set(found["main"])
        assert all(found["metrics"][name]["p_holm"] == 1.0 for name in found["main"])


def test_the_python_door_opens(place):
    model = medmm.load(place / "run")
    image = next((place / "phantom").rglob("*.dcm"))
    prediction = model.predict([image])
    assert prediction.report is None
    assert set(prediction.findings) == set(model.finding_names)


def test_what_goes_on_learning_after_another_run_is_counted(place):
    data = f"phantom:{place / 'phantom'}"
    words = ("--data", data, "--init", place / "run", "--out", place / "head", *SMALL, "train.adapt=head")
    said = run("finetune", "--task", "classification", *words).stdout
    record = json.loads((place / "head" / "run.json").read_text())
    assert record["init"]["encoder_taken"] == record["init"]["encoder"]
    assert 0 < record["parameters"]["learned"] < record["parameters"]["all"] / 2
    assert f"trained {record['parameters']['learned']:,} parameters" in said
