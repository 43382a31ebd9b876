"""What the training loop asks of a task. The loop knows neither modality nor kind of target."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from medmm.config.schema import Config
from medmm.data.dataset import Batch, Sample
from medmm.types import Estimate, Finding, ImageSource, Rejection, Study

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class LossOutput:
    """Loss of a batch.

    Attributes:
        total: Scalar to minimise.
        parts: Name to detached scalar, as it is shown; not weighted.
    """

    total: Tensor
    parts: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Draft:
    """What a task says of one study.

    Attributes:
        report: Drafted report, None for tasks that write none.
        findings: Finding name to status, with the model's probability where it has one.
        answer: Answer to a question, None for other tasks.
        masks: Mask name to uint8 array on the grid of the model's input, for tasks that outline.
        stranger: Whether the images are unlike those of training, so that nothing that is said of them counts.
        values: Name to number, for tasks that learn numbers.
        confidence: Calibrated probability in [0, 1] that the answer is right, None for other tasks.
        declined: Why the answer does not count, None where it does.
    """

    report: str | None = None
    findings: Mapping[str, Finding] = field(default_factory=dict)
    answer: str | None = None
    masks: Mapping[str, npt.NDArray[np.uint8]] = field(default_factory=dict)
    stranger: bool = False
    values: Mapping[str, Estimate] = field(default_factory=dict)
    confidence: float | None = None
    declined: str | None = None


@dataclass(frozen=True)
class Encoded:
    """Studies as samples, and those that teach the task nothing.

    Attributes:
        samples: One a usable study, in the order of the studies.
        rejections: The others, with the reason.
        notes: What was unusual, one sentence each, without patient data.
    """

    samples: Sequence[Sample]
    rejections: Sequence[Rejection]
    notes: Sequence[str] = ()


class Task(ABC):
    """A model with its targets, loss and outputs. Every task passes ``tests/contracts/test_tasks.py``.

    Attributes:
        name: As in the registry.
        config: The run's config.
        model: The module that is trained; :meth:`loss` may be given a wrapped one.
        padding: Targets that are vectors of differing length, and what fills them up in a batch.
        learns_from: What a study must have beside images, in words.
    """

    name: ClassVar[str]
    learns_from: ClassVar[str] = "a report"
    config: Config
    model: nn.Module
    padding: Mapping[str, int]

    @classmethod
    def teaches(cls, study: Study) -> bool:
        """Whether a study has what the task may learn from."""
        return bool(study.images) and study.report is not None

    @classmethod
    def has_target(cls, study: Study, config: Config) -> bool:
        """Whether a study that :meth:`teaches` also has a target; looked at quickly, :meth:`encode` says why not."""
        return True

    @classmethod
    @abstractmethod
    def build(cls, config: Config, studies: Iterable[Study]) -> Task:
        """Make the task with random weights from torch's generator.

        What it needs to know before, such as a vocabulary, it learns from the training studies.

        Raises:
            DataError: Too few of the studies can be used.
            CheckpointError: A language model that the config names cannot be loaded.
        """

    @classmethod
    @abstractmethod
    def load(cls, folder: Path, config: Config) -> Task:
        """Make the task that :meth:`save` described, with random weights.

        Raises:
            CheckpointError: The description is missing, broken or of another format.
        """

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Describe the task in ``folder``: all that is needed to use the weights, but not the weights."""

    @abstractmethod
    def encode(self, studies: Iterable[Study]) -> Encoded:
        """Turn studies into samples; a study without target is set aside."""

    @abstractmethod
    def loss(self, model: nn.Module, batch: Batch) -> LossOutput:
        """Loss of ``model`` on a batch; ``model.training`` says whether it learns. Random only by torch's generator."""

    @abstractmethod
    def draft(self, images: Tensor, view_mask: Tensor) -> list[Draft]:
        """Say what the model sees.

        Args:
            images: float32 ``[B, V, 1, *S]`` in [0, 1] on the model's device.
            view_mask: bool ``[B, V]``.
        """

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names of the channels that an image has, in their order; empty: it has one, of no name."""
        return ()

    def images_of(self, sources: Sequence[ImageSource]) -> list[ImageSource]:
        """What a study's images are read from; several files may be channels of one image."""
        return list(sources)

    def outlines(self, source: ImageSource) -> Mapping[str, npt.NDArray[np.uint8]] | None:
        """Masks on an image's own grid; None for tasks that look at views of one size."""
        return None

    @property
    def pretrained(self) -> nn.Module | None:
        """The part of the model that came with weights, None where all starts at random."""
        return None

    @property
    def finding_names(self) -> tuple[str, ...]:
        """Findings that the model gives a probability for."""
        return ()

    def settle(self, batches: Callable[[], Iterable[Batch]]) -> Mapping[str, float]:  # noqa: B027 - most have nothing to do
        """Set what is chosen on validation once the weights stand, such as thresholds; returns what was chosen."""
        return {}
