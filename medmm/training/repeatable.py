"""What makes the numbers of a run repeat: seeds of every step, threads, and deterministic kernels."""

from __future__ import annotations

import hashlib
import os
from typing import Any

import torch

from medmm.config.schema import Config
from medmm.training.plan import Plan


def seed_step(seed: int, step: int, rank: int) -> None:
    """Seed torch's generators by (seed, step, process), so that a step draws the same whenever it is done."""
    digest = hashlib.blake2b(f"{seed}\0{step}\0{rank}".encode(), digest_size=8).digest()
    torch.manual_seed(int.from_bytes(digest, "little") >> 1)


def make_accelerator(config: Config, plan: Plan) -> Any:
    """Accelerate's view of the machine: one process, or those that ``torchrun`` has started.

    Numbers are made repeatable: a fixed number of threads, and on a GPU the deterministic kernels.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    torch.set_num_threads(plan.threads)
    if plan.device != "cpu":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.benchmark = False
        if ":" in plan.device:
            os.environ["ACCELERATE_TORCH_DEVICE"] = plan.device
    AcceleratorState._reset_state(True)  # an earlier run in this process may have used another precision
    return Accelerator(
        cpu=plan.device == "cpu",
        mixed_precision="bf16" if plan.precision == "bf16" else "no",
        gradient_accumulation_steps=config.train.accumulate,
    )
