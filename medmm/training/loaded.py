"""A trained run, ready to be asked: ``medmm.load(run)``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from medmm import __version__, registry
from medmm.config.schema import Config, PreprocessConfig
from medmm.data.cache import preprocess_hash, read_view
from medmm.data.left_out import left_out_notes
from medmm.errors import CheckpointError, ImageError, Reason, UsageError
from medmm.io.atomic import write_json
from medmm.models.weights import file_sha256, load_into, load_tensors, read_metadata, refuse_pickles_in, save_tensors
from medmm.tasks.base import Draft, Task
from medmm.tasks.questions import checked
from medmm.tasks.vqa import answering
from medmm.training.plan import choose_device
from medmm.training.provenance import config_hash, read_record
from medmm.training.records import read_config
from medmm.types import ImageSource, Prediction, Status, Study, study_tag

WEIGHTS, PREPROCESS = "model.safetensors", "preprocess.json"
FORMAT = 1
_STRANGER = "the images are unlike those of training: nothing that is said of them counts"
Source = Study | str | Path | Sequence[str | Path]
Array = npt.NDArray[np.float32]


class LoadedModel:
    """A model with the preprocessing that it was trained with.

    Attributes:
        task: The task with its trained model, in evaluation mode.
        device: Where it computes.
        provenance: What leads back to weights, config, data and preprocessing; goes into every prediction.
    """

    def __init__(self, task: Task, device: str, provenance: Mapping[str, Any]) -> None:
        self.task, self.device, self.provenance = task, device, dict(provenance)
        task.model.to(device).eval()

    @property
    def config(self) -> Config:
        """The run's config."""
        return self.task.config

    @property
    def finding_names(self) -> tuple[str, ...]:
        """Findings that the model gives a probability for."""
        return self.task.finding_names

    @property
    def preprocess_hash(self) -> str:
        """Hash of the preprocessing that the weights were trained with."""
        return preprocess_hash(self.config.preprocess)

    def prepare(self, source: Source) -> Array:
        """Read the images of a study as the model was trained to see them.

        Args:
            source: A study, a path or several paths; views beyond those that the model takes are left out.

        Returns:
            float32 ``[V, 1, S, S]`` (``[V, 1, D, S, S]`` for volumes) in [0, 1].

        Raises:
            ImageError: None of the images can be read; the first one's reason.
        """
        return self._read(_images(source))[0]

    def predict(self, source: Source, question: str | None = None) -> Prediction:
        """Read a study's images and say of them what the run's task says; ``notes`` name the images that were left out.

        Args:
            source: As :meth:`prepare`.
            question: What a run of ``--task vqa`` answers; None asks the first of its ``score.questions``.

        Raises:
            ImageError: As :meth:`prepare`.
            UsageError: The question is empty or far too long, there is none, or the run answers no questions.
        """
        given = _images(source)
        name = source.study_id if isinstance(source, Study) else study_tag(str(given[0]))
        sources = self.task.images_of(given)
        if sources and (masks := self.task.outlines(sources[0])) is not None:
            others = dict.fromkeys(range(1, len(sources)), Reason.IMAGE_SURPLUS)
            notes = left_out_notes(others, len(sources))
            return Prediction(name, masks=masks, provenance=self.provenance, notes=notes)
        questions = None if question is None else [question]
        views, left_out = self._read(sources)
        images = views[None]
        prediction = self.predict_batch(images, np.ones(images.shape[:2], dtype=bool), [name], questions)[0]
        return replace(prediction, notes=(*prediction.notes, *left_out_notes(left_out, len(sources))))

    def _read(self, sources: Sequence[ImageSource]) -> tuple[Array, dict[int, Reason]]:
        """The views, as :meth:`prepare`, and why the other images were left out, by their place."""
        views: list[Array] = []
        left_out: dict[int, Reason] = {}
        failure: ImageError | None = None
        for place, one in enumerate(sources):
            if len(views) == self.config.model.max_views:
                left_out[place] = Reason.IMAGE_SURPLUS
                continue
            try:
                views.append(read_view(one, self.config.preprocess))
            except ImageError as error:
                failure = failure or error
                left_out[place] = error.reason
        if not views:
            raise failure or ImageError(Reason.REPORT_WITHOUT_IMAGE, "there is no image")
        return np.stack(views), left_out

    def predict_batch(
        self,
        images: Array,
        view_mask: npt.NDArray[np.bool_],
        study_ids: Sequence[str],
        questions: Sequence[str] | None = None,
        shown: bool = True,
    ) -> list[Prediction]:
        """Say of each study what the run's task says: a draft, findings, numbers, masks, or an answer to a question.

        Args:
            images: float32 ``[B, V, 1, S, S]`` in [0, 1], as :meth:`prepare` or the cache gives them.
            view_mask: bool ``[B, V]``, True where there is a view; each study has one.
            study_ids: B ids.
            questions: B questions, for a run of ``--task vqa``.
            shown: Whether they are answered with the images; False answers from the question alone.

        Raises:
            UsageError: The arrays do not fit each other or the model, or questions do not fit the run.
        """
        self._check(images, view_mask, study_ids)
        most = max(1, int(view_mask.sum(1).max(initial=1)))
        order = np.argsort(~view_mask, axis=1, kind="stable")[:, :most]  # views that are there first
        rows = np.arange(len(images))[:, None]
        seen = torch.from_numpy(np.ascontiguousarray(images[rows, order], dtype=np.float32)).to(self.device)
        mask = torch.from_numpy(np.ascontiguousarray(view_mask[rows, order])).to(self.device)
        say = self._sayer(questions, shown)
        with torch.inference_mode():
            if self.config.generate.strategy == "sample":
                each = [slice(k, k + 1) for k in range(len(study_ids))]
                keys = [f"{name}\0{questions[k]}" if questions else name for k, name in enumerate(study_ids)]
                drafts = [self._sampled(say, seen, mask, *one) for one in zip(each, keys, strict=True)]
            else:
                drafts = say(seen, mask, slice(None))
        notes = [answering(self.task).notes_on(one) for one in questions] if questions else [()] * len(drafts)
        said = zip(study_ids, drafts, notes, strict=True)
        return [self._said(study_id, draft, more) for study_id, draft, more in said]

    def _sayer(self, questions: Sequence[str] | None, shown: bool) -> Callable[..., list[Draft]]:
        """What is asked of the task, as a function of images, mask and the rows of a batch."""
        if questions is None:
            return lambda images, mask, rows: self.task.draft(images[rows], mask[rows])
        task, asked = answering(self.task), [checked(question) for question in questions]
        return lambda images, mask, rows: task.answer(images[rows], mask[rows], asked[rows], shown)

    def _said(self, study_id: str, draft: Draft, notes: Sequence[str] = ()) -> Prediction:
        calls = [finding.status for finding in draft.findings.values()]
        is_silent = draft.stranger or draft.declined is not None or (bool(calls) and set(calls) == {Status.UNCERTAIN})
        why = (_STRANGER if draft.stranger else None, draft.declined)
        return Prediction(
            study_id, draft.findings, draft.report, draft.answer, draft.masks, is_silent, self.provenance,
            (*notes, *(one for one in why if one)), draft.values, draft.confidence,
        )  # fmt: skip

    def _sampled(
        self, say: Callable[..., list[Draft]], images: torch.Tensor, view_mask: torch.Tensor, row: slice, key: str
    ) -> Draft:
        """A draft drawn by (seed, study) alone: neither batch nor order changes it, nor the caller's own draws."""
        digest = hashlib.blake2b(f"{self.config.seed}\0{key}".encode(), digest_size=8).digest()
        devices = [images.device] if images.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(int.from_bytes(digest, "little") >> 1)
            return say(images, view_mask, row)[0]

    def _check(self, images: Array, view_mask: npt.NDArray[np.bool_], study_ids: Sequence[str]) -> None:
        prep = self.config.preprocess
        sides = (prep.size, prep.size) if prep.depth is None else (prep.depth, prep.size, prep.size)
        fits = images.ndim == 3 + len(sides) and images.shape[2:] == (1, *sides)
        if not fits or images.shape[:2] != view_mask.shape or len(images) != len(study_ids):
            raise UsageError(
                "images do not fit the model",
                got=f"images {images.shape}, mask {view_mask.shape}, {len(study_ids)} ids",
                expected=f"images [B, V, 1, {', '.join(map(str, sides))}], mask [B, V], B ids",
            )
        if images.shape[1] > self.config.model.max_views or not view_mask.any(axis=1).all():
            expected = f"1 to {self.config.model.max_views} views a study"
            raise UsageError("a study has too few or too many views", got=f"mask {view_mask.shape}", expected=expected)


def load(run: str | Path, device: str = "auto") -> LoadedModel:
    """Load a run directory.

    Args:
        run: Folder that ``finetune`` wrote.
        device: ``auto`` (a GPU where there is one), ``cpu`` or ``cuda[:N]``.

    Raises:
        UsageError: It is no run directory, or there is no such device.
        CheckpointError: Training has not ended, a pickle lies among the weights, or the preprocessing is not that of
            the weights.
    """
    run = Path(run)
    config = read_config(run)
    folder = run / "model"
    if not (folder / WEIGHTS).is_file():
        refuse_pickles_in(folder)
        fix = "Go on with the same command and --resume."
        raise CheckpointError("training has not ended, there are no weights", where=f"model/{WEIGHTS}", fix=fix)
    refuse_pickles_in(folder)
    _require_own_preprocessing(folder, config.preprocess)
    task: Task = registry.resolve("task", config.registered).load(folder, config)
    load_into(task.model, load_tensors(folder / WEIGHTS), WEIGHTS)
    record = read_record(run)
    provenance = {
        "medmm": __version__,
        "task": config.task,
        "weights_sha256": file_sha256(folder / WEIGHTS),
        "config_sha256": record.get("config_hash") or config_hash(config),
        "preprocess_sha256": preprocess_hash(config.preprocess),
        "data_hash": record.get("data_hash"),
        "split_hash": record.get("split_hash"),
        "mlflow_run_id": record.get("mlflow_run_id"),
    }
    return LoadedModel(task, choose_device(device), provenance)


def save_model(task: Task, folder: Path) -> None:
    """Write weights and preprocessing beside the task's description, each naming the other's hash.

    Raises:
        ResourceError: The disk is full.
    """
    prep = task.config.preprocess
    mark = preprocess_hash(prep)
    axes = "B V C H W" if prep.depth is None else "B V C D H W"
    record = {
        "format": FORMAT,
        **prep.model_dump(mode="json"),
        "axes": axes,
        "channels": len(task.channel_names) or 1,
        "channel_names": list(task.channel_names),
        "dtype": "float32",
        "range": [0, 1],
        "hash": mark,
    }
    write_json(folder / PREPROCESS, record)
    words = {"preprocess": mark, "task": task.name, "medmm": __version__}
    save_tensors(folder / WEIGHTS, task.model.state_dict(), words)


def _require_own_preprocessing(folder: Path, expected: PreprocessConfig) -> None:
    try:
        found = json.loads((folder / PREPROCESS).read_text(encoding="utf-8"))
        version, said = found["format"], str(found["hash"])
        own = PreprocessConfig(**{name: found[name] for name in PreprocessConfig.model_fields})
    except (OSError, ValueError, KeyError, TypeError) as error:
        fix = "Copy the run again, whole."
        raise CheckpointError("the preprocessing contract cannot be read", where=PREPROCESS, fix=fix) from error
    if version != FORMAT:
        got, wanted = f"format {version}", f"format {FORMAT}"
        raise CheckpointError("a preprocessing contract of another format", where=PREPROCESS, got=got, expected=wanted)
    hashes = {said, preprocess_hash(own), preprocess_hash(expected), read_metadata(folder / WEIGHTS).get("preprocess")}
    if len(hashes) > 1:
        raise CheckpointError(
            "the preprocessing is not the one that the weights were trained with",
            where=PREPROCESS,
            fix="Use config.yaml, preprocess.json and model.safetensors of one and the same run.",
        )


def _images(source: Source) -> list[ImageSource]:
    if isinstance(source, Study):
        return [image.source for image in source.images]
    if isinstance(source, (str, Path)):
        return [Path(source)]
    return [Path(one) for one in source]
