"""What a step of pretraining costs: passes of the towers, of the fusion, and of what is hidden.

A language model is given as its width, layers and token ids.
"""

from __future__ import annotations

from medmm.config.schema import Config

_TOKENS = 30  # of a training text: reports have about twice as many, and half of the texts are excerpts
_WORK = 12  # matrices of a layer, of the square of its width each
_MORE = {"concat": 12, "cross": 16, "gated": 24}  # those of a layer of the fusion

Language = tuple[int, int, int]


def looks(config: Config) -> float:
    """How often a study is looked at: once, once more where patches are hidden, and again behind the first chunk."""
    if config.task != "pretraining":
        return 1.0
    wanted = config.pretrain
    hidden = wanted.part if wanted.masked_image else 0.0
    return _again(config) + hidden


def text_work(config: Config, language: Language) -> float:
    """Multiply-adds of the texts of one study: the report, its masked copy, the fusion and the words told."""
    width, layers, vocabulary = language
    wanted, tokens = config.pretrain, min(_TOKENS, config.model.text.max_tokens)
    read = tokens * _WORK * layers * width**2
    fused = tokens * _MORE[config.model.fusion.kind] * config.model.fusion.layers * width**2
    work = _again(config) * read
    if wanted.masked_text:
        told = read + fused + tokens * width * vocabulary
        alone = wanted.texts_batch / config.train.batch_size if wanted.texts else 0.0
        work += (wanted.part + alone) * told
    if wanted.matching:
        work += wanted.part * 2 * fused
    return float(work)


def held(config: Config, studies: float, language: Language) -> tuple[float, float]:
    """Studies of a batch whose activations are held at a time, and the bytes that those of one study's texts take."""
    width, layers, vocabulary = language
    wanted, tokens = config.pretrain, min(_TOKENS, config.model.text.max_tokens)
    told = wanted.part * (layers * width * 40 + vocabulary * 10) if wanted.masked_text else 0.0
    return min(studies, wanted.chunk or studies), float(tokens * (layers * width * 40 + told))


def parameters(config: Config, language: Language) -> float:
    """Parameters beside those of the image network."""
    width, layers, vocabulary = language
    wanted, image, shared = config.pretrain, config.model.encoder.width, config.pretrain.width
    own = _WORK * layers * width**2 + (vocabulary + config.model.text.max_tokens) * width
    own += 2 * (image**2 + width**2) + (image + width) * shared  # what pools the towers
    if wanted.masked_text or wanted.matching:
        own += _MORE[config.model.fusion.kind] * config.model.fusion.layers * width**2 + image * width
    return float(own + (width**2 + vocabulary if wanted.masked_text else 0))


def _again(config: Config) -> float:
    """Forward and backward passes, counted in such triples of forward passes as a step without chunks takes."""
    chunk, size = config.pretrain.chunk, config.train.batch_size
    return 1.0 if chunk is None or chunk >= size else 1.0 + (1 - chunk / size) / 3
