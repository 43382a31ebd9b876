"""Findings asked for in words: templates of presence and absence, and their vectors.

Shape legend: F findings, D channels of the shared space.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
import yaml
from torch import Tensor
from torch.nn import functional

from medmm.config.load import config_file
from medmm.errors import ConfigError
from medmm.io.atomic import write_text
from medmm.models.tokenizer import ReportTokenizer

_PACKAGED = "prompts/radiology.yaml"
_SLOT = "{finding}"
_WORD = re.compile(r"[^\W\d_]{2,}")
_SPELT = 2.0  # characters a token and fewer: a word that training did not know


@dataclass(frozen=True)
class Prompts:
    """Templates with a slot for the finding's name.

    Attributes:
        present: What says that it is there.
        absent: What says that it is not.
        names: Finding to the words that stand for it; others are called by their name, without underscores.
    """

    present: tuple[str, ...]
    absent: tuple[str, ...]
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def texts(self, finding: str) -> tuple[list[str], list[str]]:
        """Sentences that deny and that state a finding."""
        names = self.names.get(finding) or (finding.replace("_", " "),)
        absent, present = (
            [_sentence(template, name) for template in templates for name in names]
            for templates in (self.absent, self.present)
        )
        return absent, present

    def vectors(self, findings: Sequence[str], embed: Callable[[Sequence[str]], Tensor]) -> Tensor:
        """``[F, 2, D]`` unit vectors: the mean of what denies a finding, and of what states it."""
        if not findings:
            return torch.zeros(0, 2, 1)
        rows = []
        for finding in findings:
            means = [embed(texts).mean(0) for texts in self.texts(finding)]
            rows.append(functional.normalize(torch.stack(means), dim=-1))
        return torch.stack(rows)

    def save(self, path: Path) -> None:
        """Write them as YAML."""
        said = {"present": list(self.present), "absent": list(self.absent)}
        names = {name: list(words) for name, words in self.names.items()}
        write_text(path, yaml.safe_dump(said | {"names": names}, sort_keys=False, allow_unicode=True))


def load_prompts(path: Path | None) -> Prompts:
    """Read prompts from YAML; the packaged ones if ``path`` is None.

    Raises:
        ConfigError: It cannot be read, a list is missing or empty, or a template lacks ``{finding}``.
    """
    path = path or config_file(_PACKAGED)
    try:
        assert path is not None
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
        present, absent = _listed(said["present"]), _listed(said["absent"])
        names = {str(name): _listed(words) for name, words in dict(said.get("names") or {}).items()}
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, AttributeError, ValueError) as error:
        expected = "a YAML file with lists 'present' and 'absent', and 'names' with a list for each finding"
        raise ConfigError([f"prompts cannot be read; expected {expected}"], where="prompts.file") from error
    lacking = [one for one in (*present, *absent) if one.count(_SLOT) != 1]
    if lacking or not present or not absent:
        got = f"'{lacking[0]}'" if lacking else "an empty list"
        expected = f"templates with one {_SLOT} under 'present' and under 'absent'"
        raise ConfigError([f"a prompt has no place for the finding; got {got}; expected {expected}"],
                          where="prompts.file")  # fmt: skip
    return Prompts(present, absent, names)


def _listed(words: object) -> tuple[str, ...]:
    if not isinstance(words, list):  # a text would be taken letter by letter
        raise TypeError
    return tuple(map(str, words))


def unknown_words(text: str, tokenizer: ReportTokenizer) -> list[str]:
    """Words that are spelt in pieces of two letters or fewer: the texts of training had none like them."""
    found = []
    for word in dict.fromkeys(_WORD.findall(text)):
        pieces = min(len(tokenizer.inner.encode(form, add_special_tokens=False)) for form in (word, f" {word}"))
        unknown = tokenizer.inner.unk_token_id in tokenizer.inner.encode(word, add_special_tokens=False)
        if (unknown and tokenizer.inner.unk_token_id is not None) or len(word) / pieces < _SPELT:
            found.append(word)
    return found


def _sentence(template: str, name: str) -> str:
    text = template.replace(_SLOT, name)
    return text[:1].upper() + text[1:]
