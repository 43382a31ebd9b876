"""What the auxiliary head learns: the findings that the labeler reads in the target text.

Shape legend: F findings.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from difflib import get_close_matches

import numpy as np
import numpy.typing as npt

from medmm.config.schema import FindingHeadConfig
from medmm.errors import UsageError
from medmm.models.heads import SIDES
from medmm.reports.findings import CORE_FINDINGS, FINDINGS, NO_FINDING
from medmm.types import Finding, Status

NO_SIDE = -100
"""Class of a finding whose side is not said; left out of the loss."""
Labels = Mapping[str, Finding]


def choose_findings(labels: Sequence[Labels], config: FindingHeadConfig) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Choose the head's findings and count how often they are present.

    Args:
        labels: What the labeler reads in each training target.
        config: Names, or how many training studies must have a finding; without names only findings of the core count.

    Returns:
        Names in the labeler's order, and the share of studies in which each is present. Both empty if the head is off.

    Raises:
        UsageError: The labeler knows no finding of a name.
    """
    if config.weight == 0:
        return (), ()
    for name in config.names:
        if name not in FINDINGS:
            near = get_close_matches(name, FINDINGS, 1)
            where, fix = "model.findings.names", f"Did you mean '{near[0]}'?" if near else None
            raise UsageError(
                "no finding of that name", where=where, got=f"'{name}'", expected=", ".join(FINDINGS), fix=fix
            )
    counts = Counter(name for one in labels for name, finding in one.items() if finding.status is Status.PRESENT)
    enough = tuple(name for name in CORE_FINDINGS if name != NO_FINDING and counts[name] >= config.minimum)
    names = config.names or enough
    return names, tuple(counts[name] / max(1, len(labels)) for name in names)


def finding_targets(labels: Labels, names: Sequence[str]) -> dict[str, npt.NDArray[np.generic]]:
    """Targets of one study.

    Args:
        labels: What the labeler reads in the target text.
        names: The head's findings.

    Returns:
        ``present`` float32 ``[F]`` 1 if present, else 0; ``known`` float32 ``[F]`` 0 where the text is uncertain, else
        1; ``side`` int64 ``[F]`` index into the head's sides, :data:`NO_SIDE` where none is said.
    """
    present, known = np.zeros(len(names), np.float32), np.ones(len(names), np.float32)
    side = np.full(len(names), NO_SIDE, np.int64)
    for place, name in enumerate(names):
        finding = labels.get(name)
        if finding is None:
            continue
        present[place] = finding.status is Status.PRESENT
        known[place] = finding.status is not Status.UNCERTAIN
        if finding.status is Status.PRESENT and finding.laterality is not None:
            side[place] = SIDES.index(finding.laterality)
    return {"present": present, "known": known, "side": side}


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
