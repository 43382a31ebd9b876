"""The plan of a run that learns from masks: grid and patch from the data, batch and steps from the machine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

from medmm.config.schema import Config, EncoderConfig
from medmm.config.segmentation import SegmentationConfig
from medmm.data.case_grid import CaseGrid
from medmm.data.manifest import Manifest
from medmm.data.outline_code import OutlineCode
from medmm.data.phantom.ct import LABELS
from medmm.data.phantom.disease import FINDINGS
from medmm.data.phantom.study import ORGANS
from medmm.models.segmenter import build_network, side_multiple
from medmm.tasks.segmentation import Segmentation, planned
from medmm.training.plan import Machine, Plan, this_machine

# Multiply-adds a second that training reaches, in 1e9, by precision (or cuda) and dimensions: of a core of a processor,
# or of a data-centre GPU as a whole.
_RATES = {("bf16", 2): 70.0, ("bf16", 3): 45.0, ("fp32", 2): 20.0, ("fp32", 3): 13.0,
          ("cuda", 2): 8_000.0, ("cuda", 3): 5_000.0}  # fmt: skip
_PASSES = 3  # forward, and backward at twice the cost
_STEP_S = 0.03  # of a step, whatever its size
_MASK_S = 6e-9  # to change, and to judge, a voxel in one map
_READ_S = 1e-7  # to read a voxel of an image and of its masks, on one core
_BATCH_VOXELS = {"cpu": 96**3, "cuda": 2 * 128**3}
_MOST_EPOCHS = {2: 150, 3: 600}
_MOST_VALIDATION = 64
_VALIDATIONS = 10
_BYTES_A_VOXEL = {2: 700, 3: 900}  # of a batch that is learned from
_CHEST_MM, _EXPECTED_SIDE = 340.0, 96
_PROBED = 64  # pixels along each side of what the network's work is counted on


def plan(config: Config, manifest: Manifest | None, machine: Machine | None = None, number: int | None = None) -> Plan:
    """Plan a run: what the images are brought to, how many are learned from at once, for how many steps.

    Args:
        config: ``train.batch_size`` is the most patches of a step; fewer are taken where they are large.
        manifest: The data; None for phantom studies that are yet to be made.
        machine: Where it will run; this machine if None.
        number: How many training studies these will be.

    Raises:
        DataError: No training study can be used.
        UsageError: A GPU is asked for and there is none.
    """
    machine = machine or this_machine(config.device)
    if manifest is None:
        code, grid = _expected(config)
        count = number or 1
    else:
        studies = [study for study in manifest.studies("train") if Segmentation.teaches(study)]
        code, grid = planned(config, studies)
        count = len(studies)
    dims, voxels, train = len(grid.patch), math.prod(grid.patch), config.train
    gpu = machine.device != "cpu"
    precision = ("bf16" if gpu or machine.bf16 else "fp32") if train.precision == "auto" else train.precision
    room = max(1, _BATCH_VOXELS["cuda" if gpu else "cpu"] // voxels)
    patches = min(train.batch_size, room) if dims == 3 else train.batch_size
    batch = min(patches * train.accumulate * machine.processes, max(1, count))
    work, parameters = _work(
        config.segmentation, config.model.encoder, grid.patch, code.channels, grid.spacing_mm, len(grid.channels)
    )
    threads = machine.cores if not gpu else min(machine.cores, 8)
    rate = 1e9 * _RATES["cuda" if gpu else precision, dims] * (1 if gpu else threads)
    share = batch / machine.processes
    step_s = _STEP_S + share * voxels * (_PASSES * work / rate + code.channels * _MASK_S)
    validation = min(_MOST_VALIDATION, max(1, count // 4))
    reading = count * _READ_S * 4 * voxels / max(1, machine.cores)
    steps = train.steps or _steps(config, count, batch, step_s, validation, reading, dims)
    every = train.validate_every or max(1, math.ceil(steps / _VALIDATIONS))
    seconds = reading + steps * step_s + math.ceil(steps / every) * validation / batch * step_s / _PASSES
    memory = 1.2e9 + parameters * 4 * 6 + share / train.accumulate * voxels * _BYTES_A_VOXEL[dims] * work / 20_000
    return Plan(
        steps=steps, batch=batch, studies=min(count, steps * batch), validation=validation,
        epochs=round(steps * batch / max(1, count), 2), validate_every=every, threads=threads,
        precision=precision, device=machine.device, minutes=round(seconds / 60, 1),
        memory_gb=round(memory / 2**30, 2), parameters_m=round(parameters / 1e6, 2), processes=machine.processes,
        machine_gb=None if machine.memory_gb is None else round(machine.memory_gb, 2), grid=grid.as_dict(),
    )  # fmt: skip


def _expected(config: Config) -> tuple[OutlineCode, CaseGrid]:
    """Classes and grid of phantom studies that are yet to be made; their spacing is that of a chest in the volume."""
    phantom, multiple = config.data.phantom, side_multiple(config.segmentation, config.model.encoder)
    if phantom.modality != "ct":
        size = math.ceil(config.preprocess.size / multiple) * multiple
        names = (*FINDINGS, *ORGANS) if phantom.organs else FINDINGS
        return OutlineCode(config.segmentation.classes or tuple(names), False), CaseGrid((size, size))
    shape = phantom.volume_shape
    spacing = phantom.volume_spacing_mm or (_CHEST_MM / shape[0], _CHEST_MM / min(shape[1:]))
    steps = config.segmentation.spacing_mm or (spacing[0], spacing[1], spacing[1])
    sides = [
        side * old / new for side, old, new in zip(shape, (spacing[0], spacing[1], spacing[1]), steps, strict=True)
    ]
    patch = config.segmentation.patch or tuple(
        min(math.ceil(side / multiple) * multiple, _EXPECTED_SIDE) for side in sides
    )
    return OutlineCode(config.segmentation.classes or tuple(LABELS), True), CaseGrid(patch, steps, ((-1000.0, 1000.0),))


def with_planned_batch(config: Config, chosen: Plan) -> Config:
    """The config with the batch that was planned for a task's own grid."""
    if chosen.grid is None:
        return config
    size = max(1, chosen.batch // (config.train.accumulate * chosen.processes))
    return config.model_copy(update={"train": config.train.model_copy(update={"batch_size": size})})


def _steps(config: Config, studies: int, batch: int, step_s: float, validation: int, reading: float, dims: int) -> int:
    """Steps that fill the budget, as far as more still teach something."""
    left = config.train.budget_minutes * 60 - reading - _VALIDATIONS * validation / batch * step_s / _PASSES
    most = math.ceil(_MOST_EPOCHS[dims] * studies / batch)
    return max(1, min(math.floor(left / step_s), most))


@cache
def _work(
    config: SegmentationConfig,
    encoder: EncoderConfig,
    patch: tuple[int, ...],
    maps: int,
    spacing_mm: Sequence[float] | None,
    channels: int,
) -> tuple[float, int]:
    """Multiply-adds a voxel of a forward pass, and parameters, counted on a small patch."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    shape = tuple(min(side, _PROBED) for side in patch)
    with torch.random.fork_rng(devices=[]):
        network = build_network(
            config, encoder, shape, maps, spacing_mm or (1.0,) * len(shape), channels=channels
        ).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counted:
        network(torch.zeros(1, channels, *shape))
    return counted.get_total_flops() / 2 / math.prod(shape), sum(one.numel() for one in network.parameters())
