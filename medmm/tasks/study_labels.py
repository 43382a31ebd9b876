"""What a study is known to show, as targets: from its own labels, from its report, or from both.

Shape legend: C classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
import numpy.typing as npt

from medmm.config.schema import Config
from medmm.config.tasks import ClassificationConfig, Policy
from medmm.errors import DataError, StudyError
from medmm.models.heads import SIDES
from medmm.reports.findings import CORE_FINDINGS, NO_FINDING
from medmm.reports.labelers import choose_labeler
from medmm.reports.target import target_text
from medmm.tasks.losses import NO_SIDE
from medmm.types import Finding, Status, Study

Labels = Mapping[str, Finding]
Floats = npt.NDArray[np.float32]

AS_READ = ClassificationConfig(uncertain="ignore", unmentioned="zeros")
"""An uncertain mention teaches nothing, and what is not mentioned is absent."""
_TAUGHT: dict[Policy, tuple[float, float]] = {"ignore": (0, 0), "zeros": (0, 1), "ones": (1, 1), "soft": (0.5, 1)}
"""Target and weight of what is neither present nor absent."""


@dataclass(frozen=True)
class LabelSource:
    """Where a study's labels come from.

    Attributes:
        config: The run's config.
        kind: ``given``, ``report`` or ``both``.
    """

    config: Config
    kind: str

    @classmethod
    def of(cls, config: Config, studies: Sequence[Study]) -> LabelSource:
        """Settle ``auto``: given where any of the studies has labels, else the report's."""
        kind = config.classification.labels
        if kind == "auto":
            kind = "given" if any(study.findings for study in studies) else "report"
        return cls(config, kind)

    def read(self, study: Study) -> Labels | None:
        """What is known of a study; None where nothing is."""
        if self.kind != "report" and study.findings:
            return study.findings
        if self.kind == "given" or study.report is None:
            return None
        target = self.config.target
        try:
            text = target_text(study.report, target.sections, target.whole_text)
        except StudyError:
            return None
        found: Labels = choose_labeler(self.config.labeler).label(text)
        return found


def choose_classes(labels: Sequence[Labels], config: ClassificationConfig, of_report: bool) -> dict[str, float]:
    """Classes and the share of training studies in which each is present.

    Args:
        labels: Of each training study.
        config: Names, or how many studies must have a class.
        of_report: Whether a labeler read them: then only findings of its core are chosen of themselves.

    Raises:
        DataError: A class that is named has no positive, none has enough, or of a single label there is but one.
    """
    counts = Counter(name for one in labels for name, finding in one.items() if finding.status is Status.PRESENT)
    for name in config.classes:
        if not counts[name]:
            near = get_close_matches(name, counts, 1)
            raise DataError(
                "a class without a positive in training", where="classification.classes", got=f"'{name}'",
                expected=", ".join(sorted(counts)) or "labels", fix=f"Did you mean '{near[0]}'?" if near else None,
            )  # fmt: skip
    enough = [
        name
        for name, number in sorted(counts.items())
        if number >= config.minimum and name != NO_FINDING and (not of_report or name in CORE_FINDINGS)
    ]
    names = list(config.classes) or enough
    least = 2 if config.kind == "single" else 1
    if len(names) < least:
        most = ", ".join(f"{name} {number}" for name, number in counts.most_common(5)) or "no label at all"
        raise DataError(
            "too few classes that enough training studies have", where="classification.minimum", got=most,
            expected=f"at least {least} with {config.minimum} studies",
            fix="Lower classification.minimum, or say where labels are: data.columns.label, classification.labels.",
        )  # fmt: skip
    return {name: counts[name] / len(labels) for name in names}


def label_targets(
    labels: Labels, names: Sequence[str], policy: ClassificationConfig = AS_READ
) -> dict[str, npt.NDArray[np.generic]]:
    """Targets of one study.

    Args:
        labels: What is known of it.
        names: The classes.
        policy: What an uncertain mention teaches, and none at all.

    Returns:
        ``present`` float32 ``[C]`` in [0, 1]; ``known`` float32 ``[C]``, 0 where nothing is learned; ``side`` int64
        ``[C]`` index into the head's sides, :data:`medmm.tasks.losses.NO_SIDE` where none is said.
    """
    present, known = np.zeros(len(names), np.float32), np.ones(len(names), np.float32)
    side = np.full(len(names), NO_SIDE, np.int64)
    for place, name in enumerate(names):
        finding = labels.get(name)
        status = Status.UNMENTIONED if finding is None else finding.status
        if status is Status.PRESENT:
            present[place] = 1
            if finding is not None and finding.laterality is not None:
                side[place] = SIDES.index(finding.laterality)
        elif status is not Status.ABSENT:
            taught = policy.uncertain if status is Status.UNCERTAIN else policy.unmentioned
            present[place], known[place] = _TAUGHT[taught]
    return {"present": present, "known": known, "side": side}


def sided(labels: Sequence[Labels], names: Sequence[str]) -> tuple[str, ...]:
    """Classes whose side is said often enough to be learned: of at least half of their positives, and five."""
    found = []
    for name in names:
        present = [one[name] for one in labels if name in one and one[name].status is Status.PRESENT]
        said = sum(finding.laterality is not None for finding in present)
        if said >= max(5, len(present) / 2):
            found.append(name)
    return tuple(found)


def only_class(labels: Labels, names: Sequence[str]) -> int | None:
    """Place of the one class of a study, None where it has none of them or several."""
    found = [place for place, name in enumerate(names) if name in labels and labels[name].status is Status.PRESENT]
    return found[0] if len(found) == 1 else None
