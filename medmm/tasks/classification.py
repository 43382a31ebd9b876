"""Classification: the views of a study in, the probability of each class out."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from medmm.config.schema import Config
from medmm.data.dataset import Batch, Sample
from medmm.errors import CheckpointError, Reason
from medmm.io.atomic import write_json
from medmm.models.classifier import StudyClassifier
from medmm.models.heads import SIDES, FindingOutput, FindingQueries
from medmm.models.image_encoder import build_encoder
from medmm.tasks.base import Draft, Encoded, LossOutput, Task
from medmm.tasks.losses import presence_loss, side_loss
from medmm.tasks.settling import settle_labels, settle_single
from medmm.tasks.study_labels import LabelSource, choose_classes, label_targets, only_class, sided
from medmm.types import Finding, Rejection, Status, Study

FORMAT = 1
_DESCRIPTION = "task.json"
_SIDE_WEIGHT = 0.2


class Classification(Task):
    """Says which classes a study shows, how sure it is, and when it had better say nothing."""

    name: ClassVar[str] = "classification"
    learns_from: ClassVar[str] = "labels (of a column, a table of findings, or a report)"

    def __init__(self, config: Config, classes: dict[str, float], source: str, sided: Sequence[str] = ()) -> None:
        """Put the model together.

        Args:
            config: The run's config.
            classes: The classes and the share of training studies that have each.
            source: Where labels come from: ``given``, ``report`` or ``both``.
            sided: Classes of which a side is learned.
        """
        self.config, self.classes, self.source = config, classes, LabelSource(config, source)
        self.sided = frozenset(sided)
        self.padding: Mapping[str, int] = {}
        prep = config.preprocess
        shape = (prep.size, prep.size) if prep.depth is None else (prep.depth, prep.size, prep.size)
        encoder = build_encoder(config.model.encoder, shape)
        head = FindingQueries(tuple(classes), encoder.width, tuple(classes.values()))
        self.model: StudyClassifier = StudyClassifier(encoder, head, prep, config.model.max_views)
        shares = torch.tensor(list(classes.values())).clamp(0.001, 0.999)
        balanced = config.classification.balanced
        self._positive_weight = ((1 - shares) / shares).sqrt() if balanced else None

    @classmethod
    def teaches(cls, study: Study) -> bool:
        """Whether a study has images and labels, or a report that they may be read from."""
        return bool(study.images) and bool(study.findings or study.report is not None)

    @classmethod
    def build(cls, config: Config, studies: Iterable[Study]) -> Classification:
        """Choose the classes, then make the model."""
        known = list(studies)
        source = LabelSource.of(config, known)
        labels = [found for found in map(source.read, known) if found is not None]
        classes = choose_classes(labels, config.classification, source.kind == "report")
        return cls(config, classes, source.kind, sided(labels, tuple(classes)))

    @classmethod
    def load(cls, folder: Path, config: Config) -> Classification:
        """Make the model that :meth:`save` described."""
        try:
            said = json.loads((folder / _DESCRIPTION).read_text(encoding="utf-8"))
            version, task, classes, source = said["format"], said["task"], dict(said["classes"]), str(said["labels"])
            with_side = tuple(said["sided"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError("the model's description cannot be read", where=_DESCRIPTION) from error
        if (version, task) != (FORMAT, cls.name):
            got, expected = f"{task} of format {version}", f"{cls.name} of format {FORMAT}"
            raise CheckpointError("a model of another kind", where=_DESCRIPTION, got=got, expected=expected)
        return cls(config, classes, source, with_side)

    def save(self, folder: Path) -> None:
        """Write ``task.json``, which names the classes and where their labels came from."""
        folder.mkdir(parents=True, exist_ok=True)
        said = {
            "format": FORMAT,
            "task": self.name,
            "kind": self.config.classification.kind,
            "classes": self.classes,
            "labels": self.source.kind,
            "sided": sorted(self.sided),
            "sides": list(SIDES),
        }
        write_json(folder / _DESCRIPTION, said)

    @property
    def single(self) -> bool:
        """Whether a study has exactly one class."""
        return self.config.classification.kind == "single"

    @property
    def finding_names(self) -> tuple[str, ...]:
        """The classes."""
        return tuple(self.classes)

    def encode(self, studies: Iterable[Study]) -> Encoded:
        """Turn labels into targets; a study without any is set aside."""
        samples: list[Sample] = []
        rejections: list[Rejection] = []
        names = tuple(self.classes)
        for study in studies:
            labels = self.source.read(study)
            if labels is None:
                rejections.append(Rejection(study.study_id, Reason.LABEL_MISSING, "nothing is known of the study"))
                continue
            targets = label_targets(labels, names, self.config.classification)
            if self.single:
                only = only_class(labels, names)
                if only is None:
                    detail = "none of the classes, or several, where exactly one is asked for"
                    rejections.append(Rejection(study.study_id, Reason.LABEL_MISSING, detail))
                    continue
                targets["only"] = np.array(only, np.int64)
            samples.append(Sample(study.study_id, targets, 1))
        return Encoded(samples, rejections)

    def loss(self, model: nn.Module, batch: Batch) -> LossOutput:
        """Loss of the classes and, where a side is said, of the side."""
        output: FindingOutput = model(batch.images, batch.view_mask)
        targets, logits = batch.targets, output.presence_bf
        if self.single:
            presence = functional.cross_entropy(logits.float(), targets["only"])
        else:
            weight = None if self._positive_weight is None else self._positive_weight.to(logits.device)
            kind = self.config.classification.loss
            presence = presence_loss(logits, targets["present"], targets["known"], kind, weight)
        sides = side_loss(output.sides_bfl, targets["side"])
        parts = {"classes": presence.detach(), "sides": sides.detach()}
        return LossOutput(presence + _SIDE_WEIGHT * sides, parts)

    @torch.no_grad()
    def draft(self, images: Tensor, view_mask: Tensor) -> list[Draft]:
        """Call each class; a study unlike those of training is declined as a whole."""
        output, features = self.model.look(images, view_mask)
        distances = self.model.familiarity(features)
        strange = self.model.familiarity.is_stranger(distances).tolist()
        rows = self._said(output)
        return [Draft(findings=row, stranger=is_strange) for row, is_strange in zip(rows, strange, strict=True)]

    def _said(self, output: FindingOutput) -> list[dict[str, Finding]]:
        """What is said of each study's classes."""
        p, most_wrong = self.probabilities(output.presence_bf), self.config.reliability.most_wrong
        if self.single:
            present = p >= p.max(1, keepdim=True).values
            declined = present & (p < self.model.decisions.least_sure(most_wrong))
        else:
            calls = self.model.decisions(output.presence_bf, most_wrong)
            present, declined = calls.present_bc, calls.declined_bc
        side = output.sides_bfl.argmax(-1).tolist()
        rows = []
        for place in range(len(p)):
            row = {}
            for column, name in enumerate(self.classes):
                is_present, is_declined = bool(present[place, column]), bool(declined[place, column])
                status = Status.UNCERTAIN if is_declined else Status.PRESENT if is_present else Status.ABSENT
                shown = name in self.sided and status is Status.PRESENT
                laterality = SIDES[side[place][column]] if shown else None
                row[name] = Finding(status, laterality, probability=float(p[place, column]))
            rows.append(row)
        return rows

    @torch.no_grad()
    def settle(self, batches: Callable[[], Iterable[Batch]]) -> Mapping[str, float]:
        """Fit calibration, thresholds, conformal sets and what is familiar on validation."""
        self.model.eval()
        rows: list[tuple[Tensor, ...]] = []
        for batch in batches():
            output, features = self.model.look(batch.images, batch.view_mask)
            names = ("only",) if self.single else ("present", "known")
            rows.append((output.presence_bf, features, *(batch.targets[name] for name in names)))
        columns = zip(*rows, strict=True)
        logits, seen, *truth = (np.concatenate([one.double().cpu().numpy() for one in column]) for column in columns)
        decisions, wanted, sure = self.model.decisions, self.config.classification, self.config.reliability
        if self.single:
            settle_single(decisions, logits, truth[0].astype(np.intp), sure.coverage)
        else:
            present, known = truth
            settle_labels(decisions, logits, present, known > 0, wanted.threshold, sure.coverage)
        self.model.familiarity.fit(seen, sure.familiar)
        found = {"temperature": float(decisions.temperature), "farthest": float(self.model.familiarity.limit)}
        if not self.single:
            found |= {
                f"threshold/{name}": value
                for name, value in zip(self.classes, decisions.threshold.tolist(), strict=True)
            }
        return {name: value for name, value in found.items() if math.isfinite(value)}

    def probabilities(self, logits_bc: Tensor) -> Tensor:
        """Calibrated probabilities ``[B, C]``; of a single label they sum to 1."""
        decisions = self.model.decisions
        if self.single:
            return torch.softmax(logits_bc.float() / decisions.temperature + decisions.offset, dim=1)
        return decisions.probabilities(logits_bc)
