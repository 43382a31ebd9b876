"""What a report says of its own study: views, the side and the part of the body. Words only; nothing is concluded."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from medmm.types import Report

_VIEW_WORDS = {
    "PA": r"pa|p\.a\.|postero-?anterior",
    "AP": r"ap|a\.p\.|antero-?posterior|portable|bedside|supine|semi-?(?:erect|upright|recumbent)",
    "LATERAL": r"lateral|lat",
}
_VIEWS = {name: re.compile(rf"(?<![\w.])(?:{words})(?![\w])", re.IGNORECASE) for name, words in _VIEW_WORDS.items()}
_ANY_VIEW = "|".join(_VIEW_WORDS.values())
_PHRASE = re.compile(
    rf"(?<!\w)(?:(?:{_ANY_VIEW}|frontal|upright|erect|single|two|2)\b[\s,/&]*(?:and\s+|chest\s+)*)+"
    r"(?:views?|projections?|radiographs?|films?|chest(?!\s+wall)|cxr|x-?rays?|examination|exam)\b",
    re.IGNORECASE,
)
"""A run of view words that names a picture; ``lateral`` alone is mostly a place in the chest."""
_PICTURE = re.compile(r"view|projection|radiograph|film|chest|cxr|x-?ray|exam", re.IGNORECASE)
"""What every such run ends with; looked for first, since it is quick to find."""
_EARLIER = re.compile(
    r"\b(?:compar\w+|prior|previous\w*|earlier|before|since|follow-?up|recommend\w*|suggest\w*)\b", re.IGNORECASE
)
_SIDES = {
    "left": re.compile(r"\b(?:left|izquierd[oa]s?|links\w*|gauche)\b", re.IGNORECASE),
    "right": re.compile(r"\b(?:right|derech[oa]s?|rechts\w*|droite?)\b", re.IGNORECASE),
}
_BOTH = re.compile(r"\b(?:bilateral\w*|both|ambos|beid\w+)\b", re.IGNORECASE)
_REGION_WORDS = {
    "chest": r"lungs?|pulmonary|pleura\w*|thora\w+|chest|cardi\w+|heart|mediastin\w+|pneumothora\w+|hil(?:ar|um|a)"
    r"|costophrenic|bronch\w+|pulm[oó]n\w*|t[oó]rax|coraz[oó]n",
    "abdomen": r"abdom\w+|bowel|liver|hepatic|kidneys?|renal|spleen|pancrea\w+|gallbladder|colon|ureter\w*|biliary",
    "pelvis": r"pelvi\w+|hips?|acetabul\w+|sacroiliac|prostate|uter(?:us|ine)|urinary bladder",
    "head": r"brain|skull|intracranial|cerebr\w+|cerebell\w+|sulci|paranasal|sinus(?:es|itis)|orbit\w*|calvari\w+"
    r"|mandib\w+",
    "spine": r"lumbar|cervical|lumbosacral|dis[ck] spaces?|spondylo\w+|neural foramin\w+|spinal canal",
    "leg": r"knees?|patell\w+|tibi(?:a|al)|fibul\w+|menisc\w+|femor(?:al|is) condyles?|femur|femoral shaft",
    "foot": r"ankles?|foot|feet|metatars\w+|calcane\w+|malleol\w+|talus|talar|hallux|toes?",
    "arm": r"shoulders?|humer(?:us|al)|glenohumeral|acromio\w+|elbows?|olecranon|forearm|radial head|ulna\w*",
    "hand": r"wrists?|hands?|carpal|metacarp\w+|phalan\w+|scaphoid|fingers?|thumb",
    "breast": r"breasts?|mammogra\w+|bi-?rads|fibroglandular",
    "neck": r"thyroid|laryn\w+|parotid|soft tissues of the neck|nasopharyn\w+",
}
_REGIONS = re.compile(
    r"\b(?:" + "|".join(f"(?P<{name}>{words})" for name, words in _REGION_WORDS.items()) + r")\b", re.IGNORECASE
)
_BODY_PARTS = {
    "chest": "CHEST THORAX LUNG LUNGS HEART RIB RIBS STERNUM MEDIASTINUM",
    "abdomen": "ABDOMEN KUB LIVER KIDNEY COLON BOWEL",
    "pelvis": "PELVIS HIP HIPS SIJOINT PROSTATE",
    "head": "HEAD SKULL BRAIN ORBIT SINUS SINUSES JAW MANDIBLE FACE",
    "spine": "SPINE CSPINE TSPINE LSPINE SSPINE LUMBAR CERVICAL",
    "leg": "LEG KNEE FEMUR THIGH TIBIA FIBULA PATELLA",
    "foot": "FOOT FEET ANKLE TOE HEEL CALCANEUS",
    "arm": "ARM SHOULDER HUMERUS ELBOW FOREARM CLAVICLE SCAPULA ULNA RADIUS",
    "hand": "HAND WRIST FINGER THUMB",
    "breast": "BREAST",
    "neck": "NECK THYROID LARYNX",
}
_REGION_OF = {word: region for region, words in _BODY_PARTS.items() for word in words.split()}
PAIRED = frozenset({"leg", "foot", "arm", "hand", "breast"})
"""Regions that a body has twice, so that a picture of one has a side."""


def views(report: Report) -> set[str]:
    """Views that a report says were taken: ``PA``, ``AP``, ``LATERAL``.

    Any view word counts before the first section and under technique; elsewhere only such as name a picture
    (``PA and lateral views``), and not in a sentence on an earlier or a later study.
    """
    found: set[str] = set()
    for text, is_about_itself in _parts(report):
        phrases = [text] if is_about_itself else [phrase[0] for phrase in _PHRASE.finditer(text)]
        if phrases and (is_about_itself or not _EARLIER.search(text)):
            found |= {name for name, pattern in _VIEWS.items() if any(map(pattern.search, phrases))}
    return found


def _parts(report: Report) -> Iterator[tuple[str, bool]]:
    """Texts that may say how the study was taken, each with whether that is all that they are about."""
    ends = sorted((part.start, part.end) for part in report.sections.values())
    if ends:
        yield report.raw[: ends[0][0]], True
    if "technique" in report.sections:
        yield report.sections["technique"].text, True
    for sentence in report.sentences:
        if sentence.section not in ("technique", "comparison") and _PICTURE.search(sentence.text):
            yield sentence.text, False


def sides(report: Report) -> set[str]:
    """Sides that a report names outside of its comparison: ``left``, ``right``; both where it says so."""
    text = " ".join(part.text for part in report.sentences if part.section != "comparison")
    named = {name for name, pattern in _SIDES.items() if pattern.search(text)}
    return {"left", "right"} if _BOTH.search(text) else named


def regions(report: Report) -> dict[str, int]:
    """Region of the body to how many different words of the report stand for it; regions without any are left out."""
    text = " ".join(part.text for part in report.sentences if part.section in ("findings", "impression", None))
    words = {(str(found.lastgroup), found[0].lower()) for found in _REGIONS.finditer(text)}
    return dict(sorted(Counter(name for name, _ in words).items()))


def region_of(body_part: str | None) -> str | None:
    """Region that a header's Body Part Examined (PS3.16 annex L) lies in; None where it is missing or not known."""
    words = re.findall(r"[A-Z]+", (body_part or "").upper())
    return next((_REGION_OF[word] for word in words if word in _REGION_OF), None)
