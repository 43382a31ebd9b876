"""Weights from another run, and which of them go on learning."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from medmm.errors import CheckpointError, UsageError
from medmm.models.weights import load_tensors, refuse_pickles_in

_WEIGHTS = "model/model.safetensors"
_TAKEN = ("encoder.", "view")
_LEAST = 0.5  # of the encoder; a norm or a mark of a view fits almost any other


def take_over(model: nn.Module, run: Path) -> tuple[int, int]:
    """Copy what another run's image encoder calls by the same name and gives the same shape.

    Heads and language models stay as they are: their classes and tokens are the other run's own.

    Args:
        model: The model that is to be trained.
        run: Run directory, of any task.

    Returns:
        Parameters of the image encoder, with its marks of the views, that were taken, and all of it.

    Raises:
        CheckpointError: There are no weights, they are pickles, or no more than half of the image encoder fits.
    """
    refuse_pickles_in(run / "model")
    if not (run / _WEIGHTS).is_file():
        fix = "Give a run directory whose training ended."
        raise CheckpointError("the run has no weights", where="--init", fix=fix)
    theirs, ours = load_tensors(run / _WEIGHTS), model.state_dict()
    encoder = {name: tensor.numel() for name, tensor in ours.items() if name.startswith(_TAKEN)}
    fitting = {name: theirs[name] for name in encoder if name in theirs and ours[name].shape == theirs[name].shape}
    taken = sum(size for name, size in encoder.items() if name in fitting)
    whole = sum(encoder.values())
    if taken <= _LEAST * whole:
        raise CheckpointError(
            "the run's image encoder does not fit this model", where="--init",
            got=f"{taken:,} of {whole:,} parameters with the same name and shape",
            expected="a run with the same model.encoder", fix="Set model.encoder as that run's config.yaml has it.",
        )  # fmt: skip
    with torch.no_grad():
        for name, tensor in fitting.items():
            ours[name].copy_(tensor)
    return taken, whole


def freeze(model: nn.Module, adapt: str, pretrained: nn.Module | None = None) -> tuple[int, int]:
    """Let only a part of the model learn.

    Args:
        model: Its ``encoder.backbone`` is what ``head`` and ``last-K`` hold still.
        adapt: ``full``; ``head``: neither the encoder's backbone nor a language model that came with weights learns;
            ``last-K``: their last K blocks do; ``lora``: as ``full``, but for what
            :func:`medmm.models.lora.add_lora` has frozen.
        pretrained: The language model that came with weights.

    Returns:
        Parameters that learn, and all.

    Raises:
        UsageError: The model has no encoder.
    """
    if adapt not in ("full", "lora"):
        if not hasattr(model, "encoder"):
            expected, fix = "train.adapt=full or lora", "Use a network with an encoder: segmentation.network=unet."
            raise UsageError("this network has no encoder to hold still", where="train.adapt", got=adapt,
                             expected=expected, fix=fix)  # fmt: skip
        blocks = int(adapt.removeprefix("last-")) if adapt.startswith("last-") else 0
        parts = [model.get_submodule("encoder.backbone"), *([] if pretrained is None else [pretrained])]
        for part in parts:
            part.requires_grad_(False)
            for block in list(_blocks(part))[::-1][:blocks]:
                block.requires_grad_(True)
    parameters = list(model.parameters())
    return sum(one.numel() for one in parameters if one.requires_grad), sum(one.numel() for one in parameters)


def hold_still(model: nn.Module) -> None:
    """Keep the running statistics of norms that do not learn, and their dropout off, while the others train."""
    for module in model.modules():
        own = list(module.parameters())
        if own and not any(parameter.requires_grad for parameter in own):
            module.eval()


def _blocks(part: nn.Module) -> Iterator[nn.Module]:
    """The blocks that a network runs through one after the other: the parts of its only part that has several."""
    own = [child for child in part.children() if next(child.parameters(), None) is not None]
    if len(own) == 1:
        yield from _blocks(own[0])
        return
    for child in own or [part]:
        yield from child if isinstance(child, nn.ModuleList) else [child]
