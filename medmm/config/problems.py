"""What is wrong with a config, in words: the key, what was expected, what was got, and the nearest right key."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel

from medmm.config.schema import Config

_EXPECTED = {  # kind of a problem, as pydantic names it, to what would have been right
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "text",
    "string_too_short": "text",
    "path_type": "a path",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "keys and values",
    "model_type": "keys and values",
    "model_attributes_type": "keys and values",
    "none_required": "nothing",
    "literal_error": "{expected}",
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than": "less than {lt:g}",
    "less_than_equal": "at most {le:g}",
    "too_short": "at least {min_length} value{s}",
    "too_long": "at most {max_length} value{s}",
}
_FORMS = {  # settings that a pattern checks
    "device": "auto|cpu|cuda[:N]",
    "train.adapt": "full|head|lora|last-N",
    "tune.objective": "val/NAME|settled/NAME",
}
_NEAR = 0.6  # share of letters in common
_MOST_PLACES = 3


def described(problem: Mapping[str, Any]) -> str:
    """Say one of the errors of a pydantic ``ValidationError`` in a sentence without a full stop.

    Args:
        problem: An entry of ``error.errors()`` of a config.
    """
    place = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return _unknown(place, problem["loc"])
    if problem["type"] == "missing":
        return f"{place}: is not given"
    message, got = _message(place, problem), problem.get("input")
    if isinstance(got, (Mapping, BaseModel)) or (isinstance(got, str) and f"'{got}'" in message):
        return f"{place or 'config'}: {message}"
    if problem["type"] in ("too_short", "too_long"):
        return f"{place}: {message}, got {len(got) if got else 'none'}"  # type: ignore[arg-type]
    return f"{place or 'config'}: {message}, got {got!r}"


def nearest(word: str, known: Iterable[str]) -> str:
    """``; did you mean …?`` with the name that is most like ``word``; nothing where none is."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=_NEAR)
    return f"; did you mean '{near[0]}'?" if near else ""


def _message(place: str, problem: Mapping[str, Any]) -> str:
    if problem["type"] == "string_pattern_mismatch":
        return f"expected {_FORMS.get(place, problem['ctx']['pattern'])}"
    expected = _EXPECTED.get(problem["type"])
    if expected is None:
        message = str(problem["msg"]).removeprefix("Value error, ")
        return message[0].lower() + message[1:]
    values = problem.get("ctx", {})
    most = values.get("min_length", values.get("max_length"))
    return "expected " + expected.format(**values, s="" if most == 1 else "s")


def _unknown(place: str, location: tuple[int | str, ...]) -> str:
    """An unknown key, with the nearest name of its section, else with the settings that are called so elsewhere."""
    word, here = str(location[-1]), _fields_at(location[:-1])
    elsewhere: dict[str, list[str]] = {}
    for key in _settings(Config):
        elsewhere.setdefault(key.rpartition(".")[2], []).append(key)
    near = difflib.get_close_matches(word, [*here, *elsewhere], n=1, cutoff=_NEAR)
    names = near if not near or near[0] in here else elsewhere[near[0]][:_MOST_PLACES]
    hint = f"; did you mean {' or '.join(map(repr, names))}?" if names else ""
    return f"unknown key '{place}'{hint}; known here: {', '.join(here)}"


def _fields_at(location: Iterable[int | str]) -> list[str]:
    model: Any = Config
    for part in location:
        field = model.model_fields.get(str(part)) if isinstance(model, type) and issubclass(model, BaseModel) else None
        if field is None:
            return []
        options = (field.annotation, *get_args(field.annotation))
        model = next((o for o in options if isinstance(o, type) and issubclass(o, BaseModel)), None)
    return list(model.model_fields) if model is not None else []


def _settings(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Dotted keys of all settings."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _settings(field.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"
