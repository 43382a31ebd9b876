"""One loop for every task, on accelerate: device, bf16, accumulation, and several processes under ``torchrun``.

A run cut off anywhere and resumed ends with the same weights, bit for bit: the batches come from (seed, step), torch's
generators are seeded anew at every step, and all else that the next step depends on stands in the state.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from medmm.config.schema import Config
from medmm.data.dataset import Batch, StudyDataset, ahead
from medmm.errors import TrainingError
from medmm.models.transfer import hold_still
from medmm.models.weights import load_into
from medmm.tasks.base import LossOutput, Task
from medmm.training.checkpoint import Standing, load_state, save_state
from medmm.training.optim import Average, make_optimizer, named_moments, rate, restore_moments
from medmm.training.pace import Pace
from medmm.training.plan import Plan
from medmm.training.repeatable import make_accelerator, seed_step
from medmm.types import study_tag

_AHEAD = 2  # batches that wait, made in a thread
_RECORDS = 200  # points of the training curve


@dataclass(frozen=True)
class Hooks:
    """Whom the loop tells how it goes.

    Attributes:
        progress: Called as ``progress(done, total, note)`` after each step.
        record: Called with the numbers of a record and its step.
    """

    progress: Callable[..., None] | None = None
    record: Callable[[Mapping[str, float], int], None] | None = None


class Loop:
    """Trains a task.

    Args:
        task: Model, loss and targets.
        train: Samples to learn from.
        validation: Samples to stop and choose by; None where there are none.
        config: The run's config.
        plan: Steps, threads and precision.
        folder: Run directory.
        mark: Hash of the data and of whatever else must not change when the run goes on.
        hooks: Whom to tell.
    """

    def __init__(
        self,
        task: Task,
        train: StudyDataset,
        validation: StudyDataset | None,
        config: Config,
        plan: Plan,
        folder: Path,
        mark: str,
        hooks: Hooks | None = None,
    ) -> None:
        self.task, self.train, self.validation = task, train, validation
        self.config, self.plan, self.folder, self.mark, self.hooks = config, plan, folder, mark, hooks or Hooks()
        self.standing, self.pace = Standing(), Pace()
        self.accelerator = make_accelerator(config, plan)
        self.device = self.accelerator.device
        task.model.to(self.device)
        self.average = Average(task.model, config.train.ema) if config.train.ema else None
        self.optimizer = make_optimizer(task.model, config.train, task.pretrained)
        self.best: dict[str, Tensor] | None = None
        self.model: nn.Module = task.model

    def run(self, resume: bool = False) -> Standing:
        """Train to the end and leave the best weights in ``task.model``.

        Raises:
            TrainingError: The loss is no finite number; the last state stays.
            CheckpointError: The state to resume from is refused.
            ResourceError: The disk is full.
        """
        if resume:
            self._restore()
        self.model, self.optimizer = self.accelerator.prepare(self.task.model, self.optimizer)
        started = time.monotonic() - self.standing.seconds
        for step, batches in self._steps():
            with self.pace.working():
                self._step(step, batches)
            self.standing.step = step + 1
            self.standing.seconds = time.monotonic() - started
            self._after(step)
            if self.standing.finished:
                break
        self.task.model = self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
        load_into(self.task.model, self.best or self._evaluated().state_dict(), "best weights")
        self.task.model.eval()
        return self.standing

    def _steps(self) -> Iterator[tuple[int, list[Batch]]]:
        """The steps that are left, each with the batches that this process adds up."""
        if self.standing.finished:
            return
        first, number = self.standing.step, self.config.train.accumulate
        made = ahead(self._batches(first * number), _AHEAD)
        try:
            for step in range(first, self.plan.steps):
                yield step, [batch.to(self.device) for batch in self.pace.take(made, number)]
        finally:
            made.close()  # type: ignore[attr-defined]

    def _batches(self, start: int) -> Iterator[Batch]:
        """This process's batches from the ``start``-th on, without end."""
        processes, rank = self.accelerator.num_processes, self.accelerator.process_index
        size, known = self.config.train.batch_size, -1
        length = len(self.train.order(0, size))
        for number in itertools.count(start):
            epoch, place = divmod(number * processes + rank, length)
            if epoch != known:
                order, known = self.train.order(epoch, size), epoch
            yield self.train.batch(order[place], epoch)

    def _step(self, step: int, batches: list[Batch]) -> None:
        seed_step(self.config.seed, step, self.accelerator.process_index)
        model = self.model.train()
        hold_still(model)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * rate(step, self.plan.steps, self.config.train.warmup)
        for batch in batches:
            with self.accelerator.accumulate(model):
                output = self.task.loss(model, batch)
                self._require_finite(output.total, step, batch)
                self.accelerator.backward(output.total)
                if self.accelerator.sync_gradients:
                    norm = self.accelerator.clip_grad_norm_(model.parameters(), self.config.train.clip_norm)
                    self._require_finite(norm, step, batch)
                self.optimizer.step()
                self.optimizer.zero_grad()
            self._note(output)
        if self.average is not None:
            self.average.update(self.accelerator.unwrap_model(model), step)

    def _require_finite(self, value: Tensor, step: int, batch: Batch) -> None:
        number = float(value.detach())
        if math.isfinite(number):
            return
        tags = ", ".join(study_tag(study_id) for study_id in batch.study_ids[:8])
        more = f" and {len(batch.study_ids) - 8} more" if len(batch.study_ids) > 8 else ""
        raise TrainingError(
            "the loss is no finite number",
            where=f"step {step + 1}",
            got=f"{number} on {tags}{more}",
            fix="Begin again in another --out with a lower train.lr; the last state before this step is kept.",
        )

    def _note(self, output: LossOutput) -> None:
        window = self.standing.window
        for name, value in {"loss": output.total, **output.parts}.items():
            window[name] = window.get(name, 0.0) + float(value.detach())
        window["count"] = window.get("count", 0.0) + 1

    def _after(self, step: int) -> None:
        """Record, validate, save and tell."""
        done, last = step + 1, step + 1 == self.plan.steps
        if done % max(1, self.plan.steps // _RECORDS) == 0 or last:
            self._record(done)
        if self.validation is not None and (done % self.plan.validate_every == 0 or last):
            self._validate(done)
        self.standing.finished = self.standing.finished or last
        if done % self.config.train.save_every == 0 or self.standing.finished:
            self.save()
        if self.hooks.progress is not None and self.accelerator.is_main_process:
            self.hooks.progress(done, self.plan.steps, self._words())

    def _record(self, done: int) -> None:
        window, self.standing.window = self.standing.window, {}
        count = window.pop("count")
        numbers = {name: value / count for name, value in window.items()}
        numbers["lr"] = self.config.train.lr * rate(done - 1, self.plan.steps, self.config.train.warmup)
        self.standing.train.append({"step": done, **numbers})
        told = numbers | {"wait_share": self.pace.wait_share}  # a time, so it is no part of the history
        self._tell({f"train/{name}": value for name, value in told.items()}, done)

    def _validate(self, done: int) -> None:
        numbers = self._judged()
        self.standing.validation.append({"step": done, **numbers})
        self._tell({f"val/{name}": value for name, value in numbers.items()}, done)
        best = self.standing.best_loss
        if math.isfinite(numbers["loss"]) and (best is None or numbers["loss"] < best):
            self.standing.best_loss, self.standing.best_step, self.standing.rounds = numbers["loss"], done, 0
            self.best = {name: value.detach().cpu().clone() for name, value in self._evaluated().state_dict().items()}
            return
        self.standing.rounds += 1
        self.standing.finished = 0 < self.config.train.patience <= self.standing.rounds

    def _judged(self) -> dict[str, float]:
        """Validation as the first process finds it: each has running statistics of its own, and all must agree."""
        numbers = [self.evaluate() if self.accelerator.is_main_process else {}]
        if self.accelerator.num_processes > 1:
            from accelerate.utils import broadcast_object_list

            broadcast_object_list(numbers)
        return numbers[0]

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Mean losses on validation of the weights that would be kept, without randomness."""
        assert self.validation is not None
        model = self._evaluated().eval()
        sums: dict[str, float] = {}
        for batch in self.validation_batches():
            with self.accelerator.autocast():
                output = self.task.loss(model, batch)
            for name, value in {"loss": output.total, **output.parts}.items():
                sums[name] = sums.get(name, 0.0) + float(value) * len(batch.study_ids)
        return {name: value / len(self.validation) for name, value in sums.items()}

    def validation_batches(self) -> Iterator[Batch]:
        """Every validation sample once, unchanged."""
        assert self.validation is not None
        order = self.validation.in_turn(self.config.train.batch_size)
        for batch in ahead((self.validation.batch(indices, None) for indices in order), _AHEAD):
            yield batch.to(self.device)

    def _evaluated(self) -> nn.Module:
        """The model whose weights are judged and kept: the average where there is one."""
        return self.average.model if self.average is not None else self.accelerator.unwrap_model(self.model)

    def save(self) -> None:
        """Write the state of this step; one process of many does."""
        if not self.accelerator.is_main_process:
            return
        module = self.accelerator.unwrap_model(self.model)
        moments = named_moments(module, getattr(self.optimizer, "optimizer", self.optimizer))
        tensors: dict[str, Mapping[str, Tensor]] = {"model": module.state_dict(), "optimizer": moments}
        if self.average is not None:
            tensors["ema"] = self.average.model.state_dict()
        if self.best is not None:
            tensors["best"] = self.best
        save_state(self.folder, self.standing, tensors, self.mark, self.config.train.keep_states)

    def _restore(self) -> None:
        if (found := load_state(self.folder, self.mark)) is None:
            return
        self.standing, tensors = found
        load_into(self.task.model, tensors["model"], "model.safetensors")
        restore_moments(self.task.model, self.optimizer, tensors["optimizer"])
        if self.average is not None:
            load_into(self.average.model, tensors["ema"], "ema.safetensors")
        self.best = tensors.get("best")

    def _tell(self, numbers: Mapping[str, float], step: int) -> None:
        if self.hooks.record is not None and self.accelerator.is_main_process:
            self.hooks.record(numbers, step)

    def _words(self) -> str:
        train, validation = self.standing.train, self.standing.validation
        words = [f"loss {train[-1]['loss']:.3f}"] if train else []
        judged = validation[-1]["loss"] if validation else None  # a state has no word for NaN and says None
        return ", ".join(words + ([] if judged is None else [f"validation {judged:.3f}"]))
