"""What the auxiliary head learns: the findings that the labeler reads in the target text.

Shape legend: F findings.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medmm.config.evaluation import LabelerConfig
from medmm.config.schema import FindingHeadConfig
from medmm.errors import CheckpointError, ConfigError, UsageError
from medmm.io.atomic import write_text
from medmm.reports.findings import CORE_FINDINGS, FINDINGS, NO_FINDING, RuleLabeler, rule_labeler
from medmm.types import Finding, Status

VOCABULARY = "vocabulary.yaml"
"""File of a run's model that holds the user's part of the labeler's vocabulary."""
Labels = Mapping[str, Finding]


def choose_findings(
    labels: Sequence[Labels], config: FindingHeadConfig, known: Sequence[str] = FINDINGS
) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Choose the head's findings and count how often they are present.

    Args:
        labels: What the labeler reads in each training target.
        config: Names, or how many training studies must have a finding; without names those of the core count and those
            that a user's vocabulary adds.
        known: All findings of the labeler.

    Returns:
        Names in the labeler's order, and the share of studies in which each is present. Both empty if the head is off.

    Raises:
        UsageError: The labeler knows no finding of a name.
    """
    if config.weight == 0:
        return (), ()
    for name in config.names:
        if name not in known:
            near = get_close_matches(name, known, 1)
            where, fix = "model.findings.names", f"Did you mean '{near[0]}'?" if near else None
            raise UsageError(
                "no finding of that name", where=where, got=f"'{name}'", expected=", ".join(known), fix=fix
            )
    counts = Counter(name for one in labels for name, finding in one.items() if finding.status is Status.PRESENT)
    default = (name for name in known if name in CORE_FINDINGS or name not in FINDINGS)
    enough = tuple(name for name in default if name != NO_FINDING and counts[name] >= config.minimum)
    names = config.names or enough
    return names, tuple(counts[name] / max(1, len(labels)) for name in names)


def best_offsets(
    logits_nf: npt.NDArray[np.float64], present_nf: npt.NDArray[np.float64], known_nf: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Logit of each finding from which on it is called present, where F1 on validation is best.

    F1 is smoothed with four studies that a threshold at zero gets half right, and the threshold is drawn to zero as the
    positives are few: a handful of studies says little about where it should lie.

    Args:
        logits_nf: ``[N, F]`` logits.
        present_nf: ``[N, F]`` 1 if present, else 0.
        known_nf: ``[N, F]`` 0 where the truth is not known, else 1.

    Returns:
        ``[F]`` thresholds.
    """
    offsets = np.zeros(logits_nf.shape[1])
    for column in range(logits_nf.shape[1]):
        use = known_nf[:, column] > 0
        scores, truth = logits_nf[use, column], present_nf[use, column] > 0
        positives = int(truth.sum())
        if positives == 0 or positives == len(truth):
            continue
        order = np.argsort(-scores, kind="stable")
        hits = np.cumsum(truth[order])
        called = np.arange(1, len(order) + 1)
        f1 = (2 * hits + 2) / (called + positives + 4)
        f1[:-1][np.diff(scores[order]) == 0] = 0  # no threshold lies between equal scores
        place = int(np.argmax(f1))
        upper = scores[order[place]]
        lower = scores[order[place + 1]] if place + 1 < len(order) else upper - 1
        offsets[column] = (upper + lower) / 2 * positives / (positives + 10)
    return offsets


def save_labeler(labeler: RuleLabeler, folder: Path) -> dict[str, str | None]:
    """Write the user's part of the vocabulary into ``folder``, so that the run reads drafts without the user's file.

    Returns:
        What ``task.json`` says: the labeler's name and version, the hash of its vocabulary, and its file, None where
        the vocabulary is the packaged one.
    """
    own = labeler.own_vocabulary
    if own is not None:
        write_text(folder / VOCABULARY, own)
    version, _, digest = labeler.version.partition("+")
    return {
        "labeler": labeler.name,
        "labeler_version": version,
        "vocabulary_hash": digest,
        "vocabulary": None if own is None else VOCABULARY,
    }


def load_labeler(folder: Path, said: Mapping[str, Any]) -> RuleLabeler:
    """The labeler that :func:`save_labeler` described; earlier runs say nothing and have the packaged vocabulary.

    Raises:
        CheckpointError: The run's vocabulary is missing or broken.
    """
    if said.get("vocabulary") is None:
        return rule_labeler()
    try:
        return RuleLabeler(folder / VOCABULARY)
    except ConfigError as error:
        what, fix = "the run's vocabulary cannot be read", "Copy the run again, whole."
        raise CheckpointError(what, where=VOCABULARY, fix=fix) from error


def labeler_notes(labeler: RuleLabeler, config: LabelerConfig) -> list[str]:
    """What a reader of a run would not expect of its labels, one sentence each."""
    notes = []
    if labeler.own_vocabulary is not None:
        digest = labeler.version.partition("+")[2]
        notes.append(f"findings were read with labeler.vocabulary added to the packaged one, hash {digest}")
    if config.name != labeler.name:
        notes.append(f"findings were read by the rules: labeler.name={config.name} is for evaluate")
    return notes
