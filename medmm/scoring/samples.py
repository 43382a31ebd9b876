"""The studies of a split that can be evaluated, and what is known of them."""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from medmm.config.schema import Config
from medmm.data.manifest import Manifest
from medmm.errors import Reason, StudyError
from medmm.reports.findings import CORE_FINDINGS, NO_FINDING
from medmm.reports.labelers import choose_labeler
from medmm.reports.target import target_text
from medmm.scoring.measures import Findings
from medmm.scoring.scores import Sample
from medmm.types import Finding, Study

TRUTH_TABLE = "the data's truth table"
TRUTH_LABELER = "what the labeler reads in the reference"
MOST_TRAINING = 20_000
"""Training studies that baselines look at; more would take hours to read."""
_WITH_TRUTH_TABLE = frozenset({"phantom"})  # readers that bring a truth.parquet


@dataclass
class Material:
    """Studies with their reports, in the order of the manifest.

    Attributes:
        studies: What was kept.
        samples: The same studies as samples.
        left_out: Reason to number of studies that cannot be evaluated.
    """

    studies: list[Study] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def drop(self, unread: dict[str, Reason]) -> None:
        """Take out the studies whose images cannot be read."""
        kept = [place for place, study in enumerate(self.studies) if study.study_id not in unread]
        self.left_out.update(str(unread[study.study_id]) for study in self.studies if study.study_id in unread)
        self.studies = [self.studies[place] for place in kept]
        self.samples = [self.samples[place] for place in kept]


def gather(manifest: Manifest, split: str, config: Config, most: int | None = None) -> Material:
    """Take the studies of a split that have images and a target text.

    Args:
        manifest: The data.
        split: ``train``, ``val``, ``test`` or ``all``.
        config: Which sections are the target, and which reader the data came through.
        most: At most so many studies, chosen by a hash of seed and id; None takes all.
    """
    material, target = Material(), config.target
    some = None if most is None else chosen(manifest, split, config.seed, most)
    has_table = config.data.reader in _WITH_TRUTH_TABLE
    labeler = choose_labeler(config.labeler)
    for study in manifest.studies(split):
        if some is not None and study.study_id not in some:
            continue
        if study.report is None:
            material.left_out[str(Reason.IMAGE_WITHOUT_REPORT)] += 1
            continue
        if not study.images:
            material.left_out[str(Reason.REPORT_WITHOUT_IMAGE)] += 1
            continue
        try:
            reference = target_text(study.report, target.sections, target.whole_text)
        except StudyError as error:
            material.left_out[str(error.reason)] += 1
            continue
        truth = _from_table(study) if has_table else None
        material.studies.append(study)
        material.samples.append(
            Sample(
                study_id=study.study_id,
                patient_key=study.patient_key,
                split=study.split,
                reference=reference,
                truth=labeler.label(reference) if truth is None else truth,
                images=len(study.images),
            )
        )
    return material


def truth_source(config: Config) -> str:
    """Say in words where the truth of the findings comes from."""
    return TRUTH_TABLE if config.data.reader in _WITH_TRUTH_TABLE else TRUTH_LABELER


def finding_names(samples: Sequence[Sample], config: Config) -> tuple[str, ...]:
    """Findings of ``clinical_f1_macro``: those of the truth table, else the labeler's core; never ``no_finding``.

    A wider vocabulary does not change them, so that the figure stays what it was.
    """
    return _names(samples, config, CORE_FINDINGS)


def every_name(samples: Sequence[Sample], config: Config) -> tuple[str, ...]:
    """All findings that can be compared: those of the truth table, else all that the labeler knows."""
    return _names(samples, config, None)


def _names(samples: Sequence[Sample], config: Config, core: Collection[str] | None) -> tuple[str, ...]:
    if config.data.reader in _WITH_TRUTH_TABLE:
        names = {name for sample in samples for name in sample.truth}
    else:
        names = set(choose_labeler(config.labeler).findings)
        names = names & set(core) if core is not None and config.labeler.name == "rules" else names
    return tuple(sorted(names - {NO_FINDING}))


def chosen(manifest: Manifest, split: str, seed: int, most: int) -> set[str] | None:
    """Ids of ``most`` studies of a split; None where it has no more."""
    if manifest.counts().get(split, 0) <= most:
        return None

    def rank(study_id: str) -> bytes:
        return hashlib.blake2b(f"{seed}\0{study_id}".encode(), digest_size=8).digest()

    return set(heapq.nsmallest(most, (study.study_id for study in manifest.studies(split)), key=rank))


def _from_table(study: Study) -> Findings:
    """Findings that no text is behind."""
    found: dict[str, Finding] = {name: one for name, one in study.findings.items() if one.span is None}
    return found
