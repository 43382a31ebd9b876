"""A model as a table serves it: a row a study in, what the run's task says of it out, as columns of plain values."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from medmm.training.loaded import LoadedModel
    from medmm.types import Prediction

SIGNATURE = "signature.json"
_NOTES = "notes"


def signature(task: str) -> dict[str, str]:
    """What a model takes and gives, as MLflow writes signatures down.

    Args:
        task: The task's name in the registry.

    Returns:
        ``inputs`` and ``outputs``, each the JSON of a list of columns with ``name``, ``type`` and ``required``.
    """
    given = {name: kind for name, (kind, _) in _columns(task).items()}
    taken = {"path": "string"} | ({"question": "string"} if task == "vqa" else {})
    return {side: json.dumps([{"name": name, "type": kind, "required": True} for name, kind in columns.items()])
            for side, columns in (("inputs", taken), ("outputs", given))}  # fmt: skip


def say(model: LoadedModel, paths: Sequence[str], questions: Sequence[str] | None = None) -> dict[str, list[Any]]:
    """Let a model look at studies of one image each.

    Args:
        model: The model.
        paths: Files or folders, a study each.
        questions: One for each, for a run of ``--task vqa``.

    Returns:
        Column to its values, one a path. All have ``notes``, a JSON list of sentences; the task decides on the others:

        - ``report``: the drafted text.
        - ``findings``: JSON, finding to status; ``probabilities``: JSON, finding to probability.
        - ``abstained``: whether the model declines.
        - ``values``: JSON, name to ``value``, ``low`` and ``high``.
        - ``answer``: the answer to the question.
        - ``masks``: an ``.npz`` file as bytes, a uint8 array on the image's own grid for each structure; ``voxels``:
          JSON, structure to its number of pixels or voxels.

    Raises:
        ImageError: An image cannot be read.
        UsageError: Questions do not fit the run.
    """
    asked: Sequence[str | None] = questions or [None] * len(paths)
    said = [model.predict([path], question) for path, question in zip(paths, asked, strict=True)]
    return {name: [read(one) for one in said] for name, (_, read) in _columns(model.config.registered).items()}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _findings(said: Prediction) -> str:
    return _json({name: finding.status for name, finding in said.findings.items()})


def _probabilities(said: Prediction) -> str:
    found = {name: finding.probability for name, finding in said.findings.items()}
    return _json({name: value for name, value in found.items() if value is not None})


def _packed(masks: Mapping[str, npt.NDArray[np.uint8]]) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **masks)  # type: ignore[arg-type]
    return file.getvalue()


_Column = tuple[str, Callable[["Prediction"], Any]]  # MLflow's name of its type, and how it is read
_FINDINGS: Mapping[str, _Column] = {"findings": ("string", _findings), "probabilities": ("string", _probabilities)}
_ABSTAINED: Mapping[str, _Column] = {"abstained": ("boolean", lambda said: said.abstained)}
_COLUMNS: Mapping[str, Mapping[str, _Column]] = {
    "report_gen": {"report": ("string", lambda said: said.report or ""), **_FINDINGS},
    "classification": {**_FINDINGS, **_ABSTAINED},
    "regression": {
        "values": ("string", lambda said: _json({name: asdict(one) for name, one in said.values.items()})), **_ABSTAINED
    },
    "segmentation": {
        "masks": ("binary", lambda said: _packed(said.masks)),
        "voxels": ("string", lambda said: _json({name: int(mask.sum()) for name, mask in said.masks.items()})),
    },
    "vqa": {"answer": ("string", lambda said: said.answer or ""), **_ABSTAINED},
    "pretraining": _FINDINGS,
}  # fmt: skip


def _columns(task: str) -> Mapping[str, _Column]:
    return {**_COLUMNS[task], _NOTES: ("string", lambda said: _json(said.notes))}
