"""VQA-RAD as it is published: ``VQA_RAD Dataset Public.json`` beside ``VQA_RAD Image Folder``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medmm.data.phantom.generator import study_rows
from medmm.data.phantom.questions import Question, questions
from medmm.data.phantom.study import make_study

LIST, FOLDER = "VQA_RAD Dataset Public.json", "VQA_RAD Image Folder"
_TEST = 5  # every fifth image's questions are marked as the test's
_QUALITY = 95


def write(root: Path, seed: int, numbers: Sequence[int], size: int) -> None:
    """Write an image and its questions a study.

    Args:
        root: Folder to write into.
        seed: The phantom's.
        numbers: Numbers of the studies.
        size: Rows and columns of an image, in pixels.
    """
    (root / FOLDER).mkdir(parents=True, exist_ok=True)
    records: list[dict[str, Any]] = []
    for place, number in enumerate(numbers):
        study = make_study(seed, number, size)
        name = f"synpic{number:05d}.jpg"
        (root / FOLDER / name).write_bytes(_jpeg(study.grey))
        phrase = "test_freeform" if place % _TEST == _TEST - 1 else "freeform"
        for asked in questions(*study_rows(seed, number, study)):
            records.append(_record(len(records) + 1, name, phrase, asked))
    (root / LIST).write_text(json.dumps(records, indent=1), encoding="utf-8")


def _jpeg(grey: npt.NDArray[np.float32]) -> bytes:
    import cv2

    pixels = np.rint(np.clip(grey, 0, 1) * 255).astype(np.uint8)
    return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()


def _record(number: int, image: str, phrase: str, asked: Question) -> dict[str, Any]:
    """A record with the keys of the published list, in their order."""
    return {
        "qid": number,
        "phrase_type": phrase,
        "qid_linked_id": f"{number:032x}",
        "image_case_url": "NULL",
        "image_name": image,
        "image_organ": "CHEST",
        "evaluation": "not evaluated",
        "question": asked.text,
        "question_rephrase": "NULL",
        "question_relation": "NULL",
        "question_frame": "NULL",
        "question_type": asked.kind,
        "answer": asked.answer,
        "answer_type": "CLOSED" if asked.closed else "OPEN",
    }
