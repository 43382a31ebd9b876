"""A model's drafts for studies whose images are ready, batch by batch.

Legend: B studies of a batch, V views of the study that has most, S pixels along each side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from medmm.config.schema import Config
from medmm.errors import CheckpointError, ResourceError, UsageError, is_out_of_memory
from medmm.types import Prediction

if TYPE_CHECKING:
    from medmm.training.loaded import LoadedModel

Array = npt.NDArray[np.float32]
Progress = Callable[..., None]


class DraftingModel(Protocol):
    """What scoring asks of a loaded run; ``medmm.training.run.LoadedModel`` is one."""

    @property
    def config(self) -> Config:
        """The run's config."""

    @property
    def preprocess_hash(self) -> str:
        """Hash of the preprocessing that the weights were trained with."""

    @property
    def finding_names(self) -> tuple[str, ...]:
        """Findings that it gives a probability for."""

    @property
    def provenance(self) -> Mapping[str, Any]:
        """What leads back to the weights, config and preprocessing."""

    def predict_batch(
        self,
        images: Array,
        view_mask: npt.NDArray[np.bool_],
        study_ids: Sequence[str],
        questions: Sequence[str] | None = None,
        shown: bool = True,
    ) -> list[Prediction]:
        """Draft a report for each study of ``images`` ``[B, V, 1, S, S]`` in [0, 1], or answer a question on each."""


def require_task(own: Config, config: Config) -> None:
    """A run does what it was trained for.

    Args:
        own: The run's config.
        config: What is asked for.

    Raises:
        UsageError: It is another task.
    """
    if config.task != own.task:
        what, fix = "the run was trained for another task", "Leave task out, or name another run."
        raise UsageError(what, where="task", got=config.task, expected=own.task, fix=fix)


def adopt(model: LoadedModel, config: Config) -> LoadedModel:
    """Let a loaded run write, decline and be asked with the settings and the seed of ``config``.

    Raises:
        UsageError: ``config`` asks for another task than the weights were trained for.
        CheckpointError: It asks for another preprocessing or another model than they were trained with.
    """
    own = model.config
    require_task(own, config)
    for part in ("preprocess", "model"):
        before, now = getattr(own, part).model_dump(), getattr(config, part).model_dump()
        if before != now:
            other = [f"{part}.{key}" for key in before if before[key] != now[key]]
            raise CheckpointError(
                "settings that belong to the weights cannot be changed afterwards",
                where="config",
                got=", ".join(other),
                fix="Leave them as the run has them, or train with them.",
            )
    model.task.config = own.model_copy(
        update={
            "generate": config.generate,
            "prompts": config.prompts,
            "reliability": config.reliability,
            "score": config.score,
            "seed": config.seed,
        }
    )
    return model


def stack(views: Sequence[Array]) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Join studies with different numbers of views.

    Args:
        views: B arrays ``[V, 1, S, S]``, V at least 1, in [0, 1].

    Returns:
        ``[B, V, 1, S, S]`` float32, black where a study has fewer views, and ``[B, V]`` bool, True where there is a
        view.
    """
    most = max(len(one) for one in views)
    images = np.zeros((len(views), most, *views[0].shape[1:]), dtype=np.float32)
    mask = np.zeros((len(views), most), dtype=bool)
    for row, one in enumerate(views):
        images[row, : len(one)] = one
        mask[row, : len(one)] = True
    return images, mask


def draft(
    model: DraftingModel,
    study_ids: Sequence[str],
    views: Sequence[Array],
    questions: Sequence[str] | None = None,
    shown: bool = True,
) -> list[Prediction]:
    """Draft a report for each study; a batch that does not fit into memory is halved until it does.

    Args:
        model: The loaded run.
        study_ids: B ids.
        views: B arrays ``[V, 1, S, S]`` in [0, 1].
        questions: B questions that are answered in place of a report.
        shown: Whether they are answered with the images.

    Raises:
        ResourceError: Not even a single study fits into memory.
    """
    try:
        images, mask = stack(views)
        asked = () if questions is None else (questions, shown)
        return list(model.predict_batch(images, mask, study_ids, *asked))
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        if len(study_ids) == 1:
            raise ResourceError(
                "a single study does not fit into the memory of the device",
                where="model",
                fix="Use another --device, or a run with a smaller preprocess.size.",
            ) from error
    half = len(study_ids) // 2
    parts = (slice(None, half), slice(half, None))
    return [
        one
        for part in parts
        for one in draft(model, study_ids[part], views[part], questions and questions[part], shown)
    ]


def draft_all(
    model: DraftingModel,
    study_ids: Sequence[str],
    views_of: Callable[[str], Array],
    batch_size: int,
    progress: Progress | None = None,
) -> list[Prediction]:
    """Draft a report for each study, in the order of the ids.

    Args:
        model: The loaded run.
        study_ids: The studies.
        views_of: Study id to ``[V, 1, S, S]`` in [0, 1].
        batch_size: Studies that are drafted together.
        progress: Called as ``progress(done, total)``.

    Raises:
        ResourceError: Not even a single study fits into memory.
    """
    predictions: list[Prediction] = []
    for start in range(0, len(study_ids), batch_size):
        batch = study_ids[start : start + batch_size]
        predictions.extend(draft(model, batch, [views_of(study_id) for study_id in batch]))
        if progress is not None:
            progress(len(predictions), len(study_ids))
    return predictions
