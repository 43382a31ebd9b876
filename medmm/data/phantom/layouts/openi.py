"""Open-i's collection: ``ecgen-radiology/1.xml`` and ``NLMCXR_png/CXR1_1_IM-0001-1001.png``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from medmm.data.phantom.layouts import _material
from medmm.data.phantom.study import PhantomStudy

REPORTS, IMAGES = "ecgen-radiology", "NLMCXR_png"
TERMS: Mapping[str, str] = {
    "pleural_effusion": "Pleural Effusion",
    "pneumothorax": "Pneumothorax",
    "consolidation": "Consolidation",
    "atelectasis": "Pulmonary Atelectasis",
    "edema": "Pulmonary Edema",
    "nodule": "Nodule",
    "mass": "Mass",
    "cardiomegaly": "Cardiomegaly",
    "emphysema": "Emphysema",
    "rib_fracture": "Fractures, Bone",
    "pacemaker": "Implanted Medical Device",
    "endotracheal_tube": "Tube, Inserted",
}
"""Finding to the heading that the collection's annotators give it."""
_SECTIONS = ("comparison", "indication", "findings", "impression")


def write(root: Path, seed: int, numbers: Sequence[int], size: int) -> None:
    """Write studies: XML reports in one folder, 8-bit PNG images in another.

    Args:
        root: Folder to write into.
        seed: The phantom's.
        numbers: Studies.
        size: Rows and columns of an image.
    """
    (root / REPORTS).mkdir(parents=True, exist_ok=True)
    for study in _material.studies(seed, numbers, size):
        uid = study.place.study + 1
        image_id = f"CXR{uid}_1_IM-{uid:04d}-1001"
        _material.write_picture(root / IMAGES / f"{image_id}.png", _material.grey(study))
        (root / REPORTS / f"{uid}.xml").write_text(_xml(study, uid, image_id), encoding="utf-8")


def coded(study: PhantomStudy) -> list[str]:
    """The study's codes: a heading a finding with its side as qualifier, ``normal`` without any."""
    found = []
    for condition in study.conditions:
        side = f"/{condition.side}" if condition.side else ""
        found.append(TERMS[condition.name] + side)
    return found or ["normal"]


def _xml(study: PhantomStudy, uid: int, image_id: str) -> str:
    sections = study.report.sections
    parts = "".join(
        f"<AbstractText Label={quoteattr(name.upper())}>{escape(sections.get(name, ''))}</AbstractText>"
        for name in _SECTIONS
    )
    terms = "".join(f"<major>{escape(term)}</major>" for term in coded(study))
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<eCitation>\n'
        f'<meta type="rr"/>\n<uId id="CXR{uid}"/>\n<pmcId id="{uid}"/>\n<docSource>CXR</docSource>\n'
        f"<MedlineCitation>\n<Article>\n<Abstract>{parts}</Abstract>\n</Article>\n</MedlineCitation>\n"
        f"<MeSH>{terms}</MeSH>\n"
        f'<parentImage id="{image_id}">\n<figureId>F1</figureId>\n<caption>Chest radiograph</caption>\n'
        f'<panel type="single"/>\n</parentImage>\n</eCitation>\n'
    )
