"""Findings of Open-i's reports as annotators coded them: MeSH and RadLex terms such as ``Pleural Effusion/left/small``.

A report is coded as a whole, so a finding without a code is absent. ``no indexing`` marks a report that nobody coded.
"""

from __future__ import annotations

from collections.abc import Iterable

from medmm.types import Finding, Laterality, Status

_TERMS = {
    "cardiomegaly": ("cardiomegaly",),
    "pleural_effusion": ("pleural effusion", "costophrenic angle"),
    "pneumothorax": ("pneumothorax", "hydropneumothorax"),
    "edema": ("pulmonary edema", "pulmonary congestion"),
    "atelectasis": ("pulmonary atelectasis",),
    "opacity": ("opacity", "infiltrate", "consolidation", "airspace disease", "pneumonia"),
    "emphysema": ("emphysema", "pulmonary emphysema", "pulmonary disease, chronic obstructive"),
    "nodule": ("nodule",),
    "granuloma": ("calcified granuloma", "granuloma", "granulomatous disease"),
    "fracture": ("fractures, bone",),
    "scoliosis": ("scoliosis",),
    "hiatal_hernia": ("hernia, hiatal",),
}
_FINDING_OF = {term: name for name, terms in _TERMS.items() for term in terms}
_NORMAL, _UNCODED = "normal", frozenset({"no indexing", "technical quality of image unsatisfactory"})
_SIDES = {side.value: side for side in Laterality}


def coded_findings(terms: Iterable[str]) -> dict[str, Finding]:
    """Read codes.

    Args:
        terms: A heading each, with its qualifiers behind slashes.

    Returns:
        Every finding of the vocabulary and ``no_finding``, present or absent; nothing where a report was not coded.
    """
    parts = [[part.strip().lower() for part in term.split("/")] for term in terms if term.strip()]
    if not any(heading not in _UNCODED for heading, *_ in parts):
        return {}
    sides: dict[str, set[Laterality]] = {}
    for heading, *qualifiers in parts:
        if heading in _FINDING_OF:
            said = sides.setdefault(_FINDING_OF[heading], set())
            said.update(_SIDES[word] for word in qualifiers if word in _SIDES)
    found = {
        name: Finding(Status.PRESENT, joint_side(sides[name])) if name in sides else Finding(Status.ABSENT)
        for name in _TERMS
    }
    is_normal = all(heading == _NORMAL or heading in _UNCODED for heading, *_ in parts)
    return found | {"no_finding": Finding(Status.PRESENT if is_normal else Status.ABSENT)}


def joint_side(sides: Iterable[Laterality]) -> Laterality | None:
    """The side that several mentions have together: bilateral for left and right, None for none."""
    kinds = set(sides)
    return kinds.pop() if len(kinds) == 1 else Laterality.BILATERAL if kinds else None
