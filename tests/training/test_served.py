"""A model as columns: what every task gives, read back and compared with what the model predicts."""

import io
import json

import numpy as np
import pytest

from medmm import registry
from medmm.config.schema import Config
from medmm.training import served
from medmm.training.served import say, signature
from medmm.types import Estimate, Finding, Prediction, Status

MASK = np.array([[0, 1, 1], [0, 0, 1]], np.uint8)


class Model:
    """Says the same of every study, and remembers what it was asked."""

    def __init__(self, config, said):
        self.config, self.said, self.asked = config, said, []

    def predict(self, paths, question=None):
        self.asked.append((paths, question))
        return self.said


def columns(task, **said):
    model = Model(Config.model_validate({"task": task}), Prediction("s", **said))
    return say(model, ["a.png", "b.png"]), model


def named(task, side):
    return {one["name"]: one["type"] for one in json.loads(signature(task)[side])}


def test_every_task_has_columns():
    assert set(served._COLUMNS) == set(registry.TASKS)


@pytest.mark.parametrize("task", registry.TASKS)
def test_the_signature_is_one_that_mlflow_reads(task):
    from mlflow.models import ModelSignature

    said = ModelSignature.from_dict(signature(task))
    assert said.inputs.input_names() == (["path", "question"] if task == "vqa" else ["path"])
    assert said.outputs.input_names()[-1] == "notes"


def test_a_draft_comes_with_its_findings():
    found = {"nodule": Finding(Status.PRESENT, probability=0.75), "mass": Finding(Status.ABSENT)}
    said, model = columns("report_gen", report="A nodule.", findings=found, notes=("one image was left out",))
    assert list(said) == list(named("report_gen", "outputs"))
    assert said["report"] == ["A nodule.", "A nodule."]
    assert json.loads(said["findings"][0]) == {"nodule": "present", "mass": "absent"}
    assert json.loads(said["probabilities"][1]) == {"nodule": 0.75}
    assert json.loads(said["notes"][0]) == ["one image was left out"]
    assert model.asked == [(["a.png"], None), (["b.png"], None)]


def test_a_classifier_gives_no_report_and_says_when_it_declines():
    said, _ = columns("classification", findings={"mass": Finding(Status.UNCERTAIN, probability=0.5)}, abstained=True)
    assert list(said) == ["findings", "probabilities", "abstained", "notes"]
    assert (said["abstained"], json.loads(said["findings"][0])) == ([True, True], {"mass": "uncertain"})


def test_numbers_come_with_their_interval():
    config = Config.model_validate({"task": "classification", "classification": {"kind": "regression"}})
    said = say(Model(config, Prediction("s", values={"age": Estimate(61.5, 50.0, 70.0)})), ["a.png"])
    assert json.loads(said["values"][0]) == {"age": {"value": 61.5, "low": 50.0, "high": 70.0}}


def test_masks_are_the_very_arrays():
    said, _ = columns("segmentation", masks={"lung": MASK})
    assert list(said) == ["masks", "voxels", "notes"]
    with np.load(io.BytesIO(said["masks"][0]), allow_pickle=False) as file:
        np.testing.assert_array_equal(file["lung"], MASK)
        assert file["lung"].dtype == np.uint8
    assert json.loads(said["voxels"][0]) == {"lung": 3}


def test_each_row_is_asked_its_own_question():
    model = Model(Config.model_validate({"task": "vqa"}), Prediction("s", answer="yes"))
    said = say(model, ["a.png", "b.png"], ["Is there a nodule?", "On which side?"])
    assert said["answer"] == ["yes", "yes"]
    assert model.asked == [(["a.png"], "Is there a nodule?"), (["b.png"], "On which side?")]
    assert list(said) == ["answer", "abstained", "notes"]
