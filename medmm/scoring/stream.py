"""Studies on their way from files to predictions: reading runs ahead of the model, what is broken is set aside.

Memory is bounded: at most a few batches of studies are read and not yet scored.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from medmm.config.schema import ScoreConfig
from medmm.data.left_out import left_out_notes
from medmm.errors import DataError, Reason
from medmm.scoring import sources
from medmm.scoring.drafting import DraftingModel, Progress, draft
from medmm.scoring.estimates import estimate_record
from medmm.scoring.ledger import Ledger
from medmm.scoring.reading import ReaderPool, Views, reading_processes
from medmm.types import Finding, Prediction, Rejection, Study

_AHEAD = 2  # batches that are read before the model needs them


@dataclass
class _Reading:
    """A study on its way from the files to the model."""

    study: Study
    fingerprint: str
    views: Future[Views]


@dataclass
class Stream:
    """One pass over a folder of studies.

    Attributes:
        listing: The folder's files.
        model: The loaded run.
        ledger: Where everything is written.
        config: Batch size and reading processes.
        progress: Called as ``progress(done, None, note)``.
        tally: ``scored``, ``skipped``, ``quarantined`` studies, ``images`` looked at and ``images_left_out``.
        reasons: Reason code to number of studies set aside.
    """

    listing: sources.Listing
    model: DraftingModel
    ledger: Ledger
    config: ScoreConfig
    progress: Progress | None = None
    tally: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)

    def run(self) -> None:
        """Score everything that is not done.

        Raises:
            DataError: The folder holds nothing that could be scored or set aside.
            ResourceError: Out of disk or memory.
        """
        batch: list[tuple[_Reading, Views]] = []
        for reading in self._read():
            views = reading.views.result()
            if self._is_usable(reading.study, views):
                batch.append((reading, views))
            if len(batch) == self.config.batch_size:
                self._score(batch)
                batch = []
        if batch:
            self._score(batch)

    def counts(self) -> dict[str, Any]:
        """Counts of ``manifest.json``."""
        names = ("scored", "skipped", "quarantined", "images", "images_left_out")
        return {
            **{name: self.tally[name] for name in names},
            "reasons": dict(self.reasons),
            "files_left_out": self.listing.left_out,
        }

    def _read(self) -> Iterator[_Reading]:
        """Yield studies in their order, with the next ones being read meanwhile."""
        most = _AHEAD * self.config.batch_size
        waiting: deque[_Reading] = deque()
        with ReaderPool(
            self.model.config.preprocess, self.model.config.model.max_views, reading_processes(self.config)
        ) as pool:
            for study, print_ in self._wanted():
                views = pool.submit([image.source for image in study.images])
                waiting.append(_Reading(study, print_, views))
                if len(waiting) >= most:
                    yield waiting.popleft()
            while waiting:
                yield waiting.popleft()

    def _wanted(self) -> Iterator[tuple[Study, str]]:
        """Yield the studies that are not done, with the fingerprint of their files."""
        for study in self._studies():
            print_ = sources.fingerprint(study, self.listing.root)
            if self.ledger.is_done(study.study_id, print_):
                self.tally["skipped"] += 1
            else:
                yield study, print_

    def _studies(self) -> Iterator[Study]:
        """Yield the studies, and set aside what is none."""
        without_pixels: list[Rejection] = []
        seen: set[str] = set()
        try:
            for found in sources.studies(self.listing):
                if isinstance(found, Study):
                    seen.add(found.study_id)
                    yield found
                elif found.reason is Reason.NO_PIXELS:
                    without_pixels.append(found)
                else:
                    self._set_aside(found)
        except DataError:
            if not self.tally["quarantined"] and not without_pixels:
                raise  # else every file is broken, which the quarantine says file by file
        for one in without_pixels:  # a structured report beside images is no fault; alone it cannot be scored
            if one.study_id not in seen:
                seen.add(one.study_id)
                self._set_aside(one)

    def _is_usable(self, study: Study, views: Views) -> bool:
        """Whether there is an image to look at; what could not be read goes to the quarantine."""
        found = [
            Rejection(study.study_id, one.reason, one.detail, study.images[one.place].path) for one in views.unread
        ]
        if len(views.images):
            self.tally["images_left_out"] += len(found)
            for one in found:
                self.ledger.set_aside(one, scope="image")
            return True
        first, *others = found
        for one in others:
            self.ledger.set_aside(one, scope="image")
        self._set_aside(first)
        return False

    def _set_aside(self, rejection: Rejection) -> None:
        self.ledger.set_aside(rejection)
        self.tally["quarantined"] += 1
        self.reasons[str(rejection.reason)] += 1
        self._say()

    def _score(self, batch: Sequence[tuple[_Reading, Views]]) -> None:
        for (reading, views), said in zip(batch, self._said(batch), strict=True):
            self.ledger.add(_line(reading, views, said, self.config.questions))
            self.tally["scored"] += 1
            self.tally["images"] += len(views.images)
        self._say()

    def _said(self, batch: Sequence[tuple[_Reading, Views]]) -> list[tuple[Prediction, ...]]:
        """What the model says of each study: one prediction, or one for each question."""
        ids, images = [one.study.study_id for one, _ in batch], [views.images for _, views in batch]
        if not self.config.questions:
            return [(prediction,) for prediction in draft(self.model, ids, images)]
        asked = [[question] * len(batch) for question in self.config.questions]
        return list(zip(*(draft(self.model, ids, images, questions) for questions in asked), strict=True))

    def _say(self) -> None:
        if self.progress is not None:
            aside = self.tally["quarantined"]
            self.progress(self.tally["scored"], None, f"{aside} set aside" if aside else "")


def _line(reading: _Reading, views: Views, said: Sequence[Prediction], questions: Sequence[str] = ()) -> dict[str, Any]:
    study, prediction = reading.study, said[0]
    answers = [_answer(one, its) for one, its in zip(questions, said, strict=False)]
    notes = list(dict.fromkeys(note for its in said for note in its.notes))
    return {
        "study_id": study.study_id,
        "tag": study.tag,
        "report": prediction.report,
        **({"answers": answers} if questions else {}),
        "findings": {name: _finding(finding) for name, finding in prediction.findings.items()},
        **({"values": estimate_record(prediction.values)} if prediction.values else {}),
        "abstained": all(its.abstained for its in said),
        "notes": [*notes, *left_out_notes(views.left_out, views.given)],
        "sources": _sources(study, views),
        "fingerprint": reading.fingerprint,
        "provenance": dict(prediction.provenance),
    }


def _answer(question: str, prediction: Prediction) -> dict[str, Any]:
    confidence = None if prediction.confidence is None else round(prediction.confidence, 6)
    said = {"question": question, "answer": prediction.answer, "confidence": confidence}
    return {**said, "abstained": prediction.abstained}


def _finding(finding: Finding) -> dict[str, Any]:
    probability = finding.probability
    return {"status": str(finding.status), "probability": None if probability is None else round(float(probability), 6)}


def _sources(study: Study, views: Views) -> list[str]:
    """Ids of the images that the model saw."""
    seen = [study.images[place] for place in views.used]
    return [image.sop_uid or image.path.name for image in seen]
