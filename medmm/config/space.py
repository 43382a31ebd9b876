"""A search's space against the schema, and from drawn values to the config of a trial."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from medmm import registry
from medmm.config.schema import Config
from medmm.config.tune import Range, Scalar, TuneConfig
from medmm.errors import ConfigError

# The same in all trials: what they are compared on, and what changes no weight.
_SHARED = {
    "version", "task", "seed", "device", "data", "cache", "reliability", "generate", "labeler", "evaluate", "score",
    "probe", "tracking", "tune",
}  # fmt: skip


def check(config: Config) -> None:
    """Check that ``tune.space`` names settings, and values that they may have.

    Raises:
        ConfigError: Every problem at once: no space, unknown keys with the nearest right one, values out of range.
    """
    if problems := list(_problems(config)):
        raise ConfigError(problems, where="tune.space")


def with_values(config: Config, values: Mapping[str, Scalar]) -> Config:
    """Put values into a config, which is then one of a run, without a search.

    Args:
        config: The search's config.
        values: Dotted key to value.

    Raises:
        ValidationError: The values do not go together.
    """
    tree = config.model_dump(exclude={"tune"})
    for key, value in values.items():
        *sections, name = key.split(".")
        place: dict[str, Any] = tree
        for section in sections:
            place = place[section]
        place[name] = value
    return Config.model_validate(tree)


def own_values(config: Config) -> dict[str, Scalar] | None:
    """What the config itself has for the settings that are searched; None where the search may not draw that."""
    own: dict[str, Scalar] = {}
    for key, choice in config.tune.space.items():
        value: Any = config
        for part in key.split("."):
            value = getattr(value, part)
        if not (choice.holds(value) if isinstance(choice, Range) else value in choice):
            return None
        own[key] = value
    return own


def shown(value: Scalar) -> Scalar:
    """A value as people and MLflow may see it: of the path of a run or a language model the last part."""
    return PurePosixPath(value.replace("\\", "/")).name if isinstance(value, str) else value


def accepts(config: Config, key: str, value: Scalar) -> bool:
    """Whether a setting may have a value, by itself."""
    return not _refused(config, key, value)


def takes_whole_numbers(key: str) -> bool:
    """Whether a setting takes whole numbers only."""
    return _numbers(dict(_settings(Config))[key]) == {int}


def _problems(config: Config) -> Iterator[str]:
    known = dict(_settings(Config))
    if not config.tune.space:
        yield "nothing is searched; say what is, as in tune.space.train.lr='{low: 1e-4, high: 1e-2, log: true}'"
    for key, choice in config.tune.space.items():
        place = _misplaced(key, known, config.task)
        if place is not None:
            yield place
        elif isinstance(choice, Range) and (kind := _no_range(choice, _numbers(known[key]))):
            yield f"{key} {kind}"
        else:
            values = (choice.low, choice.high) if isinstance(choice, Range) else choice
            yield from (problem for value in values for problem in _refused(config, key, value))


def _misplaced(key: str, known: Mapping[str, Any], task: str) -> str | None:
    """Why a key is none that can be searched."""
    first = key.partition(".")[0]
    below = [name for name in known if name.startswith(f"{key}.")]
    searchable = [name for name in known if name.partition(".")[0] not in _SHARED]
    if first in _SHARED and (key in known or below):
        return f"{key} is the same in all trials"
    if below:
        return f"{key} is a section; name one of its settings: {', '.join(below)}"
    if key not in known:
        near = difflib.get_close_matches(key, searchable, n=1, cutoff=0.5)
        return f"unknown key '{key}'" + (f"; did you mean '{near[0]}'?" if near else "")
    if first in registry.TASKS and first != task:
        return f"{key} is a setting of --task {first}, and this is {task}"
    return None


def _no_range(choice: Range, numbers: set[type]) -> str | None:
    """Why a setting takes no such range."""
    if not numbers:
        return "is no number; give a list of values"
    given = (choice.low, choice.high, choice.step)
    if numbers == {int} and any(isinstance(one, float) and not one.is_integer() for one in given):
        return f"takes whole numbers, got {choice.low} to {choice.high}"
    return None


def _refused(config: Config, key: str, value: Scalar) -> list[str]:
    """What the schema has against a value by itself; whether values go together a trial finds out."""
    try:
        with_values(config, {key: value})
    except ValidationError as error:
        own = [one for one in error.errors() if ".".join(map(str, one["loc"])).startswith(key)]
        return [f"{key}: {one['msg'][0].lower() + one['msg'][1:]}, got {value!r}" for one in own[:1]]
    return []


def _settings(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and annotation of every setting of the schema."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel) and kind is not TuneConfig:
            yield from _settings(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", kind


def _numbers(annotation: Any) -> set[type]:
    """Which kinds of numbers a setting takes."""
    return {kind for kind in (annotation, *get_args(annotation)) if kind in (int, float)}
