"""Reports on phantom studies: what a radiologist says of the conditions, in sections, with typos and masked words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from medmm.data.phantom.dictation import RADIOLOGISTS, Radiologist, fill, phrases, word
from medmm.data.phantom.disease import FINDINGS, SIDED, Condition, Facts
from medmm.types import Laterality, Status

GROUPS: Mapping[str, tuple[str, ...]] = {
    "devices": ("endotracheal_tube", "pacemaker"),
    "heart": ("cardiomegaly",),
    "lungs": ("consolidation", "edema", "atelectasis", "mass", "nodule", "emphysema"),
    "pleura": ("pneumothorax", "pleural_effusion"),
    "bones": ("rib_fracture",),
}
HEDGED = 0.1
"""Probability that a small or borderline finding is worded with doubt; larger ones a fifth of it, devices never."""
TYPO, MASKED = 0.015, 0.03
"""Share of sentences with a misspelt word, and with a word masked as in de-identified collections."""
MASKABLE = frozenset(
    "seen present visible study prior size degree area amount position place over since previously measuring".split()
)


@dataclass(frozen=True)
class Dictation:
    """A report before it is written to a file.

    Attributes:
        sections: Heading (lower case) to text, in order.
        said: What the report says of each finding.
        style: Number of the radiologist.
        heading: How headings stand in a text file.
    """

    sections: Mapping[str, str]
    said: Mapping[str, Status]
    style: int
    heading: str

    def text(self) -> str:
        """The report as a text file."""
        parts = []
        for name, body in self.sections.items():
            if self.heading == "upper":
                parts.append(f"{name.upper()}: {body}")
            elif self.heading == "title":
                parts.append(f"{name.capitalize()}: {body}")
            else:
                parts.append(f"{name.upper()}\n{body}")
        return "\n\n".join(parts) + "\n"


def dictate(
    found: tuple[Condition, ...],
    facts: Mapping[str, Facts],
    before: tuple[Condition, ...] | None,
    exposure: tuple[str, str, int],
    rng: np.random.Generator,
) -> Dictation:
    """Write the report of a study.

    Args:
        found: What the study shows.
        facts: Finding to size, zone and ribs.
        before: What the prior study showed, None without one.
        exposure: Projection, sex and age in years.
        rng: Source of style and wording.
    """
    who = RADIOLOGISTS[int(rng.integers(len(RADIOLOGISTS)))]
    draft = _Draft(who, rng, {c.name: c for c in found}, facts, before)
    findings, impression = draft.findings(), draft.impression()
    sections = draft.preamble(exposure)
    if rng.random() > 0.03:
        sections["findings"] = findings
    else:
        impression = findings if who.impression == "one line" else impression
        for name, status in draft.said.items():
            if status is Status.ABSENT:
                draft.said[name] = Status.UNMENTIONED
    sections["impression"] = impression
    return Dictation(sections, draft.said, who.number, who.heading)


class _Draft:
    """The state of one dictation."""

    def __init__(
        self,
        who: Radiologist,
        rng: np.random.Generator,
        found: dict[str, Condition],
        facts: Mapping[str, Facts],
        before: tuple[Condition, ...] | None,
    ) -> None:
        self.who, self.rng, self.found, self.facts, self.before = who, rng, found, facts, before
        self.said = dict.fromkeys(FINDINGS, Status.UNMENTIONED)
        for name, condition in found.items():
            self.said[name] = Status.UNCERTAIN if self._doubts(condition) else Status.PRESENT

    def _doubts(self, condition: Condition) -> bool:
        luck = self.rng.random()
        if (
            "hedged" not in phrases()[condition.name]
            or condition.side is Laterality.BILATERAL
            and condition.name in SIDED
        ):
            return False
        return bool(luck < (HEDGED if condition.grade == 0 else HEDGED / 5))

    def preamble(self, exposure: tuple[str, str, int]) -> dict[str, str]:
        """Indication, technique and comparison, as far as this radiologist gives them."""
        projection, sex, age = exposure
        rng, book, sections = self.rng, phrases(), {}
        wanted = rng.random(3) < self.who.sections
        topics = [name for name in self.found if name in book["indication"]]
        reasons = book["indication"][topics[0]] if topics and rng.random() < 0.5 else book["indication"]["any"]
        person = f"{age if rng.random() < 0.5 else 'XXXX'}-year-old {'female' if sex == 'F' else 'male'} with "
        reason = reasons[int(rng.integers(len(reasons)))]
        if wanted[0]:
            sections["indication"] = self._sentence(person + reason if rng.random() < 0.5 else reason, rough=False)
        if wanted[1]:
            sections["technique"] = self._sentence(
                word(book["technique"][projection], "technique", self.who, rng), rough=False
            )
        if wanted[2] or self.before is not None:
            kind = "none" if self.before is None else "prior"
            sections["comparison"] = self._sentence(word(book["comparison"][kind], kind, self.who, rng), rough=False)
        return sections

    def findings(self) -> str:
        """All that is seen, part by part, with what is not seen as far as this radiologist says so."""
        sentences: list[str] = []
        for group in self.who.order:
            names = [name for name in GROUPS[group] if name in self.found]
            if len(names) > 1 and self.rng.random() < 0.3:
                names.reverse()
            sentences += [self._present(self.found[name]) for name in names]
            sentences += self._absent(group, names)
        sentences += self._resolved()
        return " ".join(self._sentence(s) for s in sentences)

    def impression(self) -> str:
        """The conclusion: what is there, or that nothing is."""
        book, rng = phrases(), self.rng
        points = []
        for name, condition in self.found.items():
            kind = self._kind(condition, "short")
            options = book[name]["hedged"] if self.said[name] is Status.UNCERTAIN else book[name][kind]
            points.append(self._fill(word(options, name + kind, self.who, rng), condition))
        order = rng.permutation(len(points)) if rng.random() < 0.3 else range(len(points))
        points = [points[k] for k in order]
        if not points:
            return self._sentence(word(book["absent"]["normal"], "normal", self.who, rng))
        if set(self.found) <= {"pacemaker", "endotracheal_tube"} and rng.random() < 0.7:
            points.append(word(book["absent"]["otherwise"], "otherwise", self.who, rng))
        if self.who.impression == "numbered" and len(points) > 1:
            return " ".join(f"{k}. {self._sentence(point)}" for k, point in enumerate(points, 1))
        return " ".join(self._sentence(point) for point in points)

    def _kind(self, condition: Condition, stem: str = "") -> str:
        """Which list of wordings fits: one side, both, several ribs."""
        if condition.side is Laterality.BILATERAL:
            return f"{stem}_both" if stem else "both"
        facts = self.facts.get(condition.name, Facts())
        if len(facts.ribs) > 1 or facts.count > 1:
            return f"{stem}_many" if stem else "many"
        return stem or "one"

    def _fill(self, text: str, condition: Condition) -> str:
        return fill(text, condition, self.facts.get(condition.name, Facts()), self.who)

    def _present(self, condition: Condition) -> str:
        book = phrases()
        if self.said[condition.name] is Status.UNCERTAIN:
            return self._fill(
                word(book[condition.name]["hedged"], condition.name + "hedged", self.who, self.rng), condition
            )
        kind = self._kind(condition)
        text = self._fill(word(book[condition.name][kind], condition.name + kind, self.who, self.rng), condition)
        if condition.change and self.rng.random() < 0.7:
            text += ", " + word(book["change"][condition.change], condition.change, self.who, self.rng)
        return text

    def _absent(self, group: str, names: list[str]) -> list[str]:
        """Statements on what a part does not show."""
        book, rng, who = phrases()["absent"], self.rng, self.who
        if group == "devices":
            return []
        chosen: list[tuple[str, tuple[str, ...]]] = []
        if group == "heart":
            chosen = [("mediastinum", ())] if rng.random() < 0.4 * who.negatives else []
            if not names and rng.random() < who.negatives:
                chosen.insert(0, ("cardiomegaly", ("cardiomegaly",)))
        elif group == "lungs":
            chosen = self._lungs_absent(names)
        elif group == "pleura":
            missing = [name for name in GROUPS["pleura"] if name not in names]
            if missing and rng.random() < who.negatives:
                chosen = [("pleura_both" if len(missing) == 2 else missing[0], tuple(missing))]
        elif not names and rng.random() < 0.6 * who.negatives:
            key = "rib_fracture" if rng.random() < 0.2 else "bones"
            chosen = [(key, ("rib_fracture",))]
        for _, denied in chosen:
            self.said.update(dict.fromkeys(denied, Status.ABSENT))
        return [word(book[key], key, who, rng) for key, _ in chosen]

    def _lungs_absent(self, names: list[str]) -> list[tuple[str, tuple[str, ...]]]:
        rng = self.rng
        if not names and rng.random() < 0.75:
            return [("lungs_clear", ("consolidation", "edema", "atelectasis", "mass", "nodule"))]
        chosen: list[tuple[str, tuple[str, ...]]] = []
        if "consolidation" not in names and rng.random() < 0.6 * self.who.negatives:
            chosen.append(("consolidation", ("consolidation",)))
        if "edema" not in names and rng.random() < 0.3 * self.who.negatives:
            chosen.append(("edema", ("edema",)))
        if not {"nodule", "mass"} & set(names) and rng.random() < 0.25 * self.who.negatives:
            chosen.append(("nodules", ("nodule", "mass")))
        return chosen

    def _resolved(self) -> list[str]:
        """What was there before and is gone."""
        gone = [
            c.name
            for c in self.before or ()
            if c.name not in self.found and c.name not in {"endotracheal_tube", "rib_fracture"}
        ]
        if not gone or self.rng.random() < 0.5:
            return []
        self.said[gone[0]] = Status.ABSENT
        name = gone[0].replace("_", " ")
        return [word(phrases()["resolved"], "resolved", self.who, self.rng).format(name=name)]

    def _sentence(self, text: str, rough: bool = True) -> str:
        """Capital, full stop and, now and then, a slip or a masked word."""
        words = text.split()
        luck = self.rng.random(3)
        if rough and luck[0] < MASKED:
            maskable = [k for k, one in enumerate(words) if one in MASKABLE]
            if maskable:
                words[maskable[int(luck[2] * len(maskable))]] = "XXXX"
        if rough and luck[1] < TYPO:
            long = [k for k, one in enumerate(words) if len(one) > 5 and one.isalpha()]
            if long:
                k = long[int(luck[2] * len(long))]
                at = 2 + int(self.rng.integers(len(words[k]) - 4))
                words[k] = words[k][:at] + words[k][at + 1] + words[k][at] + words[k][at + 2 :]
        line = " ".join(words)
        return f"{line[0].upper()}{line[1:]}."
