"""References to earlier studies: where a report compares, and the same text without it.

A model that drafts from the images of one study cannot know what has changed; one that learns from ``unchanged`` and
``new`` invents comparisons (Ramesh et al., ML4H 2022). English only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from medmm.reports.prior_rules import CLAUSE_RULES, GONE, REFERENCE, UNAVAILABLE, is_said_of_nothing
from medmm.reports.sections import split_sentences
from medmm.types import TextPart

_GAP = re.compile(r"(?<!\S)(?:(?P<number>\d{1,2})(?=[.)]))")
_CLAUSE = re.compile(
    r"(?:[,;]\s+(?:and\s+|but\s+|with\s+|which\s+|however,?\s+)?|\s+(?:but|however|although|and)\s+(?=(?:there|no|the)\b))"
)
_DANGLING = re.compile(
    r"(?:\b(?:to|with|from|of|in|and|or|the|a|an|but|is|are|was|were|than|since|for|by|at|on|as|has|have|been|there|which|that"
    r"|which\s+(?:is|are)|shows?|appears?|appear|demonstrates?|consider|recommend|slightly|mildly|significantly|very|however)\s*[.,;]*$)|^(?:and|or|but|of|to|with|than|since|is|are|was|were|has|have|which|that|by)\b",
    re.IGNORECASE,
)
_BROKEN = re.compile(
    r"\b(?:the|a|an|of|in|to|from|with)\s+(?:is|are|was|were|has|have|and|of|from|or|but)\b|,\s*,"
    r"|\b(?:is|are)\s+(?:is|are|of|in size|and|or|from)\b"
    r"|\b(?:has|have|represent|be)\s+(?:and|or)\b"
    r"|\b(?:consider|recommended?|correlate)\s+(?:if|and|with\s+if)\b"
    r"|\b(?:to|from|than|of)\s+(?:from|than|of|to)\b|\b(\w{2,})\s+\1\b(?<!XXXX)",
    re.IGNORECASE,
)

_PRESENT_WITH = re.compile(r"(?P<what>.*?)\b(?:is|are)\s+present\s+with\s+(?P<rest>.+)", re.IGNORECASE)
_LONGEST = 2000  # characters; a longer sentence is none, and its rewriting would take long
_SUBORDINATE = re.compile(
    r"(?:if|which|when|while|as|because|since|possibly|more|less|though|although|even|than)\b", re.IGNORECASE
)


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


def find_prior_references(text: str) -> list[PriorReference]:
    """Find the references to earlier studies in ``text``, in order; they do not overlap.

    History is none (``prior sternotomy``, ``previous granulomatous disease``), and ``increased markings`` is none
    unless it says since when.
    """
    return [PriorReference(match.start(), match.end(), str(match.lastgroup)) for match in REFERENCE.finditer(text)]


def without_priors(text: str) -> str:
    """Take the references to earlier studies out of a section's text.

    What a sentence says of this study stays: ``Stable cardiomegaly.`` becomes ``Cardiomegaly.``, ``No change in the
    left effusion compared to prior.`` becomes ``Left effusion.`` A clause that says nothing else, or that cannot be
    rewritten
    into a whole one, is left out: ``Heart size is stable.``, ``Interval resolution of the edema.`` Lists are numbered
    anew.

    Returns:
        The text, other sentences unchanged; empty where nothing is left.
    """
    if REFERENCE.search(text) is None:
        return text
    sentences = split_sentences(TextPart(text, 0, len(text)))
    kept: list[tuple[str, str]] = []
    marker, end = "", 0
    for sentence in sentences:
        gap = text[end : sentence.start]
        end = sentence.end
        gap, marker = (gap, "") if _GAP.search(gap) or not marker else (marker, "")
        words = _rewritten(sentence.text)
        if words:
            kept.append((gap, words))
        elif _GAP.search(gap):
            marker = gap
    return _joined(kept)


def _joined(kept: list[tuple[str, str]]) -> str:
    """Sentences behind their gaps, list numbers counted from one."""
    number = 0
    pieces: list[str] = []
    for gap, words in kept:
        found, space = _GAP.search(gap), gap or " "
        if found:
            number = 1 if found["number"] == "1" else number + 1
            space = gap[: found.start("number")] + str(number) + gap[found.end("number") :]
        pieces.append(space + words)
    return "".join(pieces).strip()


def _rewritten(sentence: str) -> str:
    """A sentence without its references; as it is where it has none, empty where nothing is left."""
    if REFERENCE.search(sentence) is None:
        return sentence
    if len(sentence) > _LONGEST:
        return ""
    stop = sentence[-1] if sentence[-1] in ".!?" else ""
    body = " ".join(sentence.rstrip(".!? ").split())
    parts = [(part, _clause(part)) for part in re.split(r"[,;]\s+", body)]
    whole = _clause(body) if all(words for _, words in parts) else ""
    if whole and is_well_formed(whole):
        return _finished(whole, stop)
    clauses = [words for words in map(_clause, _clauses(body)) if words and not _SUBORDINATE.match(words)]
    said = ", ".join([clauses[0], *map(_lowered, clauses[1:])]) if clauses else ""
    return _finished(said, stop) if said and is_well_formed(said) and not is_said_of_nothing(said) else ""


def _clauses(body: str) -> Iterator[str]:
    start = 0
    for match in _CLAUSE.finditer(body):
        yield body[start : match.start()]
        start = match.end()
    yield body[start:]


def _clause(words: str) -> str:
    """Rewrite a clause; empty where it says nothing of this study or a reference stays."""
    if UNAVAILABLE.search(words):
        return ""
    if REFERENCE.search(words) is None:
        return words
    if GONE.search(words):
        return ""
    for pattern, replacement in CLAUSE_RULES:
        words = pattern.sub(replacement, words)
    words = re.sub(r"\(\s*\)", "", words)
    words = re.sub(r"\s+", " ", words)
    words = re.sub(r"\s+([,;.)])", r"\1", words)
    words = re.sub(r"([,;])(?:\s*[,;])+", r"\1", words).strip(" ,;:-")
    shown = _PRESENT_WITH.match(words)
    if shown and is_said_of_nothing(shown["what"]):
        words = shown["rest"]
    if not words or REFERENCE.search(words) or is_said_of_nothing(words):
        return ""
    return words


def is_well_formed(sentence: str) -> bool:
    """Whether a sentence has no loose end: no dangling word, no verb without subject, brackets in pairs."""
    if _DANGLING.search(sentence) or _BROKEN.search(sentence) or "  " in sentence:
        return False
    return sentence.count("(") == sentence.count(")") and any(letter.isalpha() for letter in sentence)


def _lowered(clause: str) -> str:
    return clause[:1].lower() + clause[1:] if clause[1:2].islower() else clause


def _finished(words: str, stop: str) -> str:
    return words[:1].upper() + words[1:] + (stop or "")
