"""The labeler's vocabulary: phrases of the vocabulary files as a tree of words, and the words' normal forms.

Sentences are matched word by word, so that plurals and misspellings are settled once a word and offsets stay known.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from medmm.reports.vocabulary_file import merged, read_vocabulary

Entry = tuple[str, str]
"""What a phrase stands for: its kind (``finding``, ``ignored``, ``normal``, a cue or a modifier) and a name."""

_GAP = re.compile(r"(~{1,2})(\d+)$")
_PIECE = re.compile(r"\{\w+\}|\S+")
_NO_GAP = frozenset(
    ("not", "no", "without", "but", "except", "however", "which", "although", "though", ";", ":", "and/or", "otherwise")
)
_MOST_WORDS = 200_000  # bounds the memory that unknown words take
_SHORTEST_TYPO = 5
_SHORTEST_SUBSTITUTION = 8


class Match(NamedTuple):
    """A phrase in a sentence: words ``[start, end)``; ``words`` has a bit for each one matched, none for gaps."""

    entry: Entry
    start: int
    end: int
    words: int


class _Node:
    __slots__ = ("children", "entries", "gaps")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.gaps: dict[tuple[int, bool], _Node] = {}
        self.entries: list[Entry] = []


@dataclass(frozen=True)
class FindingWords:
    """What the vocabulary says of one finding besides its phrases.

    Attributes:
        implies: Findings that are stated along with it.
        sized: Whether a length in the sentence is its diameter.
        device: Whether it is a device, not disease.
        core: Whether models are trained on it by default. Findings that are not never change what is read of those that
            are: they neither hide their mentions nor bound their modifiers.
    """

    implies: tuple[str, ...] = ()
    sized: bool = False
    device: bool = False
    core: bool = False


@dataclass(frozen=True)
class Vocabulary:
    """All phrases, ready to match.

    Attributes:
        findings: Every finding that can be labelled.
        normal: For each kind of normal statement, the findings that it rules out.
        digest: First twelve hex digits of the SHA-256 of all that it holds.
        own: What the user's file adds to the packaged vocabulary, None where there is no such file.
    """

    findings: Mapping[str, FindingWords]
    normal: Mapping[str, tuple[str, ...]]
    digest: str
    _root: _Node = field(repr=False)
    _lexicon: Lexicon = field(repr=False)
    own: Mapping[str, Any] | None = field(default=None, repr=False)

    def normalise(self, word: str) -> str:
        """Bring a lower-case word to the form that phrases use: singular, and one letter's misspelling undone."""
        return self._lexicon.normalise(word)

    def match(self, words: list[str]) -> list[Match]:
        """Find all phrases in a sentence's normalised words; long and short ones at the same place are all given."""
        found: list[Match] = []
        children = self._root.children
        for start, word in enumerate(words):
            node = children.get(word)
            if node is not None:
                _walk(node, words, start + 1, 1 << start, found)
        return found


class Lexicon:
    """Words of the vocabulary and what else is read as one of them.

    Args:
        words: All words of the phrases.
        names: Those whose misspellings are undone: words of findings and modifiers, not little words such as ``there``.
    """

    def __init__(self, words: set[str], names: set[str]) -> None:
        self._known: dict[str, str] = {word: word for word in words}
        self._words = frozenset(words)
        self._without_letter: dict[str, str] = {}
        self._without_letter_at: dict[tuple[int, str], str] = {}
        for word in sorted(names):
            if len(word) < _SHORTEST_TYPO or not word.isalpha():
                continue
            for place in range(len(word)):
                shorter = word[:place] + word[place + 1 :]
                self._without_letter.setdefault(shorter, word)
                if len(word) >= _SHORTEST_SUBSTITUTION:
                    self._without_letter_at.setdefault((place, shorter), word)
        self._names = frozenset(name for name in names if len(name) >= _SHORTEST_TYPO and name.isalpha())

    def normalise(self, word: str) -> str:
        """See :meth:`Vocabulary.normalise`."""
        known = self._known.get(word)
        if known is None:
            known = self._singular(word) or self._corrected(word) or word
            if len(self._known) < _MOST_WORDS:
                self._known[word] = known
        return known

    def _singular(self, word: str) -> str | None:
        forms: tuple[str, ...] = (word[:-1],) if word.endswith("s") else ()
        if word.endswith("es"):
            forms = (word[:-1], word[:-2], word[:-3] + "y")
        return next((form for form in forms if form in self._words), None)

    def _corrected(self, word: str) -> str | None:
        if len(word) < _SHORTEST_TYPO - 1 or not word.isalpha():
            return None
        stem = word[:-1] if word.endswith("s") else word
        for form in dict.fromkeys((word, stem)):
            if len(form) >= _SHORTEST_TYPO - 1 and form in self._without_letter:
                return self._without_letter[form]
            for place in range(len(form) - 1):
                swapped = form[:place] + form[place + 1] + form[place] + form[place + 2 :]
                if swapped in self._names:
                    return swapped
            for place in range(len(form)):
                shorter = form[:place] + form[place + 1 :]
                if len(shorter) > _SHORTEST_TYPO and shorter in self._names:
                    return shorter
                if (place, shorter) in self._without_letter_at:
                    return self._without_letter_at[place, shorter]
        return None


@lru_cache(maxsize=8)
def load_vocabulary(path: Path | None = None) -> Vocabulary:
    """The packaged vocabulary, with a user's file merged over it.

    Raises:
        ConfigError: The user's file cannot be read or has problems; all are listed, each with its line.
    """
    base = merged(_packaged("vocabulary.yaml"), _packaged("vocabulary_extended.yaml"))
    if path is None:
        return build_vocabulary(base)
    own = read_vocabulary(path, base)
    return replace(build_vocabulary(merged(base, own)), own=own)


@lru_cache(maxsize=2)
def _packaged(name: str) -> dict[str, Any]:
    """A packaged file; what it holds is checked by the tests, so that loading it costs little."""
    import yaml

    loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # every scalar is a word
    text = resources.files("medmm.reports").joinpath(name).read_text(encoding="utf-8")
    return yaml.load(text, Loader=loader)  # type: ignore[no-any-return]


def core_findings() -> tuple[str, ...]:
    """Findings of ``vocabulary.yaml`` alone: those that models are trained on by default."""
    return tuple(_packaged("vocabulary.yaml")["findings"])


def build_vocabulary(source: Mapping[str, Any]) -> Vocabulary:
    """Build a vocabulary from the mapping that a file such as ``vocabulary.yaml`` holds, every scalar a string."""
    macros: dict[str, list[str]] = source["macros"]
    root = _Node()
    words: set[str] = set()
    names: set[str] = set()
    findings: dict[str, FindingWords] = {}
    normal: dict[str, tuple[str, ...]] = {}
    core = frozenset(core_findings())

    def add(phrases: list[str], entry: Entry, named: bool) -> None:
        for sequence in itertools.chain.from_iterable(_expand(phrase, macros) for phrase in phrases):
            _insert(root, sequence, entry)
            literals = {item for item in sequence if isinstance(item, str)}
            words.update(literals)
            if named:
                names.update(literals)

    for name, entry in source["findings"].items():
        implies = tuple(entry.get("implies", ()))
        sized, device = (entry.get(flag) == "true" for flag in ("sized", "device"))
        findings[name] = FindingWords(implies, sized, device, name in core)
        add(entry.get("phrases", []), ("finding", name), True)
    add(source["ignored"], ("ignored", ""), False)
    for number, entry in enumerate(source["normal"]):
        normal[str(number)] = tuple(entry["findings"])
        add(entry["phrases"], ("normal", str(number)), False)
    for cue, phrases in source["cues"].items():
        add(phrases, (cue, ""), False)
    for modifier, values in source["modifiers"].items():
        for value, phrases in values.items():
            add(phrases, (modifier, value), True)
    digest = hashlib.sha256(json.dumps(source, sort_keys=True).encode()).hexdigest()[:12]
    return Vocabulary(findings, normal, digest, root, Lexicon(words, names))


def _expand(phrase: str, macros: Mapping[str, list[str]]) -> Iterator[tuple[Any, ...]]:
    """Give every sequence of words and gaps ``(limit, commas)`` that a phrase stands for."""
    choices: list[list[tuple[Any, ...]]] = []
    for piece in _PIECE.findall(phrase):
        gap = _GAP.match(piece)
        if gap:
            choices.append([((int(gap[2]), len(gap[1]) == 2),)])
        elif piece.startswith("{"):
            choices.append([sequence for inner in macros[piece[1:-1]] for sequence in _expand(inner, macros)])
        elif piece.endswith("?"):
            choices.append([(), *((word,) for word in piece[:-1].split("|"))])
        else:
            choices.append([(word,) for word in piece.split("|")])
    for chosen in itertools.product(*choices):
        yield tuple(itertools.chain.from_iterable(chosen))


def _insert(root: _Node, sequence: tuple[Any, ...], entry: Entry) -> None:
    node = root
    for item in sequence:
        children: dict[Any, _Node] = node.children if isinstance(item, str) else node.gaps  # type: ignore[assignment]
        node = children.setdefault(item, _Node())
    if entry not in node.entries:
        node.entries.append(entry)


def _walk(node: _Node, words: list[str], place: int, used: int, found: list[Match]) -> None:
    for entry in node.entries:
        found.append(Match(entry, (used & -used).bit_length() - 1, place, used))
    if place >= len(words):
        return
    child = node.children.get(words[place])
    if child is not None:
        _walk(child, words, place + 1, used | 1 << place, found)
    for (limit, commas), after in node.gaps.items():
        if after.children.keys().isdisjoint(words):
            continue
        for here in range(place, min(place + limit + 1, len(words))):
            word = words[here]
            child = after.children.get(word)
            if child is not None:
                _walk(child, words, here + 1, used | 1 << here, found)
                break
            if word in _NO_GAP or (word == "," and not commas):
                break
