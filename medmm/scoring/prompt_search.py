"""Prompts chosen on validation: templates one by one, then greedily as an ensemble.

Shape legend: N studies, F findings, D channels of the shared space.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from medmm.errors import DataError
from medmm.metrics import bootstrap
from medmm.metrics.classification import ClassificationScores
from medmm.tasks.few_shot import Floats, Told
from medmm.tasks.prompts import Prompts

_MOST = 12  # templates of an ensemble
_LEAST = 1e-4  # AUROC that another template must add
Embed = Callable[[Sequence[str]], Tensor]


@dataclass(frozen=True)
class _Choice:
    """Templates that are tried together, with AUROC of each finding ``[F]`` and its mean."""

    present: tuple[str, ...]
    absent: tuple[str, ...]
    auroc: Floats

    @property
    def macro(self) -> float:
        return float(self.auroc.mean())

    def words(self) -> dict[str, Any]:
        return {"present": list(self.present), "absent": list(self.absent)}


class PromptSearch:
    """Tries prompts on studies whose findings are known; every text is read once.

    Args:
        val: The studies.
        names: The F findings.
        packaged: What the winner is held against.
        candidates: Templates to try; those of ``packaged`` are tried too.
        embed: From texts to unit vectors ``[B, D]``.

    Raises:
        DataError: No finding has both positives and negatives.
    """

    def __init__(self, val: Told, names: Sequence[str], packaged: Prompts, candidates: Prompts, embed: Embed) -> None:
        kept = [place for place in range(len(names)) if len(set(val.truth[val.known[:, place], place])) > 1]
        if not kept:
            expected = "studies with a finding and studies without it"
            raise DataError("prompts cannot be compared", where="split 'val'", got="none", expected=expected)
        self.names = tuple(names[place] for place in kept)
        self.left_out = tuple(name for name in names if name not in self.names)
        self.val = Told(val.vectors, val.truth[:, kept], val.known[:, kept])
        self.packaged, self.calls = packaged, dict(packaged.names) | dict(candidates.names)
        self.present = _distinct(packaged.present, candidates.present)
        self.absent = _distinct(packaged.absent, candidates.absent)
        self._images = torch.from_numpy(val.vectors)
        self._means = {template: self._read(template, embed) for template in _distinct(self.present, self.absent)}

    def run(self) -> tuple[Prompts, dict[str, Any]]:
        """The ensemble that told findings best, and what was found on the way."""
        start = self._try(self.packaged.present, self.packaged.absent)
        pairs = [self._try((one,), (other,)) for one in self.present for other in self.absent]
        single = max(pairs, key=lambda choice: choice.macro)  # the first of equals
        grown, path = self._grow(single)
        best = max(start, grown, key=lambda choice: choice.macro)  # of equals the packaged ones
        findings = {}
        for column, name in enumerate(self.names):
            own = max(pairs, key=lambda choice: float(choice.auroc[column]))
            findings[name] = {
                "packaged": float(start.auroc[column]), "ensemble": float(best.auroc[column]),
                "single": float(own.auroc[column]), "present": own.present[0], "absent": own.absent[0],
            }  # fmt: skip
        found = {
            "packaged": {"auroc_macro": start.macro, **start.words()},
            "single": {"auroc_macro": single.macro, **single.words()},
            "ensemble": {"auroc_macro": best.macro, "path": path, **best.words()},
            "gain": best.macro - start.macro,
            "findings": findings,
            "tried": {"present": len(self.present), "absent": len(self.absent), "pairs": len(pairs)},
            "templates": self._alone(pairs),
        }
        return Prompts(best.present, best.absent, self.calls), found

    def intervals(self, prompts: Prompts, patients: Sequence[str], resamples: int, seed: int) -> list[float] | None:
        """95% interval over patients of the gain of ``prompts`` over the packaged ones, on the same studies."""
        both = [self._scorer(one.present, one.absent) for one in (prompts, self.packaged)]

        def gain(counts: Floats) -> Mapping[str, Floats]:
            own, other = (scorer.scores(counts)["auroc_macro"] for scorer in both)
            return {"gain": own - other}

        drawn = bootstrap.replicates(gain, patients, resamples, seed) if resamples else {}
        return list(bootstrap.percentiles(drawn["gain"])) if drawn else None

    def _grow(self, best: _Choice) -> tuple[_Choice, list[dict[str, Any]]]:
        """Add the template that helps most, as long as one does."""
        path: list[dict[str, Any]] = [{"added": None, "auroc_macro": best.macro}]
        while len(best.present) + len(best.absent) < _MOST:
            more = [
                (one, self._try((*best.present, one), best.absent)) for one in self.present if one not in best.present
            ] + [(one, self._try(best.present, (*best.absent, one))) for one in self.absent if one not in best.absent]
            if not more:
                break
            added, choice = max(more, key=lambda pair: pair[1].macro)
            if choice.macro < best.macro + _LEAST:
                break
            best = choice
            path.append({"added": added, "auroc_macro": best.macro})
        return best, path

    def _alone(self, pairs: Sequence[_Choice]) -> dict[str, float]:
        """Each template's best macro-AUROC in a pair."""
        best: dict[str, float] = {}
        for choice in pairs:
            for template in (*choice.present, *choice.absent):
                best[template] = max(best.get(template, 0.0), choice.macro)
        return dict(sorted(best.items(), key=lambda pair: -pair[1]))

    def _try(self, present: Sequence[str], absent: Sequence[str]) -> _Choice:
        scores = self._scorer(present, absent).scores()
        auroc = np.array([float(scores[f"auroc/{name}"][0]) for name in self.names])
        return _Choice(tuple(present), tuple(absent), auroc)

    def _scorer(self, present: Sequence[str], absent: Sequence[str]) -> ClassificationScores:
        """As :meth:`medmm.tasks.prompts.Prompts.vectors` joins templates; differences of cosines, put into [0, 1]."""
        told, denied = (
            functional.normalize(torch.stack([self._means[one] for one in some]).mean(0), dim=-1)
            for some in (present, absent)
        )
        p = ((self._images @ (told - denied).T).numpy() + 2) / 4
        return ClassificationScores(p, p > 0.5, self.val.truth, self.val.known, self.names, 1)  # noqa: PLR2004

    def _read(self, template: str, embed: Embed) -> Tensor:
        """``[F, D]`` mean vectors of a template over a finding's names."""
        alone = Prompts((template,), (template,), self.calls)
        return torch.stack([embed(alone.texts(name)[1]).double().cpu().mean(0) for name in self.names])


def _distinct(*several: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one for some in several for one in some))
