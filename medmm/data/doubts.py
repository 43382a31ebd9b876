"""Doubts about a pairing that holds formally: the report seems to speak of something else than the image shows.

Nothing is set aside for a doubt; a person looks at it on ``pairing.html``.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from medmm.reports import mentions
from medmm.types import Laterality, Report, Study, study_tag


class Kind(StrEnum):
    """What is doubtful."""

    SIDE = "side_contradicts_header"
    VIEW = "view_contradicts_header"
    BODY_PART = "other_body_part"
    OLDER = "report_older_than_image"
    SAME_TEXT = "same_text_for_several_patients"
    SAME_IMAGE = "same_image_for_several_patients"


@dataclass(frozen=True, slots=True)
class Doubt:
    """One doubt.

    Attributes:
        study_id: The study.
        kind: What is doubtful.
        detail: What contradicts what, without patient data.
        other: The other study where there are two.
    """

    study_id: str
    kind: Kind
    detail: str
    other: str | None = None

    @property
    def studies(self) -> tuple[str, ...]:
        """The study, and the other one where there is one."""
        return (self.study_id,) if self.other is None else (self.study_id, self.other)

    def record(self) -> dict[str, str | None]:
        """A line of ``doubts.jsonl``."""
        return {
            "study": study_tag(self.study_id),
            "study_id": self.study_id,
            "kind": str(self.kind),
            "detail": self.detail,
            "other_study_id": self.other,
        }


_LONG_TEXT = 400
"""Characters from which on two patients' reports are not equal by chance or by habit."""
_FRONTAL = frozenset({"PA", "AP"})
_SURE = 2
"""Words of another region that make a report one on that region."""
_COMMON = 0.8
_ENOUGH = 20


class Inspector:
    """Looks at studies as they pass; remembers a digest a long text and, where the header names no region, a word."""

    def __init__(self) -> None:
        self._found: list[Doubt] = []
        self._texts: dict[bytes, tuple[str, str]] = {}
        self._regions: dict[str, dict[str, int]] = {}

    def add(self, study: Study) -> None:
        """Look at a study."""
        report = study.report
        if report is None or not study.images:
            return
        self._found += filter(None, (_view(study, report), _side(study, report), _older(study, report)))
        self._body_part(study, report)
        self._same_text(study, report)

    def doubts(self) -> list[Doubt]:
        """Everything doubtful, in the order of the studies within a kind."""
        return self._found + list(self._unlike_the_others())

    def _body_part(self, study: Study, report: Report) -> None:
        """A header's word is compared at once; without one the reports of the others say what the images show."""
        spoken = mentions.regions(report)
        shown = {region for image in study.images if (region := mentions.region_of(image.body_part))}
        if not shown:
            if spoken:
                self._regions[study.study_id] = spoken
        elif other := _other_region(spoken, shown):
            detail = f"the source says {' and '.join(sorted(shown))}, the report speaks of {other}"
            self._found.append(Doubt(study.study_id, Kind.BODY_PART, detail))

    def _unlike_the_others(self) -> Iterator[Doubt]:
        main = Counter(max(spoken, key=lambda name: spoken[name]) for spoken in self._regions.values())
        if main.total() < _ENOUGH:
            return
        (region, number), *_ = main.most_common(1)
        if number < _COMMON * main.total():
            return
        for study_id, spoken in self._regions.items():
            if other := _other_region(spoken, {region}):
                detail = f"the reports speak of {region}, this one of {other}"
                yield Doubt(study_id, Kind.BODY_PART, detail)

    def _same_text(self, study: Study, report: Report) -> None:
        text = re.sub(r"\s+", " ", report.raw).strip().lower()
        if len(text) < _LONG_TEXT:
            return
        digest = hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).digest()
        study_id, patient = self._texts.setdefault(digest, (study.study_id, study.patient_key))
        if patient != study.patient_key:
            detail = "the report is word for word that of another patient"
            self._found.append(Doubt(study.study_id, Kind.SAME_TEXT, detail, study_id))


def _other_region(spoken: Mapping[str, int], shown: set[str]) -> str | None:
    """The region that a report is on instead of those shown; None where it names one of them or is not sure."""
    if shown & set(spoken) or not spoken:
        return None
    region = max(spoken, key=lambda name: spoken[name])
    return region if spoken[region] >= _SURE else None


def _view(study: Study, report: Report) -> Doubt | None:
    taken = [_plain_view(image.view) for image in study.images]
    if None in taken:
        return None  # what is not known cannot be contradicted
    named, present = mentions.views(report), set(taken)
    if named & _FRONTAL and present & _FRONTAL and not named & present & _FRONTAL:
        said, had = (" and ".join(sorted(views & _FRONTAL)) for views in (named, {*filter(None, present)}))
        return Doubt(study.study_id, Kind.VIEW, f"the report says {said}, the source {had}")
    if "LATERAL" in named and "LATERAL" not in present:
        return Doubt(study.study_id, Kind.VIEW, "the report names a lateral view, no image is one")
    return None


def _plain_view(view: str | None) -> str | None:
    """``PA``, ``AP`` or ``LATERAL``; None where the header says nothing or something else."""
    words = re.findall(r"[A-Z]+", (view or "").upper())
    if not words:
        return None
    if words[0] in _FRONTAL:
        return words[0]
    return "LATERAL" if words[0] in {"LATERAL", "LL", "RL", "LLAT", "RLAT", "L", "LAT"} else None


def _side(study: Study, report: Report) -> Doubt | None:
    """Only where all pictures show one side of what the body has twice: a chest's side is that of the view."""
    lateralities = {image.laterality for image in study.images}
    regions = {mentions.region_of(image.body_part) for image in study.images}
    if len(lateralities) != 1 or not regions <= mentions.PAIRED:
        return None
    (side,) = lateralities
    named = mentions.sides(report)
    if side not in (Laterality.LEFT, Laterality.RIGHT) or not named or str(side) in named:
        return None
    return Doubt(study.study_id, Kind.SIDE, f"the source says {side}, the report {' and '.join(sorted(named))}")


def _older(study: Study, report: Report) -> Doubt | None:
    if report.days_after is None or report.days_after >= 0:
        return None
    days = -report.days_after
    return Doubt(study.study_id, Kind.OLDER, f"the report is {days} {'day' if days == 1 else 'days'} older")


def summarize(doubts: Sequence[Doubt], first: int = 20) -> dict[str, dict[str, object]]:
    """Kind to how many there are and the tags of the first; every kind is named, also where there is none."""
    of_kind = {kind: [doubt for doubt in doubts if doubt.kind is kind] for kind in Kind}
    return {
        str(kind): {"count": len(found), "first": [study_tag(doubt.study_id) for doubt in found[:first]]}
        for kind, found in of_kind.items()
    }


def examples(doubts: Sequence[Doubt], each: int = 6) -> list[Doubt]:
    """The first few doubts of each kind, to be looked at."""
    return [doubt for kind in Kind for doubt in [one for one in doubts if one.kind is kind][:each]]
