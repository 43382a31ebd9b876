"""Evaluation and scoring of answers, with a model whose answers can be worked out by hand."""

import json
from dataclasses import replace

import pytest

from medmm.config.schema import Config, SplitConfig
from medmm.data import manifest as manifests
from medmm.errors import CheckpointError, DataError, UsageError
from medmm.scoring import engine, sources
from medmm.scoring.evaluation import Others
from medmm.scoring.vqa_evaluation import evaluate_model
from medmm.types import Prediction

BRIGHT = 100
CONFIG = Config.model_validate(
    {
        "task": "vqa", "preprocess": {"size": 64}, "data": {"reader": "table", "path": "x.csv"},
        "evaluate": {"bootstrap": 200}, "generate": {"batch_size": 3},
        "score": {"workers": 0, "batch_size": 2, "questions": ["Is it bright?", "How is it?"]},
    }
)  # fmt: skip


class Looker:
    """Says whether the first view is bright; without image it says no, and to other questions ``grey``."""

    finding_names = ()

    def __init__(self, config=CONFIG):
        self.config, self.preprocess_hash = config, "p" * 64
        self.provenance = {"weights_sha256": "w" * 64}
        self.batches = []

    def predict_batch(self, images, view_mask, study_ids, questions=None, shown=True):
        self.batches.append(len(study_ids))
        assert len(questions) == len(study_ids) == len(images)
        levels = images[:, 0].mean(axis=(1, 2, 3)) * 255
        return [
            Prediction(one, answer=self.say(asked, level > BRIGHT and shown), provenance=self.provenance)
            for one, asked, level in zip(study_ids, questions, levels, strict=True)
        ]

    @staticmethod
    def say(asked, bright):
        return ("Yes" if bright else "no") if asked.startswith("Is") else "grey"


@pytest.fixture
def manifest(tmp_path, make_study):
    """Forty images of twenty patients, of two to four questions each; every second image is bright."""
    studies = []
    for number in range(40):
        bright = number % 2 == 1
        made = make_study(f"s{number}", 180 if bright else 20, None, patient=f"p{number // 2}", noise=number + 1)
        asked = [("Is it bright?", "yes" if bright else "no"), ("How is it?", "Grey." if number % 4 else "black")]
        asked += [("Is it dark or light?", "dark")] * (number % 3)
        studies.append(replace(made, questions=tuple(asked), split="test" if number < 36 else "train"))
    manifests.build(studies, tmp_path / "manifest.parquet", SplitConfig(val=0), lambda rejection: None)
    return manifests.Manifest.open(tmp_path / "manifest.parquet")


def test_figures_baselines_and_gain_follow_from_the_answers(manifest, tmp_path):
    model = Looker()
    found = evaluate_model(model, manifest, CONFIG, "test", tmp_path / "out", trained={"seed": 7})
    test, blind = found.metrics["test"], found.metrics["baselines"]["no_image"]
    choices = sum(number % 3 for number in range(36))
    number = 36 * 2 + choices
    assert test == {
        "accuracy": pytest.approx((36 + 27) / number),
        "accuracy_closed": pytest.approx(36 / (36 + choices)),
        "accuracy_open": pytest.approx(27 / 36),
        "accuracy/yes_no": 1.0,
        "accuracy/choice": 0.0,
        "accuracy/other": pytest.approx(27 / 36),
        "token_f1": pytest.approx(27 / 36),
        "bleu_1": pytest.approx(27 / 36),
    }
    assert blind["accuracy/yes_no"] == 0.5
    assert blind["accuracy"] == pytest.approx((18 + 27) / number)
    gain = found.metrics["differences"]["no_image"]["accuracy"]
    assert gain["difference"] == pytest.approx(18 / number)
    assert 0 < gain["ci95"][0] < gain["difference"] < gain["ci95"][1]
    swapped = found.metrics["baselines"]["swapped_image"]
    assert swapped["accuracy/other"] == test["accuracy/other"]
    frequent = found.metrics["baselines"]["most_frequent"]  # in training: Grey.
    assert (frequent["accuracy_open"], frequent["accuracy_closed"]) == (pytest.approx(27 / 36), 0.0)
    assert max(model.batches) == 3
    counts = found.metrics["card"]["counts"]
    assert (counts["questions"], counts["studies"], counts["patients"]) == (number, 36, 18)
    assert found.metrics["card"]["run"]["seed"] == 7
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["test"] == test


def test_each_question_has_its_line_and_the_page_its_tables(manifest, tmp_path):
    found = evaluate_model(Looker(), manifest, CONFIG, "test", tmp_path / "out")
    lines = [json.loads(line) for line in (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()]
    assert len(lines) == found.metrics["card"]["counts"]["questions"]
    first = {name: lines[2][name] for name in ("study_id", "question", "reference", "answer", "no_image", "right")}
    assert first == {
        "study_id": "s1", "question": "Is it bright?", "reference": "yes", "answer": "Yes", "no_image": "no",
        "right": True,
    }  # fmt: skip
    assert (lines[2]["closed"], lines[2]["kind"]) == (True, "yes_no")
    page = (tmp_path / "out" / "metrics.md").read_text()
    assert "| accuracy | 108 |" in page
    assert "What the image is worth" in page


def test_a_model_that_images_do_not_help_is_said_to_be_one(manifest, tmp_path):
    class Blind(Looker):
        say = staticmethod(lambda asked, bright: "no")

    found = evaluate_model(Blind(), manifest, CONFIG, "test", tmp_path / "out")
    assert found.metrics["differences"]["no_image"]["accuracy"]["difference"] == 0
    assert any("not shown that the images help" in sentence for sentence in found.warnings)
    good = evaluate_model(Looker(), manifest, CONFIG, "test", tmp_path / "out")
    assert not any("not shown" in sentence for sentence in good.warnings)


def test_images_that_cannot_be_read_are_counted_and_nothing_to_ask_is_refused(manifest, tmp_path):
    broken = next(manifest.studies("test"))
    broken.images[0].path.write_bytes(b"no image")
    found = evaluate_model(Looker(), manifest, CONFIG, "test", tmp_path / "out")
    assert found.broken == 1
    assert found.metrics["card"]["counts"]["studies"] == 35
    assert sum(found.metrics["card"]["counts"]["left_out"].values()) == 1
    with pytest.raises(DataError, match="no question"):
        evaluate_model(Looker(), manifest, CONFIG, "val", tmp_path / "none")


def test_other_runs_are_refused(manifest, tmp_path):
    with pytest.raises(UsageError, match="report generators"):
        evaluate_model(Looker(), manifest, CONFIG, "test", tmp_path / "out", others=Others(against=tmp_path))


def score(folder, out, config=CONFIG, resume=False):
    listing = sources.list_files(folder, apart_from=out)
    return engine.score_listing(listing, Looker(config), out, config, resume=resume)


def with_questions(*questions, task="vqa"):
    score = CONFIG.score.model_copy(update={"questions": questions})
    return CONFIG.model_copy(update={"score": score, "task": task})


def test_every_study_that_is_scored_is_asked_every_question(tmp_path, pictures):
    out = tmp_path / "out"
    assert score(pictures, out).scored == 7
    lines = [json.loads(text) for text in (out / "predictions.jsonl").read_text().splitlines()]
    assert len(lines) == 7
    assert lines[0]["answers"] == [
        {"question": "Is it bright?", "answer": "no"}, {"question": "How is it?", "answer": "grey"}
    ]  # fmt: skip
    assert lines[0]["report"] is None
    assert score(pictures, out, resume=True).resumed == 7
    with pytest.raises(CheckpointError, match="questions"):
        score(pictures, out, with_questions("Is it dark?"), resume=True)


@pytest.mark.parametrize(("questions", "task"), [((), "vqa"), ((" ",), "vqa"), (("Is it bright?",), "report_gen")])
def test_questions_that_do_not_fit_the_run_are_refused(tmp_path, pictures, questions, task):
    with pytest.raises(UsageError, match=r"question"):
        score(pictures, tmp_path / "out", with_questions(*questions, task=task))
    assert not (tmp_path / "out").exists()
