"""Classifiers, models that outline and models that answer against other runs of theirs, and what is refused."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from medmm.config.load import to_yaml
from medmm.config.schema import Config, SplitConfig
from medmm.data.case_grid import CaseGrid
from medmm.data.manifest import Manifest, build
from medmm.errors import DataError
from medmm.scoring import classification_evaluation, other_runs, segmentation_evaluation, vqa_evaluation
from medmm.scoring.differences import holm
from medmm.scoring.evaluation import Others, Request
from medmm.scoring.outline_samples import OutlineMaterial, OutlineSample
from medmm.types import Finding, Prediction, Status

SETTINGS = {
    "preprocess": {"size": 64}, "data": {"reader": "table", "path": "x.csv"},
    "evaluate": {"bootstrap": 100, "min_positives": 2, "baselines": False}, "score": {"workers": 0},
}  # fmt: skip
NAMES = ("edema", "effusion")


class Grey:
    """Says of a study what ``said`` holds for its grey level, and gives each class the probability there."""

    finding_names = NAMES

    def __init__(self, said, manifest, weights="a"):
        self.said, self.config, self.preprocess_hash = said, Config.model_validate(SETTINGS), "p" * 64
        self.provenance = {"weights_sha256": weights * 64, "data_hash": manifest.data_hash}

    def predict_batch(self, images, view_mask, study_ids, questions=None, shown=True):
        levels = np.rint(images[:, 0].mean(axis=(1, 2, 3)) * 255).astype(int) // 10
        return [self.say(one, self.said[level]) for one, level in zip(study_ids, levels, strict=True)]

    def say(self, study_id, said):
        if isinstance(said, str):
            return Prediction(study_id, answer=said)
        statuses = [Status.PRESENT if p > 0.5 else Status.ABSENT for p in said]
        pairs = zip(self.finding_names, statuses, said, strict=True)
        return Prediction(study_id, {name: Finding(status, probability=p) for name, status, p in pairs})


@pytest.fixture
def studies(make_study):
    """Twenty-four studies of twelve patients, four grey levels; the first two show edema, the even effusion."""
    made = []
    for number in range(24):
        level, statuses = number % 4, (Status.PRESENT, Status.ABSENT)
        findings = {"edema": Finding(statuses[level > 1]), "effusion": Finding(statuses[level % 2])}
        study = make_study(f"s{number}", 10 * level, None, patient=f"p{number // 2}", findings=findings)
        asked = (("Is there edema?", "yes" if level < 2 else "no"), ("Which side?", "left"), ("Which side?", "right"))
        made.append(replace(study, questions=asked))
    return made


@pytest.fixture
def world(tmp_path, studies):
    """Evaluates a model into a folder of that name: ``world(task, name, said, weights=, seed=, others…)``."""
    build(studies, tmp_path / "m.parquet", SplitConfig(val=0), lambda rejection: None)
    manifest = Manifest.open(tmp_path / "m.parquet")
    modules = {"classification": classification_evaluation, "vqa": vqa_evaluation}

    def run(task, name, said, weights="a", seed=0, names=NAMES, **others):
        model = Grey(said, manifest, weights)
        model.finding_names = names
        config = Config.model_validate({**SETTINGS, "task": task})
        trained = {"seed": seed, "recipe_sha256": "r"}
        request = Request(manifest, config, "test", tmp_path / name, others=Others(**others), trained=trained)
        return modules[task].evaluate_model(model, request)

    run.place, run.manifest = tmp_path, manifest
    return run


SURE = [(0.9, 0.8), (0.7, 0.2), (0.2, 0.9), (0.1, 0.3)]
"""Right of every level."""
POOR = [(0.9, 0.8), (0.3, 0.2), (0.4, 0.9), (0.1, 0.3)]
"""Misses the edema of the second level."""


def test_classifiers_are_compared_by_what_each_scores_alone(world):
    poor = world("classification", "poor", POOR, weights="b", seed=1)
    found = world("classification", "sure", SURE, against=world.place / "poor")
    against = found.metrics["against"]
    for name, entry in against["metrics"].items():
        assert (entry["this"], entry["other"]) == (found.metrics["test"][name], poor.metrics["test"][name])
    edema = against["metrics"]["auroc/edema"]
    assert (edema["this"], edema["other"]) == (1.0, pytest.approx(0.75))  # 0.3 lies below 0.4
    assert edema["ci95"][0] <= 0.25 <= edema["ci95"][1]
    assert against["mcnemar"]["f1/edema"] == {"only_this": 6, "only_other": 0, "p": pytest.approx(2 / 2**6)}
    p = {name: against["metrics"][name]["p_permutation"] for name in against["main"]}
    assert {name: against["metrics"][name]["p_holm"] for name in p} == pytest.approx(holm(p))
    assert {"auroc_macro", "sensitivity_macro", "ece"} <= set(p)
    assert not [name for name in p if "/" in name]
    page = (world.place / "sure" / "metrics.md").read_text()
    assert "## Against another run" in page
    assert "![Differences of the main metrics with their intervals](differences.png)" in page
    assert (world.place / "sure" / "differences.png").read_bytes().startswith(b"\x89PNG")
    lines = (world.place / "sure" / f"drafts-{'b' * 8}.jsonl").read_text().splitlines()
    assert json.loads(lines[1])["findings"]["edema"]["probability"] == POOR[1][0]
    world("classification", "sure", SURE)
    assert not (world.place / "sure" / "differences.png").exists()


def test_classifiers_of_several_seeds_are_summarised(world):
    values = [world("classification", name, said, weights=name, seed=seed).metrics["test"]["auroc/edema"]
              for seed, (name, said) in enumerate((("b", POOR), ("c", [(0.5, 0.5)] * 4)), 1)]  # fmt: skip
    assert values == [0.75, 0.5]
    found = world("classification", "a", SURE, seeds=tuple(world.place / name for name in "bc")).metrics["seeds"]
    entry = found["metrics"]["auroc/edema"]
    assert (entry["values"], entry["mean"]) == ([1.0, 0.75, 0.5], pytest.approx(0.75))
    assert entry["sd"] == pytest.approx(0.25)
    assert ([run["seed"] for run in found["runs"]], found["notes"]) == ([0, 1, 2], [])


def test_other_classes_and_other_labels_are_refused_by_name(world, monkeypatch):
    world("classification", "other", POOR, names=("edema", "pneumonia"))
    with pytest.raises(DataError, match="got classes edema, pneumonia; expected classes edema, effusion"):
        world("classification", "own", SURE, against=world.place / "other")
    world("classification", "same", POOR)
    file = world.place / "same" / "predictions.jsonl"
    file.write_text(file.read_text().replace('"truth": "present"', '"truth": "absent"', 3))
    with pytest.raises(DataError, match="got labels 2 that differ"):
        world("classification", "own", SURE, against=world.place / "same")
    _asked(world, monkeypatch, Grey(POOR, world.manifest), "classification").finding_names = ("edema",)
    with pytest.raises(DataError, match="knows other classes.*got edema; expected edema, effusion"):
        world("classification", "own", SURE, against=world.place / "run")


def test_another_task_or_kind_is_refused_before_anything_is_predicted(world):
    world("vqa", "other", ["yes"] * 4)
    with pytest.raises(DataError, match="got task vqa; expected task classification"):
        world("classification", "own", SURE, against=world.place / "other")
    run = world.place / "run"
    run.mkdir()
    single = {**SETTINGS, "task": "classification", "classification": {"kind": "single"}}
    (run / "config.yaml").write_text(to_yaml(Config.model_validate(single)))
    with pytest.raises(DataError, match="got classification.kind single; expected classification.kind multi"):
        world("classification", "own", SURE, against=run)
    assert not (world.place / "own").exists()


def _asked(world, monkeypatch, model, task):
    """A run directory whose model, once loaded, is ``model``."""
    (world.place / "run").mkdir()
    config = Config.model_validate({**SETTINGS, "task": task})
    (world.place / "run" / "config.yaml").write_text(to_yaml(config))
    monkeypatch.setattr("medmm.training.run.load", lambda run, device: model)
    monkeypatch.setattr(other_runs, "adopt", lambda model, config: model)
    return model


@pytest.mark.parametrize(
    ("task", "said"), [("classification", (SURE, POOR)), ("vqa", (["yes"] * 4, ["no", "yes"] * 2))]
)
def test_a_run_that_is_asked_anew_says_what_its_evaluation_says(world, monkeypatch, task, said):
    world(task, "stored", said[1], weights="b")
    stored = world(task, "one", said[0], against=world.place / "stored").metrics["against"]
    _asked(world, monkeypatch, Grey(said[1], world.manifest, "b"), task)
    anew = world(task, "two", said[0], against=world.place / "run").metrics["against"]
    assert (stored["metrics"], stored["mcnemar"]) == (anew["metrics"], anew["mcnemar"])
    assert (anew["run"]["predictions"], anew["run"]["weights_sha256"]) == ("made anew", "b" * 64)
    assert (stored["notes"], anew["notes"]) == ([], [])


def test_answers_are_compared_question_by_question(world):
    world("vqa", "poor", ["left"] * 4, weights="b")
    found = world("vqa", "good", ["yes", "yes", "no", "no"], against=world.place / "poor").metrics["against"]
    accuracy = found["metrics"]["accuracy"]
    assert (accuracy["this"], accuracy["other"]) == (pytest.approx(24 / 72), pytest.approx(24 / 72))
    assert found["metrics"]["accuracy_closed"]["difference"] == 1.0
    assert found["mcnemar"]["accuracy"] == {"only_this": 24, "only_other": 24, "p": 1.0}
    assert found["main"] == ["accuracy", "accuracy_closed", "accuracy_open", "token_f1", "bleu_1"]
    assert found["identical"] == 0.0
    assert "## Against another run" in (world.place / "good" / "metrics.md").read_text()


def test_other_questions_are_refused_by_number(world):
    world("vqa", "other", ["yes"] * 4)
    file = world.place / "other" / "predictions.jsonl"
    text = file.read_text()
    file.write_text(text.replace("Which side?", "Which lung?", 1))
    with pytest.raises(DataError, match="got questions 72, 2 of them not in both; expected questions 72"):
        world("vqa", "own", ["no"] * 4, against=world.place / "other")
    file.write_text(text.replace('"reference": "left"', '"reference": "both"', 5))
    with pytest.raises(DataError, match="got right answers 5 that differ"):
        world("vqa", "own", ["no"] * 4, against=world.place / "other")


def _material(quality, classes):
    """Outlines of twelve patients; of the fourth, the spleen is missed."""
    rows = []
    for number in range(12):
        figures = {name: {"dice": quality + 0.01 * number, "iou": 0.5, "hd95": 4.0 - quality} for name in classes}
        figures["spleen"] |= {"dice": 0.0} if number == 3 else {}
        coded = np.zeros((4, 4), np.uint8)
        sizes = dict.fromkeys(classes, (10, 12))
        rows.append(OutlineSample(f"s{number}", f"p{number}", "test", figures, sizes, (), (1.0, 1.0), coded, coded))
    return OutlineMaterial(rows)


@pytest.fixture
def outlined(world, monkeypatch):
    """Evaluates outlines of a quality into a folder of that name: ``outlined(name, quality, classes=, **others)``."""

    def run(name, quality, classes=("liver", "spleen"), **others):
        flags = np.zeros(len(classes), bool)
        code, model = SimpleNamespace(classes=classes), SimpleNamespace(largest=flags, filled=flags)
        task = SimpleNamespace(code=code, lesions=(), grid=CaseGrid((64, 64)), model=model)
        monkeypatch.setattr(segmentation_evaluation, "segmentation_of", lambda model: task)
        monkeypatch.setattr(segmentation_evaluation, "outline_all", lambda *words: _material(quality, classes))
        config = Config.model_validate({**SETTINGS, "task": "segmentation"})
        request = Request(world.manifest, config, "test", world.place / name, others=Others(**others))
        return segmentation_evaluation.evaluate_model(Grey((), world.manifest, name[0]), request)

    return run


def test_outlines_are_compared_from_predictions(outlined, world):
    outlined("b", 0.5)
    found = outlined("a", 0.7, against=world.place / "b").metrics["against"]
    entry = found["metrics"]["dice/liver"]
    assert (entry["this"], entry["other"]) == (pytest.approx(0.755), pytest.approx(0.555))
    assert entry["ci95"] == pytest.approx([0.2, 0.2])
    assert found["metrics"]["dice_mean"]["difference"] == pytest.approx((0.2 + 0.2 * 11 / 12) / 2)
    assert found["metrics"]["hd95_mm"]["difference"] == pytest.approx(-0.2)
    assert found["metrics"]["iou_mean"]["p_holm"] == 1.0
    assert found["metrics"]["dice_mean"]["p_holm"] < 0.02
    assert (found["main"], found["mcnemar"]) == (["dice_mean", "iou_mean", "hd95_mm"], {})
    seeds = outlined("a", 0.7, seeds=(world.place / "b",)).metrics["seeds"]["metrics"]["hd95_mm"]
    assert seeds["values"] == pytest.approx([3.3, 3.5])


def test_outlines_of_other_classes_or_masks_are_refused_by_name(outlined, world):
    outlined("b", 0.5, classes=("liver", "spleen", "kidney"))
    with pytest.raises(DataError, match="got classes liver, spleen, kidney; expected classes liver, spleen"):
        outlined("a", 0.7, against=world.place / "b")
    outlined("c", 0.5)
    file = world.place / "c" / "predictions.jsonl"
    file.write_text(file.read_text().replace('"voxels_true": 12', '"voxels_true": 13', 1))
    with pytest.raises(DataError, match="got masks 1 that differ"):
        outlined("a", 0.7, against=world.place / "c")
