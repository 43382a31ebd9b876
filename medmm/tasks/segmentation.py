"""Segmentation: an image in, a mask of each class out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from medmm.config.schema import Config
from medmm.data.case_grid import CaseGrid, restore
from medmm.data.case_planning import choose_classes, plan_grid
from medmm.data.cases import CaseCache
from medmm.data.dataset import Batch, Sample
from medmm.data.labels import image_channels, mask_labels
from medmm.data.outline_code import OutlineCode
from medmm.data.prepared import Prepared, prepared
from medmm.errors import CheckpointError, Reason, UsageError
from medmm.io.atomic import write_json
from medmm.models.segmenter import Segmenter, build_network, side_multiple
from medmm.tasks.base import Draft, Encoded, LossOutput, Task
from medmm.tasks.outline_loss import outline_loss
from medmm.tasks.outlining import choose_cleaning, clean, most_voxels, scores_of
from medmm.types import ImageSource, Rejection, Study

FORMAT = 2
_READ = (1, FORMAT)  # the first had neither channels nor voxels that nobody has labelled
_DESCRIPTION = "task.json"
_SIDES = ("left", "right")
_JUDGED = 32  # validation cases that the cleaning of masks is chosen on


class Segmentation(Task):
    """Outlines structures."""

    name: ClassVar[str] = "segmentation"
    learns_from: ClassVar[str] = "masks"
    cases: CaseCache | None = None
    """Whole cases of training, where the loop's batches hold patches of them."""

    def __init__(self, config: Config, code: OutlineCode, grid: CaseGrid) -> None:
        """Put the model together.

        Args:
            config: The run's config.
            code: The classes, and whether they exclude each other.
            grid: What images are brought to.
        """
        self.config, self.code, self.grid = config, code, grid
        self.padding: Mapping[str, int] = {}
        _refuse_mirrored_sides(config, code.classes)
        spacing = grid.spacing_mm or (1.0,) * len(grid.patch)
        wanted, encoder = config.segmentation, config.model.encoder
        network = build_network(wanted, encoder, grid.patch, code.channels, spacing, code.exclusive, len(grid.channels))
        multiple = side_multiple(wanted, encoder)
        self.model: Segmenter = Segmenter(network, config.preprocess, len(code.classes), multiple)

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names of the channels that an image has, in their order."""
        return self.grid.channels

    def images_of(self, sources: Sequence[ImageSource]) -> list[ImageSource]:
        """What a study's images are read from: files of one channel each together."""
        return self.grid.images_of(sources)

    @classmethod
    def teaches(cls, study: Study) -> bool:
        """Whether a study has an image and masks."""
        return bool(study.images and study.masks)

    @classmethod
    def build(cls, config: Config, studies: Iterable[Study]) -> Segmentation:
        """Choose the classes and plan the grid, then make the model."""
        code, grid = planned(config, studies)
        return cls(config, code, grid)

    @classmethod
    def load(cls, folder: Path, config: Config) -> Segmentation:
        """Make the model that :meth:`save` described."""
        try:
            said = json.loads((folder / _DESCRIPTION).read_text(encoding="utf-8"))
            version, task = said["format"], said["task"]
            if version in _READ and task == cls.name:
                return cls(
                    config, OutlineCode(tuple(said["classes"]), bool(said["exclusive"])), CaseGrid.of(said["grid"])
                )
        except (OSError, ValueError, KeyError, TypeError, UsageError) as error:
            raise CheckpointError("the model's description cannot be read", where=_DESCRIPTION) from error
        got, expected = f"{task} of format {version}", f"{cls.name} of format {FORMAT}"
        raise CheckpointError("a model of another kind", where=_DESCRIPTION, got=got, expected=expected)

    def save(self, folder: Path) -> None:
        """Write ``task.json``, which names the classes and the grid."""
        folder.mkdir(parents=True, exist_ok=True)
        said = {
            "format": FORMAT,
            "task": self.name,
            "classes": list(self.code.classes),
            "exclusive": self.code.exclusive,
            "lesions": list(self.lesions),
            "grid": self.grid.as_dict(),
        }
        write_json(folder / _DESCRIPTION, said)

    @property
    def lesions(self) -> tuple[str, ...]:
        """Classes that are reported by size, beside the others."""
        return tuple(name for name in self.code.classes if name in self.config.segmentation.lesions)

    def encode(self, studies: Iterable[Study]) -> Encoded:
        """Name the studies that have masks; the masks themselves are read with the images."""
        samples: list[Sample] = []
        rejections: list[Rejection] = []
        for study in studies:
            if self.teaches(study):
                samples.append(Sample(study.study_id, {}, 1))
            else:
                rejections.append(Rejection(study.study_id, Reason.IMAGE_WITHOUT_MASK, "the study has no mask"))
        return Encoded(samples, rejections)

    def loss(self, model: nn.Module, batch: Batch) -> LossOutput:
        """Cross entropy and Dice loss of the classes."""
        logits = model(batch.images[:, 0])
        entropy, dice = outline_loss(logits, batch.targets["mask"], self.code)
        total = entropy + self.config.segmentation.dice_weight * dice
        return LossOutput(total, {"entropy": entropy.detach(), "dice": dice.detach()})

    @torch.no_grad()
    def draft(self, images: Tensor, view_mask: Tensor) -> list[Draft]:
        """Outline the first view of each study, on the grid of the input."""
        coded = (self._cleaned(self.code.decide(self._scores(view[0]))) for view in images)
        return [
            Draft(masks={name: mask.astype(np.uint8) for name, mask in self.code.masks(one).items()}) for one in coded
        ]

    @torch.no_grad()
    def outline(self, image: Prepared) -> npt.NDArray[Any]:
        """Outline an image on this task's grid: coded masks ``[*S]`` on the image's own."""
        scores = self._scores(torch.from_numpy(image.values))
        return self._cleaned(restore(scores, image.shape, self.code.decide))

    def outlines(self, source: ImageSource) -> dict[str, npt.NDArray[np.uint8]]:
        """Outline an image as it lies in its file or folder.

        Raises:
            ImageError: It cannot be read, or is of another kind than those of training.
        """
        masks = self.code.masks(self.outline(prepared(source, self.grid)))
        return {name: mask.astype(np.uint8) for name, mask in masks.items()}

    def _scores(self, image: Tensor) -> npt.NDArray[np.float32]:
        return scores_of(self.model, image, self.grid.patch, self.code.exclusive, self.config)

    def _cleaned(self, coded: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return clean(coded, self.code, self.model.largest.tolist(), self.model.filled.tolist())

    @torch.no_grad()
    def settle(self, batches: Callable[[], Iterable[Batch]]) -> Mapping[str, float]:
        """Choose on validation what is done to each class's masks: keep the largest part, fill holes, both, nothing."""
        self.model.eval()
        if not self.config.segmentation.postprocess:
            return {}
        chosen = choose_cleaning(self._judged(batches()), self.code)
        settled: dict[str, float] = {}
        for number, name in enumerate(self.code.classes):
            self.model.largest[number], self.model.filled[number] = chosen[number]
            settled |= {f"{name}/largest": float(chosen[number][0]), f"{name}/filled": float(chosen[number][1])}
        return settled

    def _judged(self, batches: Iterable[Batch]) -> Iterator[tuple[npt.NDArray[Any], npt.NDArray[Any]]]:
        """What the model draws and what is true, coded, of whole validation cases."""
        done = 0
        for batch in batches:
            for row, study_id in enumerate(batch.study_ids):
                if done == _JUDGED:
                    return
                done += 1
                if self.cases is not None:
                    case = self.cases.case(study_id)
                    image = torch.from_numpy(np.asarray(case.image, np.float32) / 65535)
                    truth: npt.NDArray[Any] = np.asarray(case.mask)
                else:
                    image, truth = batch.images[row, 0], batch.targets["mask"][row].cpu().numpy()
                yield self.code.decide(self._scores(image)), truth.astype(self.code.dtype)


def planned(config: Config, studies: Iterable[Study]) -> tuple[OutlineCode, CaseGrid]:
    """Classes and grid that the training studies call for.

    Raises:
        DataError: None of them can be used, or none shows a class that is wanted.
    """
    known, labels, wanted = list(studies), mask_labels(config.data), config.segmentation
    classes = choose_classes(known, labels, wanted.classes, int(config.train.workers != 0))
    values = [value for name in classes for value in labels.get(name, ())]
    exclusive = len(classes) > 1 and set(classes) <= set(labels) and len(values) == len(set(values))
    multiple = side_multiple(wanted, config.model.encoder)
    channels = image_channels(config.data)
    grid = plan_grid(config, known, labels, classes, most_voxels(config), multiple, channels)
    return OutlineCode(classes, exclusive), grid


def _refuse_mirrored_sides(config: Config, classes: Iterable[str]) -> None:
    sided = [name for name in classes if set(name.lower().replace("-", "_").split("_")) & set(_SIDES)]
    if config.segmentation.mirror and sided:
        what, fix = (
            "mirrored images swap left and right",
            "Set segmentation.mirror=false, or name classes without sides.",
        )
        raise UsageError(what, where="segmentation.mirror", got=", ".join(sided), fix=fix)
