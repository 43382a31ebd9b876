"""Vocabulary files: read with their lines, checked as a whole, and merged over one another.

Every scalar is read as the word that it is (``no`` and ``on`` are words, not booleans); anchors are refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from medmm.errors import ConfigError
from medmm.types import Change, Laterality, Severity, Zone

CUES = (
    "negation_before", "negation_after", "negation_end", "hedge_before", "hedge_after", "hedge_end", "neutral", "break",
    "past", "affirmed", "persists",
)  # fmt: skip
NO_CHANGE = "none"
"""Value of the modifier ``change`` for words that look like one and are none."""
_MODIFIERS = {
    "laterality": {one.value for one in Laterality},
    "zone": {one.value for one in Zone},
    "severity": {one.value for one in Severity},
    "change": {one.value for one in Change} | {NO_CHANGE},
}
_PARTS = ("version", "macros", "findings", "ignored", "normal", "cues", "modifiers")
_FLAGS = ("sized", "device", "replace")
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?|\d+(?:\.\d+)?|[srw]/[op]|[,;:]")
_GAP = re.compile(r"~{1,2}(\d+)")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_MOST_BYTES, _MOST_FORMS, _WIDEST_GAP = 1_000_000, 20_000, 12

Source = dict[str, Any]
Place = tuple[str | int, ...]


def read_vocabulary(path: Path | str, base: Mapping[str, Any] | None = None) -> Source:
    """Read and check a vocabulary file.

    Args:
        path: A YAML file in the form of the packaged ``vocabulary.yaml``.
        base: What it will be merged over: its macros and findings may be used.

    Raises:
        ConfigError: The file cannot be read, or has problems; all of them are listed, each with its line.
    """
    where = "labeler.vocabulary"
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError([f"the vocabulary cannot be read: {error.strerror}"], where=where) from None
    if len(data) > _MOST_BYTES:
        raise ConfigError([f"the vocabulary has {len(data)} bytes; at most {_MOST_BYTES} are read"], where=where)
    return parse_vocabulary(data, base, where)


def parse_vocabulary(data: bytes | str, base: Mapping[str, Any] | None = None, where: str = "vocabulary") -> Source:
    """See :func:`read_vocabulary`; ``where`` names the file in errors."""
    import yaml

    try:
        node = yaml.compose(data, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark else ""
        what = getattr(error, "problem", None) or "no UTF-8, or nested too deep"
        raise ConfigError([f"{line}no valid YAML: {what}"], where=where) from None
    lines: dict[Place, int] = {}
    problems: list[str] = []
    source = _plain(node, (), lines, set(), problems) if node is not None else {}
    if not problems:
        problems = [f"line {lines.get(place, 1)}: {what}" for place, what in _Check(source, base or {}).problems()]
    if problems:
        raise ConfigError(problems, where=where)
    return source


def vocabulary_text(source: Mapping[str, Any]) -> str:
    """The YAML that :func:`parse_vocabulary` reads ``source`` from; comments are not in it."""
    import yaml

    text: str = yaml.safe_dump(dict(source), allow_unicode=True, sort_keys=False)
    return text


def merged(base: Mapping[str, Any], more: Mapping[str, Any]) -> Source:
    """``more`` over ``base``: phrases are added, flags replaced; ``replace: true`` drops a finding's old phrases."""
    result: Source = {"version": "1"}
    for part in ("macros", "cues"):
        result[part] = _joined(base.get(part, {}), more.get(part, {}))
    result["modifiers"] = {
        kind: _joined(base.get("modifiers", {}).get(kind, {}), more.get("modifiers", {}).get(kind, {}))
        for kind in _MODIFIERS
    }
    for part in ("ignored", "normal"):
        result[part] = [*base.get(part, ()), *more.get(part, ())]
    findings = dict(base.get("findings", {}))
    for name, entry in more.get("findings", {}).items():
        old, new = findings.get(name) or {}, dict(entry or {})
        kept = [] if new.pop("replace", None) == "true" else old.get("phrases", [])
        implied = dict.fromkeys([*old.get("implies", ()), *new.get("implies", ())])
        findings[name] = {**old, **new, "phrases": [*kept, *new.get("phrases", ())], "implies": list(implied)}
    return {**result, "findings": findings}


def _joined(base: Mapping[str, list[str]], more: Mapping[str, list[str]]) -> dict[str, list[str]]:
    return {name: [*base.get(name, ()), *more.get(name, ())] for name in dict.fromkeys([*base, *more])}


def _plain(node: Any, place: Place, lines: dict[Place, int], seen: set[int], problems: list[str]) -> Any:
    """Mappings, lists and strings of a YAML node; ``lines`` gets the line of each place."""
    line = node.start_mark.line + 1
    lines[place] = line
    if id(node) in seen:
        problems.append(f"line {line}: anchors are not read; write the phrases out")
        return {}
    seen.add(id(node))
    if node.id == "scalar":
        return node.value
    if node.id == "sequence":
        return [_plain(one, (*place, number), lines, seen, problems) for number, one in enumerate(node.value)]
    found: dict[str, Any] = {}
    for key, value in node.value:
        at = key.start_mark.line + 1
        if key.id != "scalar":
            problems.append(f"line {at}: a key must be a word")
        elif key.value in found:
            problems.append(f"line {at}: '{key.value}' stands twice")
        else:
            found[key.value] = _plain(value, (*place, key.value), lines, seen, problems)
            lines[*place, key.value] = at if value.id == "mapping" else lines[*place, key.value]
    return found


def _mapping(source: Any, part: str) -> Mapping[str, Any]:
    found = source.get(part) if isinstance(source, dict) else None
    return found if isinstance(found, dict) else {}


class _Check:
    """Looks for what is wrong in a source that is to be merged over ``base``."""

    def __init__(self, source: Any, base: Mapping[str, Any]) -> None:
        self._source = source
        macros = {name: one for name, one in _mapping(source, "macros").items() if isinstance(one, list)}
        self._macros = _joined(base.get("macros", {}), macros)
        self._findings = {*base.get("findings", {}), *_mapping(source, "findings")}

    def problems(self) -> Iterator[tuple[Place, str]]:
        source = self._source
        if not isinstance(source, dict):
            yield (), f"a vocabulary holds {', '.join(_PARTS)}"
            return
        for key in source:
            if key not in _PARTS:
                yield (key,), f"unknown key '{key}'; expected {', '.join(_PARTS)}"
        if source.get("version") != "1":
            yield ("version",), "expected 'version: 1'"
        for part in ("macros", "findings", "cues", "modifiers"):
            if not isinstance(source.get(part, {}), dict):
                yield (part,), f"'{part}' must be a mapping"
            else:
                yield from getattr(self, f"_{part}_problems")(source.get(part, {}))
        yield from self._phrases(source.get("ignored", []), ("ignored",))
        yield from self._normal_problems(source.get("normal", []))

    def _macros_problems(self, macros: Mapping[str, Any]) -> Iterator[tuple[Place, str]]:
        for name, phrases in macros.items():
            if not _NAME.fullmatch(name):
                yield ("macros", name), f"'{name}' is no name: lower-case letters, digits and _"
            yield from self._phrases(phrases, ("macros", name))

    def _findings_problems(self, findings: Mapping[str, Any]) -> Iterator[tuple[Place, str]]:
        for name, entry in findings.items():
            place: Place = ("findings", name)
            if not _NAME.fullmatch(name):
                yield place, f"'{name}' is no name: lower-case letters, digits and _"
            if not isinstance(entry, dict):
                yield place, f"'{name}' must be a mapping with phrases"
                continue
            for key, value in entry.items():
                at = (*place, key)
                if key == "phrases":
                    yield from self._phrases(value, at)
                elif key == "implies":
                    yield from self._names(value, at)
                elif key not in _FLAGS:
                    yield at, f"unknown key '{key}'; expected phrases, implies, {', '.join(_FLAGS)}"
                elif value not in ("true", "false"):
                    yield at, f"'{key}' must be true or false"

    def _normal_problems(self, normal: Any) -> Iterator[tuple[Place, str]]:
        for number, entry in enumerate(normal if isinstance(normal, list) else [None]):
            place = ("normal", number)
            if not isinstance(entry, dict) or set(entry) != {"phrases", "findings"}:
                yield place, "each of 'normal' holds phrases and the findings that they rule out"
                continue
            yield from self._phrases(entry["phrases"], (*place, "phrases"))
            yield from self._names(entry["findings"], (*place, "findings"))

    def _cues_problems(self, cues: Mapping[str, Any]) -> Iterator[tuple[Place, str]]:
        for name, phrases in cues.items():
            if name not in CUES:
                yield ("cues", name), f"unknown cue '{name}'; expected {', '.join(CUES)}"
            yield from self._phrases(phrases, ("cues", name))

    def _modifiers_problems(self, modifiers: Mapping[str, Any]) -> Iterator[tuple[Place, str]]:
        for kind, values in modifiers.items():
            if kind not in _MODIFIERS or not isinstance(values, dict):
                yield ("modifiers", kind), f"'{kind}' is no mapping of {', '.join(_MODIFIERS)}"
                continue
            for value, phrases in values.items():
                if value not in _MODIFIERS[kind]:
                    expected = ", ".join(sorted(_MODIFIERS[kind]))
                    yield ("modifiers", kind, value), f"unknown {kind} '{value}'; expected {expected}"
                yield from self._phrases(phrases, ("modifiers", kind, value))

    def _names(self, names: Any, place: Place) -> Iterator[tuple[Place, str]]:
        for number, name in enumerate(names if isinstance(names, list) else [names]):
            if not isinstance(name, str) or name not in self._findings:
                yield (*place, number), f"no finding '{name}'"

    def _phrases(self, phrases: Any, place: Place) -> Iterator[tuple[Place, str]]:
        if not isinstance(phrases, list):
            yield place, f"'{place[-1]}' must be a list of phrases"
            return
        for number, phrase in enumerate(phrases):
            what = self._phrase(phrase) if isinstance(phrase, str) else "a phrase must be words"
            if what:
                yield (*place, number), what

    def _phrase(self, phrase: str) -> str | None:
        """What is wrong with a phrase, None where nothing is."""
        pieces = phrase.split()
        is_gap = [piece.startswith("~") for piece in pieces]
        if not pieces or is_gap[0] or is_gap[-1]:
            return f"'{phrase}': a phrase begins and ends with a word"
        if any(one and other for one, other in zip(is_gap, is_gap[1:], strict=False)):
            return f"'{phrase}': two gaps follow each other"
        if all(piece.endswith("?") for piece in pieces):
            return f"'{phrase}': every word of it may be left out"
        for piece in pieces:
            if what := self._piece(piece):
                return f"'{phrase}': {what}"
        forms = self._forms(phrase, ())
        if math.isinf(forms):
            return f"'{phrase}': a macro holds itself"
        return f"'{phrase}' stands for {forms} phrases; at most {_MOST_FORMS}" if forms > _MOST_FORMS else None

    def _piece(self, piece: str) -> str | None:
        if piece.startswith("~"):
            gap = _GAP.fullmatch(piece)
            return None if gap and 1 <= int(gap[1]) <= _WIDEST_GAP else f"'{piece}' is no gap: ~1 to ~{_WIDEST_GAP}"
        if piece.startswith("{"):
            return None if piece[1:-1] in self._macros and piece.endswith("}") else f"no macro {piece}"
        words = piece.removesuffix("?").split("|")
        bad = next((word for word in words if not _WORD.fullmatch(word)), None)
        return None if bad is None else f"'{bad}' is no word: lower-case letters, no hyphen"

    def _forms(self, phrase: str, inside: tuple[str, ...]) -> float:
        """Number of word sequences that a phrase stands for; infinite where a macro holds itself."""
        forms: float = 1
        for piece in phrase.split():
            name = piece[1:-1]
            if not piece.startswith("{"):
                forms *= 1 if piece.startswith("~") else piece.count("|") + 1 + piece.endswith("?")
            elif name in inside:
                return math.inf
            else:
                inner = [one for one in self._macros.get(name, ()) if isinstance(one, str)]
                forms *= sum(self._forms(one, (*inside, name)) for one in inner)
        return forms
