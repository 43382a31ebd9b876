"""The loop: batches, stopping, refusing what is no number, and going on."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from medmm.config.schema import Config
from medmm.data.cache import ImageCache
from medmm.data.dataset import Sample, StudyDataset
from medmm.errors import TrainingError
from medmm.tasks.base import LossOutput
from medmm.training.checkpoint import load_state
from medmm.training.loop import Hooks, Loop
from medmm.training.plan import Machine, plan
from medmm.training.repeatable import seed_step


class Line(nn.Module):
    """Two filters and a straight line through their means, with dropout."""

    def __init__(self):
        super().__init__()
        self.filter = nn.Conv2d(1, 3, 3).to(memory_format=torch.channels_last)
        self.mix = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
        self.line = nn.Linear(4, 1)
        self.drop = nn.Dropout(0.2)

    def forward(self, images):
        return self.line(self.drop(self.mix(self.filter(images[:, 0])).mean(dim=(2, 3)))).squeeze(1)


class Toy:
    """As much of a task as the loop touches."""

    pretrained = None

    def __init__(self, spoil=None):
        torch.manual_seed(0)
        self.model, self.spoil, self.seen = Line(), spoil, []

    def loss(self, model, batch):
        self.seen.append((model.training, batch.study_ids))
        error = (model(batch.images) - batch.targets["y"]).square().mean()
        if self.spoil is not None and sum(training for training, _ in self.seen) == self.spoil:
            error = error * float("nan")
        return LossOutput(error, {"square": error.detach()})


def dataset(number, seed=0):
    stored = np.random.default_rng(seed).integers(0, 65536, (number, 1, 8, 8), dtype=np.uint16)
    stored //= np.arange(1, number + 1, dtype=np.uint16)[:, None, None, None]
    samples = [Sample(f"s{i}", {"y": np.array(3 * stored[i].mean() / 65535, np.float32)}) for i in range(number)]
    return StudyDataset(ImageCache(stored, {f"s{i}": (i,) for i in range(number)}), samples, {}, 0)


def make(folder, task, hooks=None, validation=True, **train):
    settings = {"steps": 12, "batch_size": 4, "save_every": 5, "validate_every": 4, "lr": 0.02, "precision": "fp32"}
    config = Config.model_validate({"train": settings | train})
    chosen = plan(config, 20, Machine(1, False, "cpu"))
    return Loop(task, dataset(20), dataset(6, 1) if validation else None, config, chosen, folder, "mark", hooks)


def test_it_learns_records_validates_and_tells(tmp_path):
    told, done = [], []
    hooks = Hooks(lambda *words: done.append(words), lambda numbers, step: told.append((step, numbers)))
    task = Toy()
    loop = make(tmp_path, task, hooks, steps=80, validate_every=20)
    before = loop.evaluate()["loss"]
    standing = loop.run()
    assert (standing.step, standing.finished) == (80, True)
    assert [record["step"] for record in standing.train] == list(range(1, 81))
    assert [record["step"] for record in standing.validation] == [20, 40, 60, 80]
    assert standing.best_loss < before / 3
    assert standing.best_loss == min(record["loss"] for record in standing.validation)
    assert done[-1][:2] == (80, 80)
    assert {step for step, numbers in told if "val/loss" in numbers} == {20, 40, 60, 80}
    assert not task.model.training


def test_batches_are_those_of_the_datasets_order(tmp_path):
    task = Toy()
    make(tmp_path, task, validation=False).run()
    data, expected = dataset(20), []
    for epoch in range(3):
        expected += [tuple(f"s{i}" for i in batch) for batch in data.order(epoch, 4)]
    assert [ids for _, ids in task.seen] == expected[:12]


def test_the_best_weights_are_kept_not_the_last(tmp_path):
    losses = iter([0.5, 0.1, 0.9])
    loop = make(tmp_path, Toy())
    kept = {}

    def evaluate():
        loss = next(losses)
        kept[loss] = loop.task.model.line.weight.detach().clone()
        return {"loss": loss}

    loop.evaluate = evaluate
    standing = loop.run()
    assert (standing.best_loss, standing.best_step) == (0.1, 8)
    assert torch.equal(loop.task.model.line.weight, kept[0.1])
    assert not torch.equal(loop.task.model.line.weight, kept[0.9])


def test_it_stops_early_once_patience_is_over(tmp_path):
    loop = make(tmp_path, Toy(), patience=2, validate_every=2)
    losses = iter([0.3, 0.2, 0.4, 0.25, 0.1])
    loop.evaluate = lambda: {"loss": next(losses)}
    standing = loop.run()
    assert (standing.step, standing.best_step, standing.finished) == (8, 4, True)
    assert load_state(tmp_path, "mark")[0].finished


def test_a_loss_that_is_no_number_stops_with_step_and_studies_and_keeps_the_last_state(tmp_path):
    task = Toy(spoil=8)
    with pytest.raises(TrainingError) as caught:
        make(tmp_path, task, validation=False).run()
    said = str(caught.value)
    assert "step 8" in said
    assert said.count("study#") == 4
    assert not any(f" {study_id}" in said for study_id in task.seen[-1][1])
    assert load_state(tmp_path, "mark")[0].step == 5


def test_accumulated_batches_give_the_step_of_one_large_batch(tmp_path):
    weights = []
    for size, number in ((8, 1), (4, 2)):
        task = Toy()
        task.model.drop.p = 0.0
        loop = make(tmp_path / str(number), task, validation=False, steps=1, batch_size=size, accumulate=number)
        parts = iter([range(4), range(4, 8)] if number == 2 else [range(8)])
        loop._batches = lambda start, parts=parts, loop=loop: (loop.train.batch(part, None) for part in parts)
        loop.run()
        weights.append(torch.cat([p.detach().flatten() for p in task.model.parameters()]))
    torch.testing.assert_close(*weights, atol=1e-6, rtol=1e-5)


def test_gradients_are_clipped(tmp_path):
    task, norms = Toy(), []
    loop = make(tmp_path, task, validation=False, steps=2, clip_norm=1e-3)
    step = loop.optimizer.step
    loop.optimizer.step = lambda *words, **more: (
        norms.append(float(torch.stack([p.grad.norm() for p in task.model.parameters()]).norm())), step(*words, **more)
    )  # fmt: skip
    loop.run()
    assert norms == pytest.approx([1e-3, 1e-3], rel=1e-3)


def test_the_average_is_what_is_kept(tmp_path):
    task = Toy()
    loop = make(tmp_path, task, validation=False, ema=0.9, steps=6)
    loop.run()
    tensors = load_state(tmp_path, "mark")[1]
    assert torch.equal(task.model.line.weight, tensors["ema"]["line.weight"])
    assert not torch.equal(task.model.line.weight, tensors["model"]["line.weight"])


@pytest.mark.parametrize("cut", [1, 5, 7, 12])
def test_a_run_cut_off_goes_on_to_the_same_weights(cut, tmp_path):
    whole = Toy()
    standing = make(tmp_path / "whole", whole, ema=0.9, steps=12).run()

    class Cut(Exception):
        pass

    def stop(done, total, note):
        if done == cut:
            raise Cut

    with pytest.raises(Cut):
        make(tmp_path / "cut", Toy(), Hooks(stop), ema=0.9, steps=12).run()
    again = Toy()
    loop = make(tmp_path / "cut", again, ema=0.9, steps=12)
    gone_on = loop.run(resume=True)
    for one, two in zip(whole.model.state_dict().values(), again.model.state_dict().values(), strict=True):
        assert torch.equal(one, two)
    gone_on.seconds = standing.seconds
    assert gone_on == standing


def test_a_step_draws_the_same_whenever_it_is_done():
    drawn = []
    for place in ((0, 3, 0), (0, 3, 0), (0, 4, 0), (1, 3, 0), (0, 3, 1)):
        seed_step(*place)
        drawn.append(float(torch.rand(1)))
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) == 4


def test_a_first_validation_that_is_no_number_is_not_the_best(tmp_path):
    loop = make(tmp_path, Toy())
    losses = iter([float("nan"), 0.4, 0.9])
    loop.evaluate = lambda: {"loss": next(losses)}
    standing = loop.run()
    assert (standing.best_loss, standing.best_step) == (0.4, 8)


def test_the_first_process_judges_for_all(tmp_path, monkeypatch):
    loop = make(tmp_path, Toy())
    loop.evaluate = lambda: pytest.fail("not by its own statistics")
    loop.accelerator = SimpleNamespace(is_main_process=False, num_processes=2)

    def broadcast(said):
        said[0] = {"loss": 0.25}

    monkeypatch.setattr("accelerate.utils.broadcast_object_list", broadcast)
    loop._evaluated = lambda: loop.model
    loop._validate(4)
    assert (loop.standing.best_loss, loop.standing.best_step) == (0.25, 4)
