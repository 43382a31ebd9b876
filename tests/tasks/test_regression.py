"""Numbers as targets: what is learned, in which units it is said, and what is set aside or refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from medmm.config.schema import ColumnsConfig, Config
from medmm.data.dataset import Batch
from medmm.errors import DataError, Reason
from medmm.tasks.losses import number_loss
from medmm.tasks.regression import Regression
from medmm.tasks.study_values import columns_of
from medmm.training.loaded import LoadedModel
from medmm.types import ImageRef, Study

VALUES = [{"age": 40.0, "bmi": 20.0}, {"age": 60.0}, {"age": 80.0, "bmi": 30.0}, {}]
STUDIES = [
    Study(f"study {place}", f"patient {place}", (ImageRef(Path(f"{place}.png")),), values=values)
    for place, values in enumerate(VALUES)
]


def made(small, *columns):
    data = small.data.model_copy(update={"columns": ColumnsConfig(label=columns)})
    torch.manual_seed(0)
    return Regression.build(small.model_copy(update={"data": data}), STUDIES)


def batch_of(task, images):
    samples = task.encode(STUDIES).samples
    targets = {
        name: torch.stack([torch.from_numpy(one.targets[name]) for one in samples]) for name in ("value", "known")
    }
    return Batch(tuple(one.study_id for one in samples), images, torch.ones(len(samples), 1, dtype=torch.bool), targets)


def test_targets_are_deviations_from_the_training_mean_and_what_is_missing_teaches_nothing(small):
    task = made(small, "age", "bmi")
    encoded = task.encode(STUDIES)
    value = np.stack([one.targets["value"] for one in encoded.samples])
    assert value[:, 0] == pytest.approx(np.array([-1, 0, 1]) * np.sqrt(1.5))
    assert value[:, 1] == pytest.approx([-1, 0, 1])
    assert np.stack([one.targets["known"] for one in encoded.samples]).tolist() == [[1, 1], [1, 0], [1, 1]]
    assert [(one.study_id, one.reason) for one in encoded.rejections] == [("study 3", Reason.LABEL_MISSING)]
    assert encoded.notes == ["1 studies have no number in 'bmi'"]
    assert task.model.scale.mean.tolist() == [60, 25]
    assert task.model.scale.deviation.tolist() == pytest.approx([np.std([40, 60, 80]), 5])


def test_the_loss_is_hubers_over_the_known_pairs():
    said, truth = torch.tensor([[0.5, 3.0], [-4.0, 9.0]]), torch.zeros(2, 2)
    known = torch.tensor([[1.0, 1.0], [1.0, 0.0]])
    assert float(number_loss(said, truth, known)) == pytest.approx((0.5**2 / 2 + (3 - 0.5) + (4 - 0.5)) / 3)
    assert float(number_loss(said, truth, torch.zeros(2, 2))) == 0


def test_settled_intervals_are_in_the_units_of_the_data(small):
    task = made(small, "age")
    batch = batch_of(task, torch.rand(3, 1, 1, 32, 32))
    task.config = task.config.model_copy(
        update={"reliability": task.config.reliability.model_copy(update={"coverage": 0.6})}
    )
    settled = task.settle(lambda: [batch])
    drafts = task.draft(batch.images, batch.view_mask)
    values = [draft.values["age"] for draft in drafts]
    errors = np.sort(np.abs(np.array([one.value for one in values]) - [40, 60, 80]))
    assert settled == {"margin/age": pytest.approx(errors[2], rel=1e-5)}  # the third of three: ceil(4 * 0.6)
    assert [one.high - one.low for one in values] == pytest.approx([2 * errors[2]] * 3, rel=1e-5)
    assert float(task.model.scale.coverage) == 0.6


def test_too_few_validation_studies_give_no_interval(small):
    task = made(small, "age")
    batch = batch_of(task, torch.rand(3, 1, 1, 32, 32))
    assert task.settle(lambda: [batch]) == {}
    estimate = task.draft(batch.images, batch.view_mask)[0].values["age"]
    assert (estimate.low, estimate.high) == (None, None)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (("sex",), r"data.columns.label: a column without numbers; got 'sex' with a number in 0 of 4 training studies"),
        ((), r"data.columns.label: is not set"),
    ],
)
def test_a_column_without_numbers_is_refused(small, columns, said):
    with pytest.raises(DataError, match=said):
        made(small, *columns)


def test_a_column_with_one_number_alone_is_refused(small):
    alike = [replace(study, values={"age": 50.0}) for study in STUDIES]
    data = small.data.model_copy(update={"columns": ColumnsConfig(label="age")})
    with pytest.raises(DataError, match="one number alone"):
        Regression.build(small.model_copy(update={"data": data}), alike)


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        (None, ("age", "bmi")),
        (("bmi", "age"), ("age", "bmi")),
        (("years", "mass"), ("years", "mass")),
        ("years", ("age", "bmi")),
    ],
)
def test_other_data_may_call_a_target_otherwise(label, expected):
    config = Config.model_validate({"data": {"columns": {"label": label}}})
    assert columns_of(config, ("age", "bmi")) == expected


def test_a_study_farther_off_than_those_of_validation_is_declined_as_a_whole(small):
    task = made(small, "age")
    task.model.eval()
    images, there = torch.rand(24, 1, 1, 32, 32), torch.ones(24, 1, dtype=torch.bool)
    targets = {"value": torch.zeros(24, 1), "known": torch.ones(24, 1)}
    settled = task.settle(lambda: [Batch(tuple(map(str, range(24))), images, there, targets)])
    model = LoadedModel(task, "cpu", {})
    assert not any(one.abstained for one in model.predict_batch(images.numpy(), there.numpy(), ["a"] * 24))
    task.model.familiarity.limit.fill_(settled["farthest"] / 100)
    (said,) = model.predict_batch(images[:1].numpy(), there[:1].numpy(), ["a"])
    assert said.abstained
    assert said.notes == ("the images are unlike those of training: nothing that is said of them counts",)
    assert said.values["age"].low < said.values["age"].value < said.values["age"].high
