"""Regression: the views of a study in, numbers out, each with an interval."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from medmm.config.schema import Config
from medmm.data.dataset import Batch, Sample
from medmm.errors import CheckpointError, Reason
from medmm.io.atomic import write_json
from medmm.metrics.regression import conformal_margin
from medmm.models.image_encoder import build_encoder
from medmm.models.regressor import Intervals, StudyRegressor
from medmm.tasks.base import Draft, Encoded, LossOutput, Task
from medmm.tasks.losses import number_loss
from medmm.tasks.study_values import columns_of, measure, read_values
from medmm.types import Estimate, Rejection, Study

FORMAT = 1
_DESCRIPTION = "task.json"


class Regression(Task):
    """Says how large something is, how sure that is, and when it had better say nothing.

    It is ``--task classification`` with ``classification.kind=regression``.

    Attributes:
        targets: The T targets, called as the columns that they were learned from.
    """

    name: ClassVar[str] = "regression"
    learns_from: ClassVar[str] = "a number (of a column of a table)"

    def __init__(self, config: Config, targets: Sequence[str]) -> None:
        self.config, self.targets = config, tuple(targets)
        self.padding: Mapping[str, int] = {}
        prep = config.preprocess
        shape = (prep.size, prep.size) if prep.depth is None else (prep.depth, prep.size, prep.size)
        encoder = build_encoder(config.model.encoder, shape)
        self.model: StudyRegressor = StudyRegressor(encoder, len(self.targets), prep, config.model.max_views)

    @classmethod
    def teaches(cls, study: Study) -> bool:
        """Whether a study has images; :meth:`encode` says which have no number."""
        return bool(study.images)

    @classmethod
    def has_target(cls, study: Study, config: Config) -> bool:
        """Whether any of the label columns holds a number."""
        return any(column in study.values for column in config.data.columns.labels)

    @classmethod
    def build(cls, config: Config, studies: Iterable[Study]) -> Regression:
        """Measure the numbers of the training studies, then make the model."""
        columns = config.data.columns.labels
        mean, deviation = measure(np.array([read_values(study, columns) for study in studies]), columns)
        task = cls(config, columns)
        task.model.scale.mean.copy_(torch.from_numpy(mean))
        task.model.scale.deviation.copy_(torch.from_numpy(deviation))
        return task

    @classmethod
    def load(cls, folder: Path, config: Config) -> Regression:
        """Make the model that :meth:`save` described."""
        try:
            said = json.loads((folder / _DESCRIPTION).read_text(encoding="utf-8"))
            version, task, targets = said["format"], said["task"], tuple(map(str, said["targets"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError("the model's description cannot be read", where=_DESCRIPTION) from error
        if (version, task) != (FORMAT, cls.name):
            got, expected = f"{task} of format {version}", f"{cls.name} of format {FORMAT}"
            raise CheckpointError("a model of another kind", where=_DESCRIPTION, got=got, expected=expected)
        return cls(config, targets)

    def save(self, folder: Path) -> None:
        """Write ``task.json``, which names the targets."""
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / _DESCRIPTION, {"format": FORMAT, "task": self.name, "targets": list(self.targets)})

    def encode(self, studies: Iterable[Study]) -> Encoded:
        """Turn numbers into deviations from the training mean; a study without any is set aside."""
        samples: list[Sample] = []
        rejections: list[Rejection] = []
        columns, scale = columns_of(self.config, self.targets), self.model.scale
        mean, deviation = scale.mean.cpu().numpy(), scale.deviation.cpu().numpy()
        lacking = np.zeros(len(columns), np.int64)
        for study in studies:
            values = read_values(study, columns)
            known = np.isfinite(values)
            if not known.any():
                rejections.append(Rejection(study.study_id, Reason.LABEL_MISSING, "no number in data.columns.label"))
                continue
            lacking += ~known
            standard = np.where(known, (values - mean) / deviation, 0)
            targets = {"value": standard.astype(np.float32), "known": known.astype(np.float32)}
            samples.append(Sample(study.study_id, targets, 1))
        notes = [f"{number} studies have no number in '{name}'" for name, number in zip(columns, lacking, strict=True)]
        return Encoded(samples, rejections, [note for note, number in zip(notes, lacking, strict=True) if number])

    def loss(self, model: nn.Module, batch: Batch) -> LossOutput:
        """Huber loss of the deviations from the training mean."""
        total = number_loss(model(batch.images, batch.view_mask), batch.targets["value"], batch.targets["known"])
        return LossOutput(total, {"values": total.detach()})

    @torch.no_grad()
    def draft(self, images: Tensor, view_mask: Tensor) -> list[Draft]:
        """Say each number with its interval; a study unlike those of training is declined as a whole."""
        standard, features = self.model.look(images, view_mask)
        strange = self.model.familiarity.is_stranger(self.model.familiarity(features)).tolist()
        rows = _estimates(self.model.scale(standard), self.targets)
        return [Draft(values=row, stranger=is_strange) for row, is_strange in zip(rows, strange, strict=True)]

    @torch.no_grad()
    def settle(self, batches: Callable[[], Iterable[Batch]]) -> Mapping[str, float]:
        """Fit the intervals and what is familiar on validation."""
        self.model.eval()
        rows: list[tuple[Tensor, ...]] = []
        for batch in batches():
            standard, features = self.model.look(batch.images, batch.view_mask)
            rows.append((standard, batch.targets["value"], batch.targets["known"], features))
        columns = zip(*rows, strict=True)
        said, truth, known, seen = (np.concatenate([one.double().cpu().numpy() for one in part]) for part in columns)
        scale, sure = self.model.scale, self.config.reliability
        residuals = np.abs(said - truth)
        margins = [conformal_margin(own[use > 0], sure.coverage) for own, use in zip(residuals.T, known.T, strict=True)]
        scale.margin.copy_(torch.tensor(margins, dtype=torch.float64) * scale.deviation.cpu())
        scale.coverage.fill_(sure.coverage)
        self.model.familiarity.fit(seen, sure.familiar)
        found = {f"margin/{name}": value for name, value in zip(self.targets, scale.margin.tolist(), strict=True)}
        found["farthest"] = float(self.model.familiarity.limit)
        return {name: value for name, value in found.items() if math.isfinite(value)}


def _estimates(said: Intervals, targets: Sequence[str]) -> list[dict[str, Estimate]]:
    """What is said of each study's targets."""
    rows = []
    for triples in torch.stack((said.value, said.low, said.high), dim=-1).tolist():
        row = {}
        for name, (value, low, high) in zip(targets, triples, strict=True):
            row[name] = Estimate(value, low, high) if math.isfinite(high) else Estimate(value)
        rows.append(row)
    return rows
