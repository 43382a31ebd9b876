"""A run of ``--task vqa`` from training to answers, evaluation and scores; and what may not be asked of it."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from medmm.config.schema import SplitConfig
from medmm.config.tasks import ReliabilityConfig
from medmm.config.vqa import VqaConfig
from medmm.data import manifest as manifests
from medmm.errors import UsageError
from medmm.scoring import engine
from medmm.scoring.evaluation import evaluate
from medmm.training import records
from medmm.training.loaded import load
from medmm.training.run import finetune
from medmm.training.served import say

PRESENT, SIDE = "Is there a nodule?", "On which side is it?"


@pytest.fixture(scope="module")
def asked(manifest, tmp_path_factory):
    """The studies of the fixture ``manifest`` with one or two questions each."""
    studies = []
    for study in manifest.studies("all"):
        side = (None, "left", "right")[int(study.study_id.split()[1]) % 3]
        questions = [(PRESENT, "yes" if side else "no")] + ([(SIDE, side)] if side else [])
        studies.append(replace(study, questions=tuple(questions), report=None, split=None))
    folder = tmp_path_factory.mktemp("asked")
    manifests.build(studies, folder / "manifest.parquet", SplitConfig(), lambda rejection: None)
    return manifests.Manifest.open(folder / "manifest.parquet")


@pytest.fixture(scope="module")
def settings(small):
    train = small.train.model_copy(update={"steps": 40, "accumulate": 1, "batch_size": 8, "validate_every": 20})
    score = small.score.model_copy(update={"questions": (PRESENT, SIDE), "workers": 0})
    own = {"task": "vqa", "vqa": VqaConfig(minimum=2), "train": train, "score": score}
    return small.model_copy(update=own)


@pytest.fixture(scope="module")
def run(asked, settings, tmp_path_factory):
    out = tmp_path_factory.mktemp("vqa")
    records.claim(out, settings, resume=False)
    finetune(settings, asked, out)
    return out


@pytest.fixture(scope="module")
def answerer(run):
    return load(run, "cpu")


def test_a_study_or_a_path_is_asked_a_question(answerer, asked):
    for study in asked.studies("test"):
        found = answerer.predict(study, question=SIDE)
        assert found.answer == answerer.predict(study.images[0].path, question=SIDE).answer
        assert found.answer
        assert (found.study_id, found.report, found.provenance["task"]) == (study.study_id, None, "vqa")
        assert answerer.predict(study).answer == answerer.predict(study, question=PRESENT).answer


def test_an_answer_says_how_sure_it_is_and_is_declined_where_nothing_can_be_promised(answerer, asked):
    study = next(asked.studies("test"))
    found = answerer.predict(study, question=PRESENT)
    assert 0 < found.confidence < 1
    assert not found.abstained
    own = answerer.task.config
    answerer.task.config = own.model_copy(update={"reliability": ReliabilityConfig(most_wrong=0.01)})
    strict = answerer.predict(study, question=PRESENT)
    answerer.task.config = own
    assert (strict.answer, strict.confidence, strict.abstained) == (found.answer, found.confidence, True)
    assert "too few questions" in strict.notes[0]


def test_a_question_of_ten_thousand_characters_is_answered_with_a_note(answerer, asked):
    study = next(asked.studies("test"))
    found = answerer.predict(study, question="Is there a nodule " * 600)
    assert found.notes == ("the question was cut at 48 tokens",)
    assert answerer.predict(study, question=PRESENT).notes == ()
    with pytest.raises(UsageError, match="too long"):
        answerer.predict(study, question="Is there a nodule " * 6000)
    for nothing in ("", " \n"):
        with pytest.raises(UsageError, match="says nothing"):
            answerer.predict(study, question=nothing)


def test_each_row_of_a_batch_has_its_question_and_order_does_not_matter(answerer, asked):
    study = next(asked.studies("test"))
    images = np.repeat(answerer.prepare(study)[None], 3, axis=0)
    mask, questions = np.ones((3, 1), bool), [PRESENT, SIDE, "Is it a nodule on which side?"]
    forward = answerer.predict_batch(images, mask, ["a", "b", "c"], questions)
    backward = answerer.predict_batch(images, mask, ["c", "b", "a"], questions[::-1])
    assert [one.answer for one in forward] == [one.answer for one in backward[::-1]]
    assert forward[0].answer == answerer.predict(study, question=PRESENT).answer
    dark = answerer.predict_batch(np.zeros_like(images), mask, ["a", "b", "c"], questions, shown=False)
    blind = answerer.predict_batch(images, mask, ["a", "b", "c"], questions, shown=False)
    assert [one.answer for one in dark] == [one.answer for one in blind]


def test_a_run_for_reports_answers_no_questions(trained, asked):
    with pytest.raises(UsageError, match="answers no questions"):
        load(trained, "cpu").predict(next(asked.studies("test")), question=PRESENT)


def test_the_run_is_evaluated_and_scores_a_folder(run, asked, settings, tmp_path):
    found = evaluate(run, asked, settings, "test", tmp_path / "evaluation", "cpu")
    lines = [json.loads(line) for line in (tmp_path / "evaluation" / "predictions.jsonl").read_text().splitlines()]
    assert len(lines) == sum(len(study.questions) for study in asked.studies("test"))
    assert found.metrics["test"]["accuracy"] == sum(line["right"] for line in lines) / len(lines)
    assert set(found.metrics["baselines"]) == {"no_image", "swapped_image", "most_frequent"}
    assert "questions on" in (run / "MODEL_CARD.md").read_text()

    (tmp_path / "in").mkdir()
    for place, study in enumerate(asked.studies("test")):
        cv2.imwrite(str(tmp_path / "in" / f"{place}.png"), cv2.imread(str(study.images[0].path), -1))
    engine.score_folder(tmp_path / "in", run, tmp_path / "scores", device="cpu")
    scored = [json.loads(line) for line in (tmp_path / "scores" / "predictions.jsonl").read_text().splitlines()]
    by_id = {line["study_id"]: line["answers"] for line in scored}
    said = {(line["study_id"], line["question"]): line["answer"] for line in lines}
    for place, study in enumerate(asked.studies("test")):
        answers = by_id[f"{place}.png"]
        assert [one["question"] for one in answers] == [PRESENT, SIDE]
        assert answers[0]["answer"] == said[study.study_id, PRESENT]


def test_its_card_speaks_of_answers_and_its_columns_are_what_it_answers(run, answerer, asked):
    card = (run / "MODEL_CARD.md").read_text()
    assert "**Not a medical device.** Answers are for research" in card
    assert f"- Answer head: {len(answerer.task.answers)} answers that it can call." in card
    assert "draft" not in card.lower()
    paths = [str(study.images[0].path) for study in asked.studies("test")]
    questions = [PRESENT, SIDE] * len(paths)
    said = say(answerer, paths, questions[: len(paths)])
    wanted = [answerer.predict(path, question=one).answer for path, one in zip(paths, questions, strict=False)]
    assert said["answer"] == wanted
