"""Regression through the command line: a table with numbers, finetune, evaluate, score, and the Python door."""

from __future__ import annotations

import csv
import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
from sklearn import metrics as peer

import medmm
from medmm import registry

NUMBER, NIGHT = 120, 3
SMALL = (
    "train.steps=60", "train.batch_size=8", "train.lr=3e-3", "train.augment.intensity=0", "train.augment.scale=0",
    "preprocess.size=32", "model.encoder.width=32", "evaluate.bootstrap=200", "tracking.enabled=false",
    "data.splits.val=0.3", "data.splits.test=0.3", "reliability.coverage=0.8",
)  # fmt: skip
COLUMNS = (
    "data.columns.image=file", "data.columns.patient=who", "data.columns.label=[size, grey]",
    "classification.kind=regression",
)  # fmt: skip


def run(*words, code=0):
    done = subprocess.run(
        [sys.executable, "-m", "medmm", *map(str, words)], capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr + done.stdout
    return done


def stage(name, *words):
    """In this process, which has torch already."""
    with pytest.raises(SystemExit) as ended:
        registry.resolve("stage", name)([str(word) for word in words])
    assert ended.value.code == 0


def disc(rng):
    """A bright disc on noise, 48 x 48, its radius and its grey value."""
    radius, grey = rng.uniform(4, 18), rng.uniform(120, 250)
    image = rng.integers(0, 40, (48, 48)).astype(np.uint8)
    cv2.circle(image, (24, 24), round(radius), int(grey), -1)
    return image, round(radius) / 10, int(grey)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a table, a run that learned its numbers and its evaluation."""
    place = tmp_path_factory.mktemp("measured")
    rng = np.random.default_rng(0)
    rows = []
    for number in range(NUMBER):
        image, size, grey = disc(rng)
        cv2.imwrite(str(place / f"{number}.png"), image)
        rows.append({"file": f"{number}.png", "who": f"p{number}", "size": size, "grey": grey, "sign": "round"})
    rows[0] |= {"size": "large", "grey": "inf"}
    rows[1] |= {"size": "", "grey": ""}
    rows[2] |= {"size": "nan"}
    with (place / "t.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    words = ("--data", f"table:{place / 't.csv'}", *COLUMNS, *SMALL)
    run("finetune", "--task", "classification", "--out", place / "run", *words)
    stage("evaluate", "--run", place / "run", "--out", place / "evaluation", "--split", "all")
    return place


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_figures_stand_beside_baselines_and_can_be_computed_again(place):
    metrics = json.loads((place / "evaluation" / "metrics.json").read_text())
    said = lines(place / "evaluation" / "predictions.jsonl")
    assert len(said) == metrics["card"]["counts"]["studies"] == NUMBER - 2
    assert metrics["card"]["counts"]["left_out"] == {"label_missing": 2}
    assert set(metrics["baselines"]) == {"most_frequent", "nearest_image", "swapped_image"}
    for name in ("size", "grey"):
        own = [one["values"][name] for one in said if one["values"][name]["truth"] is not None]
        truth, value = ([one[key] for one in own] for key in ("truth", "value"))
        held = [one["interval"][0] <= one["truth"] <= one["interval"][1] for one in own]
        assert metrics["card"]["counts"]["known"][name] == len(own)
        assert metrics["test"][f"mae/{name}"] == pytest.approx(peer.mean_absolute_error(truth, value), rel=1e-5)
        assert metrics["test"][f"rmse/{name}"] == pytest.approx(peer.root_mean_squared_error(truth, value), rel=1e-5)
        assert metrics["test"][f"r2/{name}"] == pytest.approx(peer.r2_score(truth, value), rel=1e-5)
        assert metrics["test"][f"pearson/{name}"] == pytest.approx(np.corrcoef(truth, value)[0, 1], rel=1e-5)
        # the study that set the margin lies on the very end of its interval: rounding may put it out
        assert metrics["test"][f"coverage/{name}"] == pytest.approx(np.mean(held), abs=1.5 / len(own))
        for figure in ("mae", "rmse", "r2", "pearson", "coverage"):
            low, high = metrics["ci95"][f"{figure}/{name}"]
            assert low <= metrics["test"][f"{figure}/{name}"] <= high
        assert f"pearson/{name}" not in metrics["baselines"]["most_frequent"]
        assert metrics["test"][f"mae/{name}"] < metrics["baselines"]["swapped_image"][f"mae/{name}"]
    assert metrics["card"]["coverage"] == 0.8
    assert (place / "evaluation" / "scatter.png").read_bytes().startswith(b"\x89PNG")
    assert "mae/size" in (place / "run" / "MODEL_CARD.md").read_text()


def test_the_median_is_that_of_training(place):
    metrics = json.loads((place / "evaluation" / "metrics.json").read_text())
    values = {one["study_id"]: one for one in lines(place / "evaluation" / "predictions.jsonl")}.values()
    sizes = [(one["split"], one["values"]["size"]["truth"]) for one in values]
    median = np.median([size for split, size in sizes if split == "train" and size is not None])
    errors = [abs(size - median) for _, size in sizes if size is not None]
    assert metrics["baselines"]["most_frequent"]["mae/size"] == pytest.approx(np.mean(errors))


def test_scoring_and_the_python_door_say_value_and_interval(place):
    night = place / "night"
    night.mkdir()
    rng = np.random.default_rng(1)
    for number in range(NIGHT):
        cv2.imwrite(str(night / f"{number}.png"), disc(rng)[0])
    stage("score", "--run", place / "run", "--input", night, "--out", place / "scored")
    scored = lines(place / "scored" / "predictions.jsonl")
    assert [set(one["values"]) for one in scored] == [{"size", "grey"}] * NIGHT
    assert [one["findings"] for one in scored] == [{}] * NIGHT
    model = medmm.load(place / "run", device="cpu")
    for one in scored:
        said = model.predict(night / one["sources"][0]).values["size"]
        assert one["values"]["size"]["value"] == pytest.approx(said.value, rel=1e-4)
        assert one["values"]["size"]["interval"] == pytest.approx([said.low, said.high], rel=1e-4)
        assert said.low < said.value < said.high


def test_what_is_no_number_is_set_aside_and_a_column_without_any_refused(place):
    aside = lines(place / "run" / "quarantine.jsonl")
    assert {one["reason"] for one in aside} <= {"label_missing"}
    words = ("--data", f"table:{place / 't.csv'}", *COLUMNS, *SMALL, "data.columns.label=sign")
    said = run("finetune", "--task", "classification", "--out", place / "none", *words, code=2).stderr
    assert "data.columns.label: a column without numbers; got 'sign' with a number in 0 of" in said
