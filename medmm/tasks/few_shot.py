"""What few labelled studies teach on top of a pretrained run whose towers stay as they are.

Shape legend: N studies, F findings, D channels of the shared space.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from medmm.config.probing import ProbeConfig
from medmm.metrics.classification import ClassificationScores
from medmm.models.prompt_contexts import PromptContexts

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Tell = Callable[[Floats], Floats]
"""From vectors ``[N, D]`` to logits ``[N, F]``."""
_DECAY = 0.01


@dataclass(frozen=True)
class Told:
    """Studies of which findings are known.

    Attributes:
        vectors: ``[N, D]`` of length 1.
        truth: ``[N, F]`` 1 present, 0 absent.
        known: ``[N, F]`` whether the truth is known; of few shots: whether the study teaches the finding.
    """

    vectors: Floats
    truth: Floats
    known: Bools


def draw(truth: Floats, known: Bools, ids: Sequence[str], names: Sequence[str], shots: int, seed: int) -> Bools:
    """Which studies teach which finding: so many that have it and as many that do not.

    Those with the lowest hash of seed, finding and study id are taken, so fewer shots are part of more, and a study
    more or less changes no other choice.

    Args:
        truth: ``[N, F]``.
        known: ``[N, F]``.
        ids: N study ids.
        names: F findings.
        shots: Studies of each kind.
        seed: Seed of the draw.

    Returns:
        ``[N, F]``; a column is all False where the finding has too few positives or negatives.
    """
    drawn = np.zeros(truth.shape, bool)
    for column, name in enumerate(names):
        order = np.argsort([hashlib.sha256(f"{seed} {name} {one}".encode()).hexdigest() for one in ids], kind="stable")
        order = order[known[order, column]]
        present = truth[order, column] > 0
        both = [order[kind][:shots] for kind in (present, ~present)]
        if all(len(one) == shots for one in both):
            drawn[np.concatenate(both), column] = True
    return drawn


def by_prompts(asking: Floats, scale: float) -> Tell:
    """Zero-shot: presence against absence, by the vectors ``[F, 2, D]`` of their prompts."""
    return lambda vectors: scale * vectors @ (asking[:, 1] - asking[:, 0]).T


def linear_probe(shots: Told, strength: float) -> Tell:
    """A logistic regression a finding (scikit-learn), on vectors that are centred and scaled by those of all shots."""
    from sklearn.linear_model import LogisticRegression

    centre, spread = shots.vectors.mean(0), shots.vectors.std(0) + 1e-8
    scaled = (shots.vectors - centre) / spread
    weights, biases = [], []
    for column in range(shots.truth.shape[1]):
        rows = shots.known[:, column]
        fitted = LogisticRegression(C=strength, max_iter=1000).fit(scaled[rows], shots.truth[rows, column] > 0)
        weights.append(fitted.coef_[0])
        biases.append(fitted.intercept_[0])
    return lambda vectors: (vectors - centre) / spread @ np.stack(weights).T + np.array(biases)


def adapter(shots: Told, asking: Floats, scale: float, blend: float, probe: ProbeConfig, seed: int) -> Tell:
    """A residual network on the image vector, one for all findings (Gao et al. 2021, CLIP-Adapter).

    It begins as zero-shot: its last layer begins at 0.

    Args:
        shots: What is learned from.
        asking: ``[F, 2, D]`` vectors of the prompts.
        scale: Factor of cosines.
        blend: Share of the adapted vector.
        probe: Steps and learning rate.
        seed: Seed of the first layer.
    """
    width = shots.vectors.shape[1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = nn.Sequential(nn.Linear(width, max(8, width // 4)), nn.ReLU(), nn.Linear(max(8, width // 4), width))
    last = layers[2]
    nn.init.zeros_(last.weight)  # type: ignore[arg-type]
    nn.init.zeros_(last.bias)  # type: ignore[arg-type]
    direction = torch.from_numpy(asking[:, 1] - asking[:, 0]).float()

    def tell(vectors: Tensor) -> Tensor:
        mixed = (1 - blend) * vectors + blend * layers(vectors)
        return scale * functional.normalize(mixed, dim=-1) @ direction.T

    learn(layers, lambda seen: tell(seen.cpu()), shots, probe, "cpu")
    return _frozen(tell, "cpu")


def learned_prompts(shots: Told, contexts: PromptContexts, scale: float, probe: ProbeConfig) -> Tell:
    """Learn the contexts in front of the findings' names; as :func:`by_prompts` with what they then say."""
    device = contexts.contexts.device

    def tell(vectors: Tensor) -> Tensor:
        asking = contexts()
        return scale * vectors @ (asking[:, 1] - asking[:, 0]).T

    learn(contexts, tell, shots, probe, str(device))
    with torch.no_grad():
        return by_prompts(contexts().double().cpu().numpy(), scale)


def learn(module: nn.Module, tell: Callable[[Tensor], Tensor], shots: Told, probe: ProbeConfig, device: str) -> None:
    """Train a module's parameters, and nothing else, on all shots at once; each finding weighs the same."""
    vectors, truth, known = (
        torch.from_numpy(one).float().to(device) for one in (shots.vectors, shots.truth, shots.known)
    )
    parameters = list(module.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=probe.lr, weight_decay=_DECAY)
    for _ in range(probe.steps):
        loss = (functional.binary_cross_entropy_with_logits(tell(vectors), truth, reduction="none") * known).sum()
        gradients = torch.autograd.grad(loss / known.sum(), parameters)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()


def choose(told: Mapping[float, Tell], val: Told, names: Sequence[str]) -> tuple[float, Tell]:
    """The setting whose macro-AUROC on validation is highest, the first of equals."""
    best = max(told, key=lambda setting: macro_auroc(told[setting](val.vectors), val, names))
    return best, told[best]


def macro_auroc(logits: Floats, val: Told, names: Sequence[str]) -> float:
    """Mean AUROC over the findings that have positives and negatives; NaN where none has."""
    p = _logistic(logits)
    return float(
        ClassificationScores(p, p > 0.5, val.truth, val.known, names, 1).scores().get("auroc_macro", [np.nan])[0]
    )  # noqa: PLR2004


def _logistic(logits: Floats) -> Floats:
    found: Floats = 1 / (1 + np.exp(-np.clip(logits, -30, 30)))
    return found


def _frozen(tell: Callable[[Tensor], Tensor], device: str) -> Tell:
    def told(vectors: Floats) -> Floats:
        with torch.no_grad():
            found: Floats = tell(torch.from_numpy(vectors).float().to(device)).double().cpu().numpy()
        return found

    return told
