"""Learning rate, decay and moving average, against hand-computed values."""

import pytest
import torch
from torch import nn

from medmm.config.schema import TrainConfig
from medmm.training.optim import Average, make_optimizer, named_moments, rate, restore_moments


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 3), nn.BatchNorm1d(3))


def test_the_rate_rises_then_falls_by_half_a_cosine_to_a_hundredth():
    assert [rate(step, 100, 0.1) for step in (0, 4, 9)] == pytest.approx([0.1, 0.5, 1.0])
    assert rate(10, 100, 0.1) == pytest.approx(1.0)
    assert rate(55, 100, 0.1) == pytest.approx(0.01 + 0.99 / 2)
    assert rate(100, 100, 0.1) == pytest.approx(0.01)
    assert all(rate(step, 100, 0.1) > rate(step + 1, 100, 0.1) for step in range(10, 99))


def test_only_matrices_decay():
    model = net()
    free, decayed = make_optimizer(model, TrainConfig(weight_decay=0.3)).param_groups
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.3, 0.0)
    assert [id(p) for p in decayed["params"]] == [id(model[1].weight)]
    assert {id(p) for p in free["params"]} == {id(p) for p in model.parameters()} - {id(model[1].weight)}


def test_what_came_with_weights_learns_gently():
    model = net()
    groups = make_optimizer(model, TrainConfig(lr=1e-2, lr_pretrained=1e-4, weight_decay=0.3), model[1]).param_groups
    peaks = {id(p): (group["peak"], group["weight_decay"]) for group in groups for p in group["params"]}
    assert peaks[id(model[1].weight)] == (1e-4, 0.3)
    assert peaks[id(model[1].bias)] == (1e-4, 0.0)
    assert {peaks[id(p)] for p in [*model[0].parameters(), *model[2].parameters()]} == {(1e-2, 0.0)}


def test_the_average_is_the_sum_of_its_terms():
    model = net()
    average = Average(model, 0.5)
    start = model[1].weight.detach().clone()
    with torch.no_grad():
        model[1].weight.add_(1.0)
        model[2].num_batches_tracked.fill_(7)
        model[2].running_mean.fill_(3.0)
    average.update(model, 0)  # decay 1 / 10: it follows fast at first
    torch.testing.assert_close(average.model[1].weight, start + 0.9)
    torch.testing.assert_close(average.model[2].running_mean, torch.full((3,), 2.7))
    assert int(average.model[2].num_batches_tracked) == 7
    average.update(model, 1000)
    torch.testing.assert_close(average.model[1].weight, start + 0.95)
    assert not any(p.requires_grad for p in average.model.parameters())


def test_weights_under_two_names_move_once():
    model = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 5, bias=False))
    model[1].weight = model[0].weight
    average = Average(model, 0.9)
    start = model[0].weight.detach().clone()
    with torch.no_grad():
        model[0].weight.add_(1.0)
    average.update(model, 1000)
    torch.testing.assert_close(average.model[0].weight, start + 0.1)
    assert average.model[1].weight.data_ptr() == average.model[0].weight.data_ptr()


def test_moments_come_back_bit_for_bit():
    def steps(model, optimizer, number):
        for step in range(number):
            torch.manual_seed(step)
            optimizer.zero_grad()
            model(torch.randint(0, 5, (8,))).square().sum().backward()
            optimizer.step()

    one, config = net(), TrainConfig()
    optimizer = make_optimizer(one, config)
    steps(one, optimizer, 3)
    two = net()
    two.load_state_dict(one.state_dict())
    other = make_optimizer(two, config)
    restore_moments(two, other, {name: value.clone() for name, value in named_moments(one, optimizer).items()})
    steps(one, optimizer, 2)
    steps(two, other, 2)
    for first, second in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(first, second)
    with pytest.raises(KeyError):
        restore_moments(two, other, {"nothing/exp_avg": torch.zeros(1)})


def test_a_shared_matrix_is_counted_once():
    model = net()
    model.append(nn.Linear(4, 5, bias=False))
    model[3].weight = model[0].weight
    groups = make_optimizer(model, TrainConfig()).param_groups
    assert sum(id(p) == id(model[0].weight) for group in groups for p in group["params"]) == 1
    assert [group["weight_decay"] for group in groups if any(p is model[0].weight for p in group["params"])] == [0.0]
