"""Evaluation and scoring of answers, with a model whose answers can be worked out by hand."""

import json
from dataclasses import replace

import pytest

from medmm.config.schema import Config, SplitConfig
from medmm.config.tasks import ReliabilityConfig
from medmm.data import manifest as manifests
from medmm.errors import CheckpointError, DataError, UsageError
from medmm.scoring import engine, sources
from medmm.scoring.evaluation import Request
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
    found = evaluate_model(model, Request(manifest, CONFIG, "test", tmp_path / "out", trained={"seed": 7}))
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
    found = evaluate_model(Looker(), Request(manifest, CONFIG, "test", tmp_path / "out"))
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

    found = evaluate_model(Blind(), Request(manifest, CONFIG, "test", tmp_path / "out"))
    assert found.metrics["differences"]["no_image"]["accuracy"]["difference"] == 0
    assert any("not shown that the images help" in sentence for sentence in found.warnings)
    good = evaluate_model(Looker(), Request(manifest, CONFIG, "test", tmp_path / "out"))
    assert not any("not shown" in sentence for sentence in good.warnings)


def test_images_that_cannot_be_read_are_counted_and_nothing_to_ask_is_refused(manifest, tmp_path):
    broken = next(manifest.studies("test"))
    broken.images[0].path.write_bytes(b"no image")
    found = evaluate_model(Looker(), Request(manifest, CONFIG, "test", tmp_path / "out"))
    assert found.broken == 1
    assert found.metrics["card"]["counts"]["studies"] == 35
    assert sum(found.metrics["card"]["counts"]["left_out"].values()) == 1
    with pytest.raises(DataError, match="no question"):
        evaluate_model(Looker(), Request(manifest, CONFIG, "val", tmp_path / "none"))


class Sure(Looker):
    """Is sure of what it says of brightness, and declines to say how an image is."""

    def predict_batch(self, images, view_mask, study_ids, questions=None, shown=True):
        said = super().predict_batch(images, view_mask, study_ids, questions, shown)
        sure = [asked.startswith("Is") for asked in questions]
        return [
            replace(one, confidence=0.9 if own else 0.25, abstained=not own, notes=() if own else ("too unsure",))
            for one, own in zip(said, sure, strict=True)
        ]


def test_confidences_are_held_against_what_was_right(manifest, tmp_path):
    found = evaluate_model(Sure(), Request(manifest, CONFIG, "test", tmp_path / "out"))
    test, ci95 = found.metrics["test"], found.metrics["ci95"]
    choices = sum(number % 3 for number in range(36))
    number = 36 * 2 + choices  # 36 right of those it is sure of, 27 of the 36 others
    assert test["declined_share"] == pytest.approx(36 / number)
    assert test["wrong_share"] == pytest.approx(choices / (36 + choices))
    assert test["ece"] == pytest.approx((abs(0.9 * (36 + choices) - 36) + abs(0.25 * 36 - 27)) / number)
    assert all(ci95[name][0] <= test[name] <= ci95[name][1] for name in ("ece", "aurc", "wrong_share"))
    bins = found.metrics["reliability"]["bins"]
    assert [(one["probability"], one["answers"]) for one in bins] == [(0.25, 36), (pytest.approx(0.9), 36 + choices)]
    assert [one["right"] for one in bins] == [pytest.approx(0.75), pytest.approx(36 / (36 + choices))]
    for picture in ("reliability.png", "risk_coverage.png"):
        assert (tmp_path / "out" / picture).read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "out" / "metrics.md").read_text()
    assert "| ece ↓ |" in page
    assert "](risk_coverage.png)" in page
    line = json.loads((tmp_path / "out" / "predictions.jsonl").read_text().splitlines()[1])
    assert (line["answer"], line["confidence"], line["abstained"]) == ("grey", 0.25, True)


def test_groups_of_patients_have_figures_of_their_own(manifest, tmp_path):
    studies = [replace(one, sex="FM"[place % 2]) for place, one in enumerate(manifest.studies("all"))]
    more = [replace(one, study_id=f"{one.study_id}+", patient_key=f"{one.patient_key}+") for one in studies]
    manifests.build([*studies, *more], tmp_path / "more.parquet", SplitConfig(val=0), lambda rejection: None)
    asked = Request(manifests.Manifest.open(tmp_path / "more.parquet"), CONFIG, "test", tmp_path / "out")
    found = evaluate_model(Sure(), asked)
    groups = found.metrics["subgroups"]["sex"]
    assert {value: group["studies"] for value, group in groups.items()} == {"F": 36, "M": 36}
    lines = [json.loads(text) for text in (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()]
    sex = {one.study_id: one.sex for one in [*studies, *more]}
    for value, group in groups.items():
        own = [line["right"] for line in lines if sex[line["study_id"]] == value]
        assert group["accuracy"]["value"] == pytest.approx(sum(own) / len(own))
        assert group["accuracy"]["ci95"][0] <= group["accuracy"]["value"] <= group["accuracy"]["ci95"][1]
    assert "| sex: F | 36 |" in (tmp_path / "out" / "metrics.md").read_text()


def test_that_everything_is_declined_is_said(manifest, tmp_path):
    class Silent(Looker):
        def predict_batch(self, *given):
            return [replace(one, confidence=0.5, abstained=True) for one in super().predict_batch(*given)]

    config = CONFIG.model_copy(update={"reliability": ReliabilityConfig(most_wrong=0.05)})
    found = evaluate_model(Silent(), Request(manifest, config, "test", tmp_path / "out"))
    assert found.metrics["test"]["declined_share"] == 1
    assert "wrong_share" not in found.metrics["test"]
    assert any("at most 5% of them are wrong cannot be promised" in sentence for sentence in found.warnings)


def score(folder, out, config=CONFIG, resume=False, kind=Looker):
    listing = sources.list_files(folder, apart_from=out)
    return engine.score_listing(listing, kind(config), out, config, resume=resume)


def test_each_answer_of_a_scored_study_says_how_sure_it_is(tmp_path, pictures):
    score(pictures, tmp_path / "out", kind=Sure)
    line = json.loads((tmp_path / "out" / "predictions.jsonl").read_text().splitlines()[0])
    assert [(one["confidence"], one["abstained"]) for one in line["answers"]] == [(0.9, False), (0.25, True)]
    assert line["abstained"] is False  # one of its questions is answered
    assert line["notes"] == ["too unsure"]


def with_questions(*questions, task="vqa"):
    score = CONFIG.score.model_copy(update={"questions": questions})
    return CONFIG.model_copy(update={"score": score, "task": task})


def test_every_study_that_is_scored_is_asked_every_question(tmp_path, pictures):
    out = tmp_path / "out"
    assert score(pictures, out).scored == 7
    lines = [json.loads(text) for text in (out / "predictions.jsonl").read_text().splitlines()]
    assert len(lines) == 7
    assert lines[0]["answers"] == [
        {"question": "Is it bright?", "answer": "no", "confidence": None, "abstained": False},
        {"question": "How is it?", "answer": "grey", "confidence": None, "abstained": False},
    ]
    assert lines[0]["report"] is None
    assert score(pictures, out, resume=True).resumed == 7
    with pytest.raises(CheckpointError, match="questions"):
        score(pictures, out, with_questions("Is it dark?"), resume=True)


@pytest.mark.parametrize(("questions", "task"), [((), "vqa"), ((" ",), "vqa"), (("Is it bright?",), "report_gen")])
def test_questions_that_do_not_fit_the_run_are_refused(tmp_path, pictures, questions, task):
    with pytest.raises(UsageError, match=r"question"):
        score(pictures, tmp_path / "out", with_questions(*questions, task=task))
    assert not (tmp_path / "out").exists()
