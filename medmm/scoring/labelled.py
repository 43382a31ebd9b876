"""Studies whose findings are known, as vectors of a pretrained run's space; each study is looked at once."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from medmm.config.schema import Config
from medmm.data.manifest import Manifest
from medmm.errors import UsageError
from medmm.scoring.class_samples import ClassMaterial, gather
from medmm.scoring.drafting import Progress, adopt
from medmm.scoring.embedding import embed_views
from medmm.scoring.evaluation import require_some
from medmm.scoring.images import prepared
from medmm.scoring.markdown import Table
from medmm.scoring.own_vocabulary import with_own_vocabulary
from medmm.tasks.few_shot import Told
from medmm.types import Rejection

if TYPE_CHECKING:
    from medmm.tasks.pretraining import Pretraining
    from medmm.training.loaded import LoadedModel

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Judged:
    """What a use of a run without its own training gave.

    Attributes:
        metrics: The content of ``metrics.json``.
        shown: Tables for people.
        notes: What was left out, in sentences.
        broken: Images that could not be read.
    """

    metrics: Mapping[str, Any]
    shown: tuple[Table, ...]
    notes: tuple[str, ...]
    broken: int


@dataclass
class Archive:
    """Data, model and settings that studies are looked at with.

    Attributes:
        model: The run.
        manifest: The data, with its split.
        config: The run's config with the settings of this call.
        out: Folder that is written to.
        progress: Called as ``progress(done, total, note)``.
        rejections: Images that could not be read so far.
    """

    model: LoadedModel
    manifest: Manifest
    config: Config
    out: Path
    progress: Progress | None = None
    rejections: list[Rejection] = field(default_factory=list)

    @property
    def task(self) -> Pretraining:
        """The run's task."""
        return cast("Pretraining", self.model.task)

    def known(self, split: str) -> ClassMaterial:
        """The studies of a split whose findings are known.

        Raises:
            DataError: There is none.
        """
        material = gather(self.manifest, split, self.config, self.task.findings)
        fix = "Give splits to the data: data.splits, or a split column."
        require_some(material.samples, material.left_out, split, "studies with images and labels or a report", fix=fix)
        return material

    def look(self, material: ClassMaterial, models: Sequence[LoadedModel]) -> list[Floats]:
        """Vectors ``[N, D]`` by each model; studies that cannot be read are dropped from ``material``."""
        vectors: list[list[npt.NDArray[np.float32]]] = [[] for _ in models]
        size, number = self.config.score.batch_size, len(material.studies)
        with prepared(material.studies, self.config, self.out, self.progress) as images:
            material.drop(images.unread)
            self.rejections += images.rejections
            for start in range(0, len(material.studies), size):
                views = [images.views(study.study_id) for study in material.studies[start : start + size]]
                for found, model in zip(vectors, models, strict=True):
                    found.append(embed_views(model, views))
                if self.progress is not None:
                    self.progress(start + len(views), number, "looking")
        return [np.concatenate(found or [np.zeros((0, 1), np.float32)]).astype(np.float64) for found in vectors]

    def told(self, split: str, models: Sequence[LoadedModel]) -> tuple[ClassMaterial, list[Told]]:
        """A split as each model sees it.

        Raises:
            DataError: None of its studies has known findings and an image that can be read.
        """
        material = self.known(split)
        vectors = self.look(material, models)
        require_some(material.samples, material.left_out, split, "studies with an image that can be read")
        return material, [Told(one, material.truth, material.known) for one in vectors]


def open_archive(run: Path, manifest: Manifest, config: Config, out: Path, progress: Progress | None) -> Archive:
    """Load a run of ``pretrain`` to look at studies with.

    Raises:
        UsageError: It is no run, or one of another task.
        CheckpointError: It cannot be loaded.
    """
    from medmm.training import run as runs

    model = runs.load(run, device=config.device)
    config = with_own_vocabulary(config, model.config, run)
    return Archive(adopt(model, config), manifest, config, out, progress)


def require_pretraining(trained: Config) -> None:
    """Refuse a run of another task.

    Raises:
        UsageError: It is one.
    """
    if trained.task != "pretraining":
        got = f"a run of --task {trained.task}"
        raise UsageError(
            "only a pretrained run is asked by prompts", where="--run", got=got, expected="a run of pretrain"
        )


def untrained(model: LoadedModel, seed: int) -> LoadedModel:
    """The same run with an image tower of random weights; for its image vectors alone."""
    import torch

    from medmm.models.dual_encoder import DualEncoder
    from medmm.models.image_encoder import build_encoder
    from medmm.training.loaded import LoadedModel

    task = copy.copy(cast("Pretraining", model.task))
    prep = task.config.preprocess
    shape = (prep.size, prep.size) if prep.depth is None else (prep.depth, prep.size, prep.size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        task.model = DualEncoder(build_encoder(task.config.model.encoder, shape), task.model.text, task.config)
    return LoadedModel(task, model.device, {})
