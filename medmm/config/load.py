"""From YAML files and ``key.path=value`` words to one checked :class:`~medmm.config.schema.Config`.

Precedence: defaults of the schema < packaged YAML of the stage or task < ``--config`` < the command line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from medmm.config.problems import described, nearest
from medmm.config.schema import Config
from medmm.errors import ConfigError

_PACKAGED = Path(__file__).parent.parent / "_configs"
_REPOSITORY = Path(__file__).parents[2] / "configs"
_TEXT_KEYS = ("data.where.", "data.columns.")  # names and cell values: `no` and `3` stay words


class _Loader(yaml.SafeLoader):
    """YAML in which ``1e-4`` is a number, as in YAML 1.2, and not a string; it notes keys that are given twice.

    Attributes:
        twice: Such keys with the lines, from 1, where they first and again stand. YAML itself takes the last.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.twice: list[tuple[str, int, int]] = []

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Compose a mapping; here its keys still stand as they were written, without those that ``<<`` brings."""
        node: yaml.MappingNode = super().compose_mapping_node(anchor)  # type: ignore[no-untyped-call]
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                line = key.start_mark.line + 1
                if key.value in lines:
                    self.twice.append((key.value, lines[key.value], line))
                lines[key.value] = line
        return node


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)$|^[-+]?(\d+\.\d*|\.\d+)$|^[-+]?\.(inf|Inf|INF)$|^\.(nan|NaN|NAN)$"
    ),
    list("-+0123456789."),
)


def config_file(name: str) -> Path | None:
    """Find a config by explicit path, else among the packaged copies, else in the repository's ``configs/``.

    Args:
        name: A path, or a name such as ``finetune/report_gen.yaml``.

    Returns:
        The file, or None where there is none.
    """
    candidates = (Path(name), _PACKAGED / name, _REPOSITORY / name.removeprefix("configs/"))
    return next((path for path in candidates if path.is_file()), None)


def load(
    defaults: str | None,
    file: str | None = None,
    overrides: Sequence[Mapping[str, Any] | str] = (),
    *,
    base: Mapping[str, Any] | None = None,
) -> Config:
    """Merge and check a config.

    Args:
        defaults: Name of the packaged YAML of the stage or task, None for the schema's defaults alone.
        file: The user's ``--config``.
        overrides: In rising precedence; nested mappings, or ``key.path=value`` words with a YAML value.
        base: Settings between the packaged YAML and ``file``, such as those of a run that is evaluated.

    Raises:
        ConfigError: Every problem at once: files that are missing or no YAML, unknown keys with the nearest right one,
            values out of range.
    """
    problems: list[str] = []
    merged = _read(defaults, problems) if defaults and config_file(defaults) else {}
    merged = _merge(merged, base or {})
    if file is not None:
        merged = _merge(merged, _read(file, problems))
    for override in overrides:
        tree = _parse_word(override, problems) if isinstance(override, str) else dict(override)
        merged = _merge(merged, tree)
    try:
        config = Config.model_validate(merged)
    except ValidationError as error:
        problems += [described(problem) for problem in error.errors()]
    if problems:
        raise ConfigError(problems, where=file)
    return config


def to_yaml(config: Config) -> str:
    """Write the whole config as YAML, every key spelt out, in the schema's order."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _read(name: str, problems: list[str]) -> dict[str, Any]:
    path = config_file(name)
    if path is None:
        known = sorted(_known_files())
        problems.append(f"no config file '{name}'{nearest(name, known)}; packaged are {', '.join(known) or 'none'}")
        return {}
    try:
        tree, twice = _parsed(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problems.append(f"{path.name} is no YAML{place}: {getattr(error, 'problem', None) or 'it is not UTF-8 text'}")
        return {}
    for key, first, again in sorted(twice, key=lambda one: one[2]):
        problems.append(f"{path.name} gives '{key}' twice, in lines {first} and {again}; keep one")
    tree = {} if tree is None else tree
    if not isinstance(tree, dict):
        problems.append(f"{path.name} must hold keys and values, got {type(tree).__name__}")
        return {}
    return tree


def _known_files() -> set[str]:
    return {
        str(path.relative_to(root))
        for root in (_PACKAGED, _REPOSITORY)
        if root.is_dir()
        for path in root.rglob("*.yaml")
        if path.parent.name != "prompts"  # words that findings are asked with, and no settings
    }


def _parse_word(word: str, problems: list[str]) -> dict[str, Any]:
    key, separator, value = word.partition("=")
    if not separator or not all(key.split(".")):
        problems.append(f"'{word}' is no override; write key.path=value")
        return {}
    tree: Any = value
    if not key.startswith(_TEXT_KEYS):
        try:
            tree, twice = _parsed(value)
        except yaml.YAMLError:
            twice = []  # a word as any other
        problems += [f"'{word}' gives '{again}' twice; keep one" for again, _, _ in twice]
    for part in reversed(key.split(".")):
        tree = {part: tree}
    return tree  # type: ignore[no-any-return]


def _parsed(text: str) -> tuple[Any, list[tuple[str, int, int]]]:
    """What a YAML text holds, and which keys it gives twice."""
    loader = _Loader(text)
    try:
        return loader.get_single_data(), loader.twice
    finally:
        loader.dispose()  # type: ignore[no-untyped-call]


def _merge(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(low)
    for key, value in high.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged
