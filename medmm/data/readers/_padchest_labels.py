"""PadChest's labels and localizations under medmm's names (Bustos et al. 2020, tables of the supplement).

A label that stands for none of medmm's findings (``kyphosis``, ``goiter``) is left out. ``normal`` alone is
``no_finding``; it is absent where any other label than a device or a remark on the examination stands beside.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence

from medmm.data.readers._mesh import joint_side
from medmm.types import Finding, Laterality, Status, Zone

_LABELS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("pleural_effusion",): (
        "pleural effusion", "loculated pleural effusion", "loculated fissural effusion", "costophrenic angle blunting",
    ),
    ("pneumothorax",): ("pneumothorax",),
    ("pleural_effusion", "pneumothorax"): ("hydropneumothorax",),
    ("consolidation",): ("consolidation", "air bronchogram"),
    ("atelectasis",): (
        "atelectasis", "laminar atelectasis", "lobar atelectasis", "segmental atelectasis", "round atelectasis",
        "total atelectasis", "atelectasis basal",
    ),
    ("edema",): ("pulmonary edema", "hilar congestion", "vascular redistribution", "central vascular redistribution",
                 "kerley lines"),
    ("opacity",): ("infiltrates", "alveolar pattern"),
    ("pneumonia",): ("pneumonia", "atypical pneumonia"),
    ("nodule",): ("nodule", "multiple nodules"),
    ("mass",): ("mass", "pulmonary mass", "mediastinal mass", "pleural mass"),
    ("granuloma",): ("granuloma", "calcified granuloma"),
    ("cardiomegaly",): ("cardiomegaly",),
    ("enlarged_cardiomediastinum",): ("mediastinal enlargement", "superior mediastinal enlargement"),
    ("emphysema",): ("emphysema", "bullas", "copd signs"),
    ("pleural_thickening",): (
        "pleural thickening", "apical pleural thickening", "calcified pleural thickening", "pleural plaques",
        "calcified pleural plaques",
    ),
    ("rib_fracture", "fracture"): ("rib fracture", "callus rib fracture"),
    ("fracture",): ("fracture", "vertebral fracture", "clavicle fracture", "humeral fracture"),
    ("scoliosis",): ("scoliosis",),
    ("hiatal_hernia",): ("hiatal hernia",),
    ("pacemaker", "support_devices"): ("pacemaker", "dual chamber device", "single chamber device", "dai"),
    ("endotracheal_tube", "support_devices"): ("endotracheal tube", "tracheostomy tube"),
    ("support_devices",): (
        "central venous catheter", "central venous catheter via jugular vein",
        "central venous catheter via subclavian vein", "central venous catheter via umbilical vein",
        "reservoir central venous catheter", "nsg tube", "chest drain tube", "gastrostomy tube", "electrical device",
        "artificial heart valve", "artificial mitral heart valve", "artificial aortic heart valve",
    ),
}  # fmt: skip
_NAMES_OF = {label: names for names, labels in _LABELS.items() for label in labels}
_NORMAL = "normal"
_REMARKS = frozenset({"unchanged", "exclude", "suboptimal study"})  # on the examination, not on the patient
_DEVICES = frozenset({"support_devices", "pacemaker", "endotracheal_tube"})
_SIDES = {side.value: side for side in Laterality}
_ZONES = {
    "upper lobe": Zone.UPPER, "upper lung field": Zone.UPPER, "middle lobe": Zone.MID, "middle lung field": Zone.MID,
    "lower lobe": Zone.LOWER, "lower lung field": Zone.LOWER, "apical": Zone.APICAL, "basal": Zone.BASAL,
    "diffuse": Zone.DIFFUSE,
}  # fmt: skip
_PLACE = "loc "
_LONGEST = 1 << 16  # characters of a cell; the longest of the collection has some hundreds
Mention = tuple[str, tuple[str, ...]]


def list_of_texts(cell: str) -> list[str]:
    """A cell such as ``['pleural effusion', 'loc left']``, each text in lower case and without surrounding blanks.

    Raises:
        ValueError: It is no Python literal, or not one of a list of texts.
    """
    return _texts(_literal(cell))


def sentences_of_texts(cell: str) -> list[list[str]]:
    """A cell with a list of such lists, one a sentence.

    Raises:
        ValueError: It is no Python literal, or not one of a list of lists of texts.
    """
    value = _literal(cell)
    if not isinstance(value, list):
        raise ValueError("no list")
    return [_texts(one) for one in value]


def mentions_by_sentence(sentences: Sequence[Sequence[str]]) -> list[Mention]:
    """Each label with the localizations behind it: a sentence lists a label, then its places, then the next label."""
    found: list[tuple[str, list[str]]] = []
    for sentence in sentences:
        inside = False
        for text in sentence:
            if not text.startswith(_PLACE):
                found.append((text, []))
                inside = True
            elif inside:
                found[-1][1].append(text)
    return [(label, tuple(places)) for label, places in found]


def mentions_of(labels: Sequence[str], places: Sequence[str]) -> list[Mention]:
    """Each label; with the study's localizations only where no other label could own them."""
    return [(label, tuple(places) if len(set(labels)) == 1 else ()) for label in labels]


def findings_of(mentions: Sequence[Mention]) -> dict[str, Finding]:
    """Findings of labels and their places.

    The side is that of all mentions together (bilateral for left and right); the zone is kept where all of them agree.
    """
    places: dict[str, list[str]] = {}
    for label, own in mentions:
        for name in _NAMES_OF.get(label, ()):
            places.setdefault(name, []).extend(own)
    found = {name: Finding(Status.PRESENT, _side(own), _zone(own)) for name, own in places.items()}
    said = {label for label, _ in mentions if label and label not in _REMARKS}
    others = {label for label in said if label != _NORMAL and not set(_NAMES_OF.get(label, ("",))) <= _DEVICES}
    if others:
        found["no_finding"] = Finding(Status.ABSENT)
    elif _NORMAL in said:
        found["no_finding"] = Finding(Status.PRESENT)
    return found


def _literal(cell: str) -> object:
    if len(cell) > _LONGEST:
        raise ValueError("too long")
    try:
        return ast.literal_eval(cell)
    except (SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError("no literal") from error


def _texts(value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ValueError("no list of texts")
    return [one.strip().lower() for one in value]


def _side(places: Sequence[str]) -> Laterality | None:
    return joint_side(_SIDES[word] for place in places for word in place.split() if word in _SIDES)


def _zone(places: Sequence[str]) -> Zone | None:
    zones = {zone for place in places if (zone := _ZONES.get(_without_side(place))) is not None}
    return zones.pop() if len(zones) == 1 else None


def _without_side(place: str) -> str:
    return " ".join(word for word in place.split()[1:] if word not in _SIDES)
