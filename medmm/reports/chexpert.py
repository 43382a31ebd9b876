"""The labeler's findings as the fourteen observations of CheXpert, and as the five that its competition scored.

Which findings an observation covers follows the mention lists of the CheXpert labeler (Irvin et al., AAAI 2019, table 1
and section 3): ``Lung Lesion`` covers nodule and mass, ``Lung Opacity`` covers opacities whose cause is not named.
"""

from __future__ import annotations

from collections.abc import Mapping

from medmm.types import Finding, Status

NO_FINDING, SUPPORT_DEVICES = "no_finding", "support_devices"
COVERED: Mapping[str, tuple[str, ...]] = {
    NO_FINDING: (NO_FINDING,),
    "enlarged_cardiomediastinum": ("enlarged_cardiomediastinum",),
    "cardiomegaly": ("cardiomegaly",),
    "lung_lesion": ("lung_lesion", "nodule", "mass", "cavitation"),
    "lung_opacity": ("opacity", "lung_opacity", "density", "interstitial_markings", "scarring", "bronchial_thickening"),
    "edema": ("edema",),
    "consolidation": ("consolidation",),
    "pneumonia": ("pneumonia",),
    "atelectasis": ("atelectasis",),
    "pneumothorax": ("pneumothorax",),
    "pleural_effusion": ("pleural_effusion",),
    "pleural_other": ("pleural_other", "pleural_thickening", "pleural_calcification"),
    "fracture": ("fracture", "rib_fracture", "vertebral_fracture", "clavicle_fracture"),
    SUPPORT_DEVICES: (
        SUPPORT_DEVICES, "pacemaker", "endotracheal_tube", "central_line", "nasogastric_tube", "chest_tube",
        "tracheostomy_tube", "sternotomy_wires", "surgical_clips", "valve_prosthesis", "stent",
    ),
}  # fmt: skip
"""Observation to the labeler's findings that it covers; the first one is the observation itself under its name here."""

CHEXPERT_14: tuple[str, ...] = tuple(COVERED)
"""The fourteen observations, in the order of the CheXpert paper's table 1."""

CHEXPERT_5 = ("atelectasis", "cardiomegaly", "consolidation", "edema", "pleural_effusion")
"""Those of the CheXpert competition."""

_RANK = {Status.PRESENT: 3, Status.UNCERTAIN: 2, Status.ABSENT: 1, Status.UNMENTIONED: 0}


def chexpert_observations(findings: Mapping[str, Finding]) -> dict[str, Finding]:
    """Gather findings under the fourteen observations.

    Of several findings under one observation, present holds over uncertain over absent. An observation whose own name
    is not mentioned is absent where something that it covers is denied. ``no_finding`` is present when something was
    said and none of the other observations but ``support_devices`` is present or uncertain: what lies outside the
    fourteen, such as scoliosis, does not count against it, as in the CheXpert labeler.

    Args:
        findings: What a labeler or a reader says.

    Returns:
        Observation to what is said of it; one that is not mentioned has no entry.
    """
    found: dict[str, Finding] = {}
    for observation, names in COVERED.items():
        said = [findings[name] for name in names if name in findings]
        said = [finding for finding in said if finding.status is not Status.UNMENTIONED]
        if said and observation != NO_FINDING:
            found[observation] = max(said, key=lambda finding: _RANK[finding.status])
    disease = [one for name, one in found.items() if name != SUPPORT_DEVICES and one.status is not Status.ABSENT]
    if disease:
        found[NO_FINDING] = Finding(Status.ABSENT, span=disease[0].span)
    elif any(finding.status is not Status.UNMENTIONED for finding in findings.values()):
        known = findings.get(NO_FINDING)
        span = known.span if known else next((one.span for one in findings.values() if one.span), None)
        found[NO_FINDING] = Finding(Status.PRESENT, span=span)
    return {name: found[name] for name in CHEXPERT_14 if name in found}
