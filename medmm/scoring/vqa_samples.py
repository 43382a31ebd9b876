"""The questions of a split that can be evaluated, and what is answered to each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from medmm.data.manifest import Manifest
from medmm.errors import Reason
from medmm.metrics.answers import is_closed, kind_of, normalised
from medmm.scoring.drafting import Array, DraftingModel, Progress, draft
from medmm.scoring.subgroups import groups_of
from medmm.tasks.questions import pairs
from medmm.types import Study


@dataclass(frozen=True, slots=True)
class GivenAnswer:
    """What a model answers.

    Attributes:
        answer: The answer.
        confidence: Probability in [0, 1] that it is right, None where the model gives none.
        abstained: Whether the model declines to give it.
    """

    answer: str
    confidence: float | None = None
    abstained: bool = False


@dataclass(frozen=True, slots=True)
class QuestionSample:
    """A question on a study; a study has several.

    Attributes:
        study_id, patient_key, split: As in the manifest.
        question: The question.
        reference: The right answer.
        groups: Sex, age band, view and device of the study, where known.
    """

    study_id: str
    patient_key: str
    split: str | None
    question: str
    reference: str
    groups: dict[str, str] = field(default_factory=dict)

    def line(self, given: GivenAnswer, no_image: str) -> dict[str, Any]:
        """The question's line in ``predictions.jsonl``."""
        return {
            "study_id": self.study_id,
            "patient_key": self.patient_key,
            "split": self.split,
            "question": self.question,
            "reference": self.reference,
            "answer": given.answer,
            "confidence": given.confidence,
            "abstained": given.abstained,
            "no_image": no_image,
            "right": normalised(given.answer) == normalised(self.reference),
            "closed": is_closed(self.question, self.reference),
            "kind": kind_of(self.question, self.reference),
        }


@dataclass
class VqaMaterial:
    """Studies with their questions, in the order of the manifest.

    Attributes:
        studies: The studies.
        samples: Their questions, those of one study one behind the other.
        left_out: Reason to number of studies that cannot be evaluated.
    """

    studies: list[Study] = field(default_factory=list)
    samples: list[QuestionSample] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def drop(self, unread: dict[str, Reason]) -> None:
        """Take out the studies whose images cannot be read."""
        self.left_out.update(str(unread[study.study_id]) for study in self.studies if study.study_id in unread)
        self.studies = [study for study in self.studies if study.study_id not in unread]
        self.samples = [sample for sample in self.samples if sample.study_id not in unread]


def gather(manifest: Manifest, split: str) -> VqaMaterial:
    """Take the studies of a split (``train``, ``val``, ``test`` or ``all``) that have images and questions."""
    material = VqaMaterial()
    for study in manifest.studies(split):
        asked = pairs(study)
        if not asked or not study.images:
            reason = Reason.QUESTION_WITHOUT_IMAGE if asked else Reason.IMAGE_WITHOUT_QUESTION
            material.left_out[str(reason)] += 1
            continue
        material.studies.append(study)
        own, groups = (study.study_id, study.patient_key, study.split), groups_of(study)
        material.samples += [QuestionSample(*own, *pair, groups) for pair in asked]
    return material


def answers(  # noqa: PLR0913, PLR0917
    model: DraftingModel,
    samples: Sequence[QuestionSample],
    views_of: Callable[[str], Array],
    batch_size: int,
    shown: bool = True,
    progress: Progress | None = None,
) -> list[GivenAnswer]:
    """What the model answers to each question.

    Args:
        model: The loaded run.
        samples: The questions.
        views_of: Study id to ``[V, 1, S, S]`` in [0, 1].
        batch_size: Questions that are answered together.
        shown: Whether the model sees the images.
        progress: Called as ``progress(done, total)``.
    """
    said: list[GivenAnswer] = []
    for start in range(0, len(samples), batch_size):
        batch = samples[start : start + batch_size]
        views = [views_of(sample.study_id) for sample in batch]
        found = draft(model, [one.study_id for one in batch], views, [one.question for one in batch], shown)
        said += [GivenAnswer(one.answer or "", one.confidence, one.abstained) for one in found]
        if progress is not None:
            progress(start + len(batch), len(samples))
    return said
