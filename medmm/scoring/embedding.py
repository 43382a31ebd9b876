"""Studies, pictures and texts as vectors of one space, by a run that learned images and texts together.

Legend: B studies of a batch, V views of the study that has most, D numbers of an embedding.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from medmm.config.schema import Config
from medmm.errors import CheckpointError, Reason, ResourceError, UsageError, is_out_of_memory
from medmm.reports.labelers import choose_labeler
from medmm.scoring import archive
from medmm.scoring.drafting import Progress, adopt, stack
from medmm.scoring.images import prepared
from medmm.types import Finding, Rejection, Study

if TYPE_CHECKING:
    from torch import Tensor

    from medmm.training.loaded import LoadedModel

Array = npt.NDArray[np.float32]
_TOGETHER = 1024  # studies whose images are decoded before they are embedded
_WORD = re.compile(r"[^\W\d_]{2,}")


@runtime_checkable
class EmbeddingTask(Protocol):
    """A task whose model puts images and texts into one space."""

    def embed_images(self, images: Tensor, view_mask: Tensor) -> Tensor:
        """Embeddings float32 ``[B, D]`` of length 1 of ``[B, V, 1, *S]`` in [0, 1] with bool ``[B, V]``."""
        ...

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Embeddings float32 ``[B, D]`` of length 1."""
        ...

    def unknown_words(self, text: str) -> list[str]:
        """Words that the texts of training had none like."""
        ...


@dataclass(frozen=True, slots=True)
class Query:
    """What is searched for.

    Attributes:
        vector: float32 ``[D]`` of length 1.
        unknown: Words that the run does not know.
        unknown_share: Share of the words that they are, in [0, 1].
    """

    vector: Array
    unknown: tuple[str, ...] = ()
    unknown_share: float = 0.0


@dataclass
class Embedded:
    """What embedding an archive came to.

    Attributes:
        number: Studies in the archive.
        rejections: Studies, and images of studies, that were set aside.
    """

    number: int = 0
    rejections: list[Rejection] = field(default_factory=list)

    @property
    def reasons(self) -> dict[str, int]:
        """Reason to number of what was set aside, the most frequent first."""
        return dict(Counter(str(one.reason) for one in self.rejections).most_common())


def load(run: Path, device: str) -> LoadedModel:
    """Load a run that embeds.

    Raises:
        UsageError: It is no run directory, its task gives no embeddings, or there is no such device.
        CheckpointError: It cannot be loaded.
    """
    from medmm.training import run as runs

    model = runs.load(run, device=device)
    _embedder(model)
    return model


def embed_text(model: LoadedModel, text: str) -> Query:
    """Embed words to search with.

    Raises:
        UsageError: The text is empty, or the run knows none of its words.
    """
    words = set(_WORD.findall(text))
    if not words:
        got = "a text without words" if text.strip() else "an empty text"
        expected = "words such as 'small left pleural effusion'"
        raise UsageError("there is nothing to search for", where="search", got=got, expected=expected)
    unknown = tuple(_embedder(model).unknown_words(text))
    share = min(1.0, len(unknown) / len(words))
    if share == 1:
        expected = "words as they stand in the reports of training"
        got = f"{len(words)} of {len(words)} words unknown"
        raise UsageError("the run knows no word of the query", where="search", got=got, expected=expected)
    return Query(_array(_embedder(model).embed_texts([" ".join(text.split())]))[0], unknown, share)


def embed_picture(model: LoadedModel, path: Path) -> Query:
    """Embed a picture to search with.

    Args:
        model: The run.
        path: A file, or the folder of a volume's slices.

    Raises:
        ImageError: It cannot be read.
    """
    return Query(embed_views(model, [model.prepare(path)])[0])


def embed_views(model: LoadedModel, views: Sequence[Array]) -> Array:
    """Embed studies; a batch that does not fit into memory is halved until it does.

    Args:
        model: The run.
        views: B arrays ``[V, 1, *S]`` in [0, 1].

    Returns:
        float32 ``[B, D]`` of length 1.

    Raises:
        ResourceError: Not even a single study fits into memory.
        CheckpointError: The weights give no numbers.
    """
    import torch

    try:
        images, mask = (torch.from_numpy(one).to(model.device) for one in stack(views))
        return _array(_embedder(model).embed_images(images, mask))
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        if len(views) == 1:
            fix = "Use another --device."
            raise ResourceError("a single study does not fit into the memory of the device", fix=fix) from error
    half = len(views) // 2
    return np.concatenate([embed_views(model, views[:half]), embed_views(model, views[half:])])


def embed_archive(
    studies: Iterable[Study | Rejection],
    model: LoadedModel,
    config: Config,
    out: Path,
    *,
    said: Mapping[str, Any] | None = None,
    total: int | None = None,
    progress: Progress | None = None,
) -> Embedded:
    """Embed studies and write them as an archive; memory does not grow with them, but for the index.

    Args:
        studies: The studies, and what is set aside already.
        model: The run.
        config: Its config, with the settings of this call.
        out: Folder to write to.
        said: What else ``index.json`` says.
        total: Number of studies, if known.
        progress: Called as ``progress(done, total)``.

    Raises:
        DataError: No study has an image that can be read.
        CheckpointError: ``config`` asks for another preprocessing or model than the run's.
        UsageError: FAISS is not installed.
        ResourceError: Out of disk or memory.
    """
    model, done = adopt(model, config), Embedded()
    identity = {key: model.provenance[key] for key in ("medmm", "weights_sha256", "preprocess_sha256")}
    blocks = _blocks(studies, model, config, out, done, total, progress)
    done.number = archive.write(out, blocks, identity | dict(said or {}))
    return done


def _blocks(  # noqa: PLR0913, PLR0917 - what embed_archive was given
    studies: Iterable[Study | Rejection],
    model: LoadedModel,
    config: Config,
    out: Path,
    done: Embedded,
    total: int | None,
    progress: Progress | None,
) -> Iterator[tuple[list[dict[str, Any]], Array]]:
    """Rows and embeddings of a batch of studies at a time."""
    seen = 0
    for some in _batched(studies):
        done.rejections += [one for one in some if isinstance(one, Rejection)]
        known = [one for one in some if isinstance(one, Study) and _has_image(one, done)]
        with prepared(known, config, out, None) as ready:
            done.rejections += ready.rejections
            usable = [study for study in known if study.study_id not in ready.unread]
            size = config.score.batch_size
            for start in range(0, len(usable), size):
                part = usable[start : start + size]
                vectors = embed_views(model, [ready.views(study.study_id) for study in part])
                findings = _findings(part, config)
                yield [archive.row_of(*pair) for pair in zip(part, findings, strict=True)], vectors
                if progress is not None:
                    progress(seen + start + len(part), total)
        seen += len(some)


def _batched(studies: Iterable[Study | Rejection]) -> Iterator[list[Study | Rejection]]:
    rest = iter(studies)
    while some := list(itertools.islice(rest, _TOGETHER)):
        yield some


def _has_image(study: Study, done: Embedded) -> bool:
    if not study.images:
        detail = "the study has no image"
        done.rejections.append(Rejection(study.study_id, Reason.REPORT_WITHOUT_IMAGE, detail))
    return bool(study.images)


def _findings(studies: Sequence[Study], config: Config) -> list[Mapping[str, Finding] | None]:
    """What is known of studies: by their own labels, else by what the labeler reads in their reports."""
    unlabelled = [study for study in studies if not study.findings and study.report is not None]
    labels = choose_labeler(config.labeler).label_all([one.report for one in unlabelled if one.report is not None])
    read = dict(zip((one.study_id for one in unlabelled), labels, strict=True))
    return [study.findings or read.get(study.study_id) for study in studies]


def _embedder(model: LoadedModel) -> EmbeddingTask:
    task: object = model.task
    if isinstance(task, EmbeddingTask):
        return task
    got, expected = f"a run of --task {model.config.task}", "a run of pretrain"
    raise UsageError("the run has no space that images and texts share", where="--run", got=got, expected=expected)


def _array(vectors: Tensor) -> Array:
    """As float32 in the computer's memory; lengths of 1 are made exact, of half precision they are not."""
    found = vectors.detach().float().cpu().numpy()
    lengths = np.linalg.norm(found, axis=-1, keepdims=True)
    if not (np.isfinite(lengths) & (lengths > 0)).all():
        raise CheckpointError("the weights give no numbers", where="--run", fix="Train again.")
    return np.ascontiguousarray(found / lengths)
