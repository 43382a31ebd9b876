"""References to earlier studies: where a report compares, and the same text without it.

A model that drafts from the images of one study cannot know what has changed; one that learns from ``unchanged`` and
``new`` invents comparisons (Ramesh et al., ML4H 2022). English, Spanish, German, French and Chinese.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from medmm.reports.language import language_of
from medmm.reports.prior_form import PriorRules
from medmm.reports.prior_rules import ENGLISH
from medmm.reports.prior_rules_de import GERMAN
from medmm.reports.prior_rules_es import SPANISH
from medmm.reports.prior_rules_fr import FRENCH
from medmm.reports.prior_rules_zh import CHINESE
from medmm.reports.sentences import split_sentences
from medmm.types import TextPart

LANGUAGES = {"en": ENGLISH, "es": SPANISH, "de": GERMAN, "fr": FRENCH, "zh": CHINESE}
"""ISO 639-1 code to the rules of the language."""

_GAP = re.compile(r"(?<!\S)(?:(?P<number>\d{1,2})(?=[.)]))")
_PRESENT_WITH = re.compile(r"(?P<what>.*?)\b(?:is|are)\s+present\s+with\s+(?P<rest>.+)", re.IGNORECASE)
_LONGEST = 2000  # characters; a longer sentence is none, and its rewriting would take long
_STOPS = ".!?。！？"
_SLIGHT = 1.0  # evidence for a language that says where to look first


@dataclass(frozen=True, slots=True)
class PriorReference:
    """Words that compare with an earlier study.

    Attributes:
        start: Offset of the first character.
        end: Offset behind the last one.
        kind: ``comparison`` (an earlier study is named), ``change``, ``no_change`` or ``new``.
    """

    start: int
    end: int
    kind: str


_BEFORE_VERB = re.compile(r",\s+(?=(?:is|are|measures?)\s)")  # what stood between subject and verb is gone


def find_prior_references(text: str, language: str | None = None) -> list[PriorReference]:
    """Find the references to earlier studies in ``text``, in order; they do not overlap.

    History is none (``prior sternotomy``, ``previous granulomatous disease``), and ``increased markings`` is none
    unless it says since when.

    Args:
        text: A text, or a part of one.
        language: One of ``LANGUAGES`` where it is known; else the text is asked, and where it does not say the first
            language is taken that finds any.
    """
    found = _rules_of(text, language).reference.finditer(text)
    return [PriorReference(match.start(), match.end(), str(match.lastgroup)) for match in found]


def without_priors(text: str, language: str | None = None) -> str:
    """Take the references to earlier studies out of a section's text.

    What a sentence says of this study stays: ``Stable cardiomegaly.`` becomes ``Cardiomegaly.``, ``No change in the
    left effusion compared to prior.`` becomes ``Left effusion.`` A clause that says nothing else, or that cannot be
    rewritten into a whole one, is left out: ``Heart size is stable.``, ``Interval resolution of the edema.`` Lists are
    numbered anew.

    Args:
        text: The section's text.
        language: As in :func:`find_prior_references`.

    Returns:
        The text, other sentences unchanged; empty where nothing is left.
    """
    rules = _rules_of(text, language)
    if rules.reference.search(text) is None:
        return text
    sentences = split_sentences(TextPart(text, 0, len(text)))
    kept: list[tuple[str, str]] = []
    marker, end = "", 0
    for sentence in sentences:
        gap = text[end : sentence.start]
        end = sentence.end
        gap, marker = (gap, "") if _GAP.search(gap) or not marker else (marker, "")
        words = _rewritten(sentence.text, rules)
        if words:
            kept.append((gap, words))
        elif _GAP.search(gap):
            marker = gap
    return _joined(kept, rules.between)


def _rules_of(text: str, language: str | None) -> PriorRules:
    code = language if language in LANGUAGES else language_of(text)
    if code in LANGUAGES:
        return LANGUAGES[code]
    likely = language_of(text, enough=_SLIGHT)
    order = [LANGUAGES[likely], *LANGUAGES.values()] if likely in LANGUAGES else LANGUAGES.values()
    return next((rules for rules in order if rules.reference.search(text)), ENGLISH)


def _joined(kept: list[tuple[str, str]], between: str) -> str:
    """Sentences behind their gaps, list numbers counted from one."""
    number = 0
    pieces: list[str] = []
    for gap, words in kept:
        found, space = _GAP.search(gap), gap or between
        if found:
            number = 1 if found["number"] == "1" else number + 1
            space = gap[: found.start("number")] + str(number) + gap[found.end("number") :]
        pieces.append(space + words)
    return "".join(pieces).strip()


def _rewritten(sentence: str, rules: PriorRules) -> str:
    """A sentence without its references; as it is where it has none, empty where nothing is left."""
    if rules.reference.search(sentence) is None:
        return sentence
    if len(sentence) > _LONGEST:
        return ""
    stop = sentence[-1] if sentence[-1] in _STOPS else ""
    body = " ".join(sentence.rstrip(_STOPS + " ").split())
    parts = [_clause(part, rules) for part in rules.comma.split(body)]
    whole = _clause(body, rules) if all(parts) else ""
    if whole and _is_well_formed(whole, rules):
        return _finished(whole, stop)
    clauses = [_clause(part, rules) for part in _clauses(body, rules)]
    clauses = [words for words in clauses if words and not rules.subordinate.match(words)]
    said = rules.joint.join([clauses[0], *map(_lowered, clauses[1:])]) if clauses else ""
    said = _BEFORE_VERB.sub(" ", said)
    is_whole = said and _is_well_formed(said, rules) and not rules.is_said_of_nothing(said)
    return _finished(said, stop) if is_whole else ""


def _clauses(body: str, rules: PriorRules) -> Iterator[str]:
    start = 0
    for match in rules.clause.finditer(body):
        yield body[start : match.start()]
        start = match.end()
    yield body[start:]


def _clause(words: str, rules: PriorRules) -> str:
    """Rewrite a clause; empty where it says nothing of this study or a reference stays."""
    if rules.unavailable.search(words):
        return ""
    if rules.reference.search(words) is None:
        return words
    if rules.gone.search(words):
        return ""
    for pattern, replacement in rules.clause_rules:
        words = pattern.sub(replacement, words)
    words = re.sub(r"\(\s*\)", "", words)
    words = re.sub(r"\s+", " ", words)
    words = re.sub(r"\s+([,;.)])", r"\1", words)
    words = re.sub(r"([,;，；])(?:\s*[,;，；])+", r"\1", words).strip(" ,;:-，；：、")
    shown = _PRESENT_WITH.match(words)
    if shown and rules.is_said_of_nothing(shown["what"]):
        words = shown["rest"]
    if not words or rules.reference.search(words) or rules.is_said_of_nothing(words):
        return ""
    return words


def _is_well_formed(sentence: str, rules: PriorRules) -> bool:
    """Whether a sentence has no loose end: no dangling word, no verb without subject, brackets in pairs."""
    if any(pattern.search(sentence) for pattern in rules.broken) or "  " in sentence:
        return False
    is_paired = all(sentence.count(one) == sentence.count(other) for one, other in ("()", "（）"))
    return is_paired and any(letter.isalpha() for letter in sentence)


def _lowered(clause: str) -> str:
    return clause[:1].lower() + clause[1:] if clause[1:2].islower() else clause


def _finished(words: str, stop: str) -> str:
    return words[:1].upper() + words[1:] + (stop or "")
