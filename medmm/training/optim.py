"""Parameter groups, the learning rate's course, and the moving average of the weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator

import torch
from torch import nn

from medmm.config.schema import TrainConfig
from medmm.models.lora import is_addition


def make_optimizer(model: nn.Module, config: TrainConfig, pretrained: nn.Module | None = None) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter 2019) that decays matrices and kernels, not biases, norms, places and single vectors.

    Args:
        model: Its parameters that take gradients.
        config: Learning rates and decay.
        pretrained: The part of ``model`` that came with weights and learns at ``config.lr_pretrained``, but for what
            was added to it.
    """
    came = () if pretrained is None else pretrained.named_parameters()
    gentle = {id(parameter) for name, parameter in came if not is_addition(name)}
    sorted_out: dict[tuple[float, float], list[nn.Parameter]] = {}
    for _, parameter, spared in _parameters(model):
        key = (0.0 if spared else config.weight_decay, config.lr_pretrained if id(parameter) in gentle else config.lr)
        sorted_out.setdefault(key, []).append(parameter)
    groups = [
        {"params": parameters, "weight_decay": decay, "lr": peak, "peak": peak}
        for (decay, peak), parameters in sorted_out.items()
    ]
    return torch.optim.AdamW(groups, betas=(0.9, 0.98), eps=1e-8, fused=True)


def _parameters(model: nn.Module) -> Iterator[tuple[str, nn.Parameter, bool]]:
    """Name, parameter, and whether it is spared from decay; each once, shared ones under their first name."""
    embeddings = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            yield name, parameter, parameter.ndim < 2 or id(parameter) in embeddings


def rate(step: int, steps: int, warmup: float) -> float:
    """Share of the peak learning rate: a linear rise over the first steps, then half a cosine to a hundredth.

    Args:
        step: Counts from 0.
        steps: Steps of the whole run.
        warmup: Share of the steps that rise.
    """
    rising = max(1, round(warmup * steps))
    if step < rising:
        return (step + 1) / rising
    done = (step - rising) / max(1, steps - rising)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done))


class Average:
    """Moving average of a model's weights and of its running statistics (Polyak & Juditsky 1992).

    Early on the average follows fast, by the decay (1 + step) / (10 + step) while that is the smaller one.

    Args:
        model: The model that is averaged.
        decay: Share of the old average that a step keeps.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take in the weights after ``step`` (counted from 0)."""
        decay = min(self._decay, (1 + step) / (10 + step))
        # A tensor under two names (GPT-2's embedding is its output layer too) must move once.
        averaged, current = self.model.state_dict(), model.state_dict()
        names = list({tensor.data_ptr(): name for name, tensor in averaged.items()}.values())
        own, new = ([state[name] for name in names] for state in (averaged, current))
        real = [place for place, tensor in enumerate(own) if tensor.is_floating_point()]
        torch._foreach_lerp_([own[place] for place in real], [new[place] for place in real], 1 - decay)
        for place in set(range(len(own))) - set(real):
            own[place].copy_(new[place])


def named_moments(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """The optimizer's memory by parameter name: ``NAME/exp_avg``, ``NAME/exp_avg_sq`` and ``NAME/step``."""
    return {
        f"{name}/{key}": value
        for name, parameter, _ in _parameters(model)
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def restore_moments(model: nn.Module, optimizer: torch.optim.Optimizer, named: dict[str, torch.Tensor]) -> None:
    """Give an optimizer the memory that :func:`named_moments` took.

    Raises:
        KeyError: A name is not that of a parameter.
    """
    parameters = {name: parameter for name, parameter, _ in _parameters(model)}
    for key, value in named.items():
        name, _, kind = key.rpartition("/")
        parameter = parameters[name]
        # Laid out in memory as the parameter is (kernels lie channels last): the fused step walks both by address.
        own = torch.empty_like(parameter) if value.shape == parameter.shape else torch.empty_like(value)
        optimizer.state[parameter][kind] = own.to(parameter.device).copy_(value)
