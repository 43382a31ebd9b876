"""Synonyms from WordNet's own database files, where the machine has them.

Read are ``index.{noun,verb,adj,adv}`` and ``{noun,verb,adj,adv}.exc`` (WordNet's manual pages wndb(5) and morphy(7)).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from medmm.errors import DataError

_PARTS = ("noun", "verb", "adj", "adv")
_ENDINGS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "noun": (
        ("s", ""), ("ses", "s"), ("xes", "x"), ("zes", "z"), ("ches", "ch"), ("shes", "sh"), ("men", "man"),
        ("ies", "y"),
    ),
    "verb": (("s", ""), ("ies", "y"), ("es", "e"), ("es", ""), ("ed", "e"), ("ed", ""), ("ing", "e"), ("ing", "")),
    "adj": (("er", ""), ("est", ""), ("er", "e"), ("est", "e")),
    "adv": (),
}  # fmt: skip
"""Rules of detachment, morphy(7)."""
_PLACES = ("/usr/share/wordnet", "/usr/local/share/wordnet", "/usr/share/nltk_data/corpora/wordnet")


@dataclass(frozen=True)
class WordNet:
    """Words and the sets of synonyms that they stand in.

    Attributes:
        entries: Part of speech to base form to its sets.
        exceptions: Part of speech to inflected form to its base forms.
    """

    entries: Mapping[str, Mapping[str, frozenset[str]]]
    exceptions: Mapping[str, Mapping[str, tuple[str, ...]]]

    def synsets(self, word: str) -> frozenset[str]:
        """Sets of synonyms of a lower-case word, whatever its part of speech and inflection; none if unknown."""
        return _synsets(self, word)

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other


def find_wordnet(folder: Path | None = None) -> WordNet | None:
    """Read WordNet from ``folder``, or else from where it is usually installed.

    Looked at are the environment's ``WNSEARCHDIR`` and ``WNHOME/dict``, Debian's ``wordnet-base``, and NLTK's data.

    Returns:
        None when there is none and no folder was given.

    Raises:
        DataError: ``folder`` holds no WordNet.
    """
    places = [folder] if folder else [Path(place) for place in _usual_places()]
    for place in places:
        if all((place / f"index.{part}").is_file() for part in _PARTS):
            return read_wordnet(place)
    if folder:
        raise DataError("no WordNet in that folder", where="WordNet", expected="files index.noun, index.verb, …")
    return None


@lru_cache(maxsize=2)
def read_wordnet(folder: Path) -> WordNet:
    """Read the database files of one folder."""
    return WordNet(
        {part: _index(folder / f"index.{part}", part) for part in _PARTS},
        {part: _exceptions(folder / f"{part}.exc") for part in _PARTS},
    )


def _usual_places() -> list[str]:
    places = [os.environ.get("WNSEARCHDIR", "")]
    if os.environ.get("WNHOME"):
        places.append(f"{os.environ['WNHOME']}/dict")
    places += [f"{place}/corpora/wordnet" for place in os.environ.get("NLTK_DATA", "").split(os.pathsep) if place]
    return [place for place in (*places, *_PLACES, str(Path.home() / "nltk_data/corpora/wordnet")) if place]


def _index(file: Path, part: str) -> dict[str, frozenset[str]]:
    """Lines ``lemma pos synsets pointers [symbol…] senses tagged offset…``; the licence's lines start with a space."""
    entries: dict[str, frozenset[str]] = {}
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            if line.startswith(" "):
                continue
            fields = line.split()
            entries[fields[0]] = frozenset(f"{part}{offset}" for offset in fields[6 + int(fields[3]) :])
    return entries


def _exceptions(file: Path) -> dict[str, tuple[str, ...]]:
    if not file.is_file():
        return {}
    with file.open(encoding="utf-8") as lines:
        return {fields[0]: tuple(fields[1:]) for fields in map(str.split, lines) if len(fields) > 1}


@lru_cache(maxsize=65_536)
def _synsets(wordnet: WordNet, word: str) -> frozenset[str]:
    found: set[str] = set()
    for part in _PARTS:
        entries = wordnet.entries[part]
        forms = [word, *wordnet.exceptions[part].get(word, ())]
        if part != "noun" or (len(word) > 2 and not word.endswith("ss")):  # as morphy: "is" is no plural of "i"
            forms += [word[: -len(end)] + base for end, base in _ENDINGS[part] if word.endswith(end) and word != end]
        for form in forms:
            found |= entries.get(form, frozenset())
    return frozenset(found)
