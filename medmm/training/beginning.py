"""What a run begins from: published weights, another run's, low-rank additions, and which of it all learns."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch

from medmm.config.schema import Config
from medmm.errors import UsageError
from medmm.models.lora import add_lora, merge_lora
from medmm.models.published import take_published
from medmm.models.transfer import freeze, take_over
from medmm.tasks.base import Task
from medmm.training.plan import rank
from medmm.training.provenance import read_record

_log = logging.getLogger(__name__)


def begin_from(task: Task, config: Config, out: Path, goes_on: bool) -> dict[str, Any]:
    """Take published weights and those of another run, hold still what is not to learn, and say how much does.

    Args:
        task: Its model is changed.
        config: The run's config.
        out: Run directory; what its ``run.json`` says of the weights stays where the run goes on.
        goes_on: Whether there is a state with all weights, so that none are taken.

    Returns:
        For ``run.json``: ``weights``, ``init`` and ``lora`` where there are such, and ``parameters``.

    Raises:
        CheckpointError: Weights are refused.
        UsageError: Low-rank additions are wanted where no language model came with weights, or of an unknown kind.
    """
    said: dict[str, Any] = {}
    if goes_on:
        earlier = read_record(out)
        said = {key: earlier[key] for key in ("weights", "init") if key in earlier}
    else:
        if config.model.encoder.weights is not None:
            said["weights"] = _published(task, Path(config.model.encoder.weights))
        if config.model.init is not None:
            taken, whole = take_over(task.model, Path(config.model.init))
            said["init"] = {"encoder_taken": taken, "encoder": whole}
    if config.train.adapt == "lora":
        said["lora"] = {"rank": config.train.lora_rank, "parameters": _add_lora(task, config)}
    learned, parameters = freeze(task.model, config.train.adapt, task.pretrained)
    return said | {"parameters": {"learned": learned, "all": parameters}}


def make_whole(task: Task, config: Config) -> None:
    """Bring a trained model to the form in which it is saved: low-rank additions become part of its weights."""
    if config.train.adapt == "lora":
        merge_lora(task.model)


def _published(task: Task, path: Path) -> dict[str, Any]:
    taken = take_published(task.model.get_submodule("encoder.backbone"), path)
    for line in taken.lines() if rank() == 0 else ():
        _log.warning(line)
    return taken.as_dict()


def _add_lora(task: Task, config: Config) -> int:
    if task.pretrained is None:
        raise UsageError(
            "there is no language model that came with weights", where="train.adapt=lora",
            fix="Name one in model.decoder.source (model.text.source for pretraining).",
        )  # fmt: skip
    model: Any = task.pretrained.get_submodule("model")
    torch.manual_seed(config.seed)  # the same additions in every process, and again where the run goes on
    return add_lora(model, model.config.model_type, config.train.lora_rank)
