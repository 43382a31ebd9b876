"""What several sentences of a report say of one finding, and of all findings together, as one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from medmm.reports.vocabulary import Vocabulary
from medmm.types import Finding, Laterality, Span, Status

NO_FINDING = "no_finding"
_RANK = {Status.PRESENT: 3, Status.UNCERTAIN: 2, Status.ABSENT: 1}


def moved(finding: Finding, by: int) -> Finding:
    """The finding with a span in the report instead of its sentence; ``dataclasses.replace`` takes twice as long."""
    span = finding.span and Span(finding.span.start + by, finding.span.end + by)
    return Finding(
        finding.status, finding.laterality, finding.zone, finding.severity, span, finding.size_mm, None, finding.change
    )


def _said(finding: Finding) -> int:
    return sum(value is not None for value in (finding.laterality, finding.zone, finding.severity, finding.size_mm))


def merged(known: Finding | None, new: Finding) -> Finding:
    """One finding of what is known and what another sentence says of it; the status that says more holds."""
    if known is None or _RANK[new.status] > _RANK[known.status]:
        return new
    if _RANK[new.status] < _RANK[known.status]:
        return known
    best = new if _said(new) > _said(known) else known
    if best.change is None and known.change is not new.change:
        best = replace(best, change=known.change or new.change)
    if {known.laterality, new.laterality} == {Laterality.LEFT, Laterality.RIGHT}:
        return _both_sides(best, known, new)
    return best


def _both_sides(best: Finding, left: Finding, right: Finding) -> Finding:
    """One finding of a left and a right one: the larger size, and no grade, zone or change in which the two differ."""
    sizes = [one.size_mm for one in (left, right) if one.size_mm is not None]
    shared: dict[str, Any] = {
        name: one if one == other or other is None else other if one is None else None
        for name in ("zone", "severity", "change")
        for one, other in [(getattr(left, name), getattr(right, name))]
    }
    return replace(best, laterality=Laterality.BILATERAL, size_mm=max(sizes, default=None), **shared)


def with_no_finding(labels: dict[str, Finding], normal: Span | None, vocabulary: Vocabulary) -> dict[str, Finding]:
    """The labels with ``no_finding``, where they or ``normal``, the words that say so, allow to judge it."""
    known = vocabulary.findings
    for name, finding in labels.items():
        if finding.status is not Status.ABSENT and not known[name].device:
            return {**labels, NO_FINDING: Finding(Status.ABSENT, span=finding.span)}
    absent = next((finding.span for finding in labels.values() if finding.status is Status.ABSENT), None)
    if normal or absent:
        labels[NO_FINDING] = Finding(Status.PRESENT, span=normal or absent)
    return labels
