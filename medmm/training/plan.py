"""Steps, threads and precision of a run, from the data and the machine, and what they cost.

Nothing is timed: the same data and machine give the same plan, and with it the same weights.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from medmm.config.schema import Config
from medmm.data.case_grid import CaseGrid
from medmm.errors import UsageError
from medmm.models.precision import computes_bf16
from medmm.training import pretraining_plan

# Multiply-adds of a forward pass per voxel, and parameters in millions, of 2D and 3D encoders; counted with torch's
# FlopCounterMode at 128 x 128 and 32 x 64 x 64.
_ENCODERS = {
    ("resnet_lean", 2): (8_434, 0.6), ("resnet_lean", 3): (6_761, 1.7),
    ("densenet121", 2): (55_152, 7.2), ("densenet121", 3): (20_465, 11.5),
    ("resnet18", 2): (34_704, 11.3), ("resnet18", 3): (14_980, 33.3),
    ("resnet50", 2): (80_400, 24.0), ("resnet50", 3): (19_344, 46.7),
    ("vit", 2): (57_600, 14.4), ("vit", 3): (3_912, 15.9),
}  # fmt: skip
# Multiply-adds a second that training reaches, forward and backward: (image encoder, language model), in 1e9. A core of
# a processor with bf16 instructions, one without, and a data-centre GPU as a whole.
_RATES = {"bf16": (75.0, 70.0), "fp32": (22.0, 30.0), "cuda": (8_000.0, 20_000.0)}
_OVERHEAD_S = {"cpu": 0.02, "cuda": 0.03}  # of a step, whatever its size
_READ_S = 0.025  # to decode an image, on one core
_TEXT_TOKENS = 60  # of a report: of the phantom 51, of Open-i about as many
_PASSES = 3  # forward, and backward at twice the cost
_MOST_EPOCHS = 120  # beyond it the small model only learns the training reports by heart
_MOST_VALIDATION = 512  # studies
_VALIDATIONS = 10


@dataclass(frozen=True)
class Machine:
    """What a plan needs to know of a machine.

    Attributes:
        cores: Processor cores that this process may use.
        bf16: Whether the processor computes in bf16 (AVX-512 BF16 or AMX).
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        memory_gb: Memory of the device that this process may use, None if not known.
        processes: Processes that train together.
    """

    cores: int
    bf16: bool
    device: str
    memory_gb: float | None = None
    processes: int = 1


@dataclass(frozen=True)
class Plan:
    """What a run will do.

    Attributes:
        steps: Optimizer steps.
        batch: Studies of a step, over all processes and accumulated batches.
        studies: Training studies that the steps get to see.
        validation: Validation studies that are used, at most.
        epochs: How often each training study is seen.
        validate_every: Steps between validations.
        threads: Threads of a process.
        precision: ``bf16`` or ``fp32``.
        device: Where it computes.
        minutes: Expected time to read the images and train.
        memory_gb: Expected peak memory of a process.
        parameters_m: Parameters in millions.
        processes: Processes that train together; another number would learn from other batches.
        machine_gb: Memory that a process may use, None if not known.
        grid: What images are brought to, where a task plans it; as :meth:`medmm.data.case_grid.CaseGrid.as_dict`.
    """

    steps: int
    batch: int
    studies: int
    validation: int
    epochs: float
    validate_every: int
    threads: int
    precision: str
    device: str
    minutes: float
    memory_gb: float
    parameters_m: float
    processes: int = 1
    machine_gb: float | None = None
    grid: Mapping[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """The plan as JSON holds it."""
        return asdict(self)

    def lines(self) -> Sequence[str]:
        """The plan in words."""
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        threads += f" in each of {self.processes} processes" if self.processes > 1 else ""
        lines = [
            f"plan: {self.steps} steps of {self.batch} studies ({self.epochs:.1f} epochs of {self.studies}), "
            f"validated every {self.validate_every}",
            f"plan: {self.parameters_m:.1f} M parameters in {self.precision} on {self.device} with {threads}; "
            f"about {self.minutes:.0f} min and {self.memory_gb:.1f} GB",
        ]
        if self.grid is not None:
            lines.insert(0, f"plan: {CaseGrid.of(self.grid).words()}")
        if self.machine_gb is not None and self.memory_gb > self.machine_gb:
            a_process = " a process" if self.processes > 1 else ""
            lines.append(
                f"plan: needs about {self.memory_gb:.1f} GB{a_process}, this machine has {self.machine_gb:.1f} GB; "
                "lower train.batch_size or preprocess.size"
            )
        return lines

    def shaping(self) -> dict[str, Any]:
        """What must be the same when a run goes on: all but where it computes."""
        return {key: value for key, value in asdict(self).items() if key not in {"device", "machine_gb"}}


def rank() -> int:
    """Which of the processes that ``torchrun`` has started this one is; 0 where it is alone."""
    return int(os.environ.get("RANK", "0"))


def processes() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def this_machine(device: str) -> Machine:
    """Look at the machine.

    Args:
        device: ``auto``, ``cpu`` or ``cuda[:N]``, as in the config.

    Raises:
        UsageError: A GPU is asked for and there is none.
    """
    import psutil
    import torch

    chosen = choose_device(device)
    memory = psutil.virtual_memory().total if chosen == "cpu" else torch.cuda.get_device_properties(chosen).total_memory
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    memory = memory // here if chosen == "cpu" else memory
    cores = len(os.sched_getaffinity(0)) // here
    asked = os.environ.get("OMP_NUM_THREADS", "")  # how clusters say what is theirs to use
    cores = min(cores, int(asked)) if asked.isdigit() else cores
    return Machine(max(1, cores), computes_bf16(), chosen, memory / 2**30, processes())


def choose_device(device: str) -> str:
    """Turn ``auto`` into ``cuda`` where there is a GPU, else ``cpu``; other names stay.

    Raises:
        UsageError: A GPU is asked for and it is not there.
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and int(device.partition(":")[2] or 0) >= torch.cuda.device_count():
        got, expected = f"'{device}'", f"one of {torch.cuda.device_count()} GPUs"
        raise UsageError("there is no such GPU", where="device", got=got, expected=expected, fix="Use --device auto.")
    return device


def plan(config: Config, n_train: int, machine: Machine | None = None) -> Plan:
    """Choose steps, threads and precision.

    Args:
        config: Model, data and budget.
        n_train: Training studies that have images and a report.
        machine: Where it will run; this machine if None.

    Raises:
        UsageError: A GPU is asked for and there is none.
    """
    machine = machine or this_machine(config.device)
    train = config.train
    gpu = machine.device != "cpu"
    precision = ("bf16" if gpu or machine.bf16 else "fp32") if train.precision == "auto" else train.precision
    threads = machine.cores if not gpu else min(machine.cores, 8)
    batch = train.batch_size * train.accumulate * machine.processes
    size = min(batch, max(1, n_train))
    step_s = _step_seconds(config, machine, precision, threads, size / machine.processes)
    validation = min(_MOST_VALIDATION, max(1, n_train // 4))
    steps = train.steps or _steps(config, n_train, size, step_s, machine, validation)
    every = train.validate_every or max(1, math.ceil(steps / _VALIDATIONS))
    seconds = steps * step_s + math.ceil(steps / every) * validation / size * step_s / _PASSES
    seconds += min(n_train, steps * size) * _read_seconds(config, machine)
    millions, memory = _weights_millions(config), _memory_gb(config, size / machine.processes / train.accumulate)
    return Plan(
        steps=steps,
        batch=size,
        studies=min(n_train, steps * size),
        validation=validation,
        epochs=round(steps * size / max(1, n_train), 2),
        validate_every=every,
        threads=threads,
        precision=precision,
        device=machine.device,
        minutes=round(seconds / 60, 1),
        memory_gb=round(memory, 2),
        parameters_m=round(millions, 2),
        processes=machine.processes,
        machine_gb=None if machine.memory_gb is None else round(machine.memory_gb, 2),
    )


def _steps(config: Config, n_train: int, size: int, step_s: float, machine: Machine, validation: int) -> int:
    """Steps that fill the budget: reading what is seen, learning, and ten validations."""
    budget = config.train.budget_minutes * 60
    budget -= _VALIDATIONS * validation / size * step_s / _PASSES + validation * _read_seconds(config, machine)
    read = _read_seconds(config, machine) * size
    first = math.floor(budget / (step_s + read))  # each study is new, and has to be read
    if first * size >= n_train:
        first = math.floor((budget - n_train * _read_seconds(config, machine)) / step_s)
    most = math.ceil(_MOST_EPOCHS * n_train / size)
    return max(1, min(first, most))


def _step_seconds(config: Config, machine: Machine, precision: str, threads: int, studies: float) -> float:
    kind = "cuda" if machine.device != "cpu" else precision
    image_rate, text_rate = (1e9 * rate * (1 if kind == "cuda" else threads) for rate in _RATES[kind])
    if kind == "cuda" and precision == "fp32":
        image_rate, text_rate = image_rate / 4, text_rate / 4
    image, text = _image_work(config), _text_work(config) / config.train.text_parts
    seconds = _PASSES * studies * (image / image_rate + text / text_rate)
    return seconds + _OVERHEAD_S["cuda" if kind == "cuda" else "cpu"] * config.train.accumulate


def _voxels(config: Config) -> int:
    prep = config.preprocess
    return prep.size**2 * (prep.depth or 1)


def _image_work(config: Config) -> float:
    """Multiply-adds to encode a study, counted as if it had one view: most have."""
    encoder = config.model.encoder
    return float(_ENCODERS[encoder.name, encoder.spatial_dims][0] * _voxels(config)) * pretraining_plan.looks(config)


def _text_work(config: Config) -> float:
    """Multiply-adds to read a prefix and a report: the matrices for each token, and attention among them."""
    width, layers, vocabulary = _language_model(config)
    if config.task == "pretraining":
        return pretraining_plan.text_work(config, (width, layers, vocabulary))
    text = min(_TEXT_TOKENS, config.model.decoder.max_tokens)
    prefix = config.model.prefix_grid**config.model.encoder.spatial_dims + 14
    tokens = prefix + text
    return float(tokens * 12 * layers * width**2 + tokens**2 * layers * width * 2 + text * width * vocabulary)


def _language_model(config: Config) -> tuple[int, int, int]:
    """Width, layers and token ids of the language model, GPT-2's where nothing says them."""
    wanted = config.model.text if config.task == "pretraining" else config.model.decoder
    if wanted.source is None:
        return wanted.width, wanted.layers, wanted.vocabulary
    try:
        said = json.loads((Path(wanted.source) / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        said = {}
    width = said.get("hidden_size") or said.get("n_embd") or said.get("d_model") or 768
    layers = said.get("num_hidden_layers") or said.get("n_layer") or 12
    return int(width), int(layers), int(said.get("vocab_size") or 50_257)


def _weights_millions(config: Config) -> float:
    width, layers, vocabulary = _language_model(config)
    encoder = config.model.encoder
    own = 12.0 * layers * width**2 + (vocabulary + 512) * width + 5 * encoder.width * max(width, encoder.width)
    if config.task == "pretraining":
        own = pretraining_plan.parameters(config, (width, layers, vocabulary))
    return float(_ENCODERS[encoder.name, encoder.spatial_dims][1] + own / 1e6)


def _memory_gb(config: Config, studies: float) -> float:
    """The process itself, weights with gradients, Adam's two moments, average and best, and a batch's activations."""
    weights = _weights_millions(config) * 1e6 * 4 * (6 if config.train.ema else 5)
    width, layers, vocabulary = _language_model(config)
    tokens = _TEXT_TOKENS + 40
    text = tokens * (layers * width * 40 + vocabulary * 10) / config.train.text_parts
    image = _image_work(config) / 60  # about a stored byte for so many multiply-adds
    if config.task == "pretraining":
        studies, text = pretraining_plan.held(config, studies, (width, layers, vocabulary))
    return float((1.0e9 + weights + studies * (text + image)) / 2**30)


def _read_seconds(config: Config, machine: Machine) -> float:
    return _READ_S / max(1, machine.cores) * (config.preprocess.depth or 1)
