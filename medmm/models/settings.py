"""Settings files of Hugging Face models, without the places that they came from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from medmm.io.atomic import write_text

_PLACES = frozenset({"_name_or_path", "name_or_path", "tokenizer_file", "vocab_file", "merges_file",
                     "special_tokens_map_file", "tokenizer_config_file", "added_tokens_file"})  # fmt: skip
"""Where transformers, of whatever version, notes the folder that a model or tokenizer was loaded from."""


def forget_places(folder: Path) -> None:
    """Take folders of this or another machine, and with them user names, out of the settings below ``folder``.

    A model from the hub may bring such an entry in its own settings, and transformers keeps what it does not know.
    Nothing of it is needed to load the model again.

    Raises:
        ResourceError: The disk is full.
    """
    for path in sorted(folder.rglob("*config.json")):
        said = json.loads(path.read_text(encoding="utf-8"))
        bare = _without_places(said)
        if bare != said:
            write_text(path, json.dumps(bare, indent=2, ensure_ascii=False) + "\n")  # some settings are infinite


def _without_places(said: Any) -> Any:
    """Copy without those entries, at any depth: a model of several parts has settings within settings."""
    if isinstance(said, dict):
        return {key: _without_places(value) for key, value in said.items() if key not in _PLACES}
    return [_without_places(one) for one in said] if isinstance(said, list) else said
