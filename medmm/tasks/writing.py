"""What tasks with a language model share: making it, keeping it beside the weights, and room for what it reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medmm.config.schema import Config
from medmm.errors import CheckpointError, DataError
from medmm.models.decoder import TextDecoder, decoder_from_config, pretrained_decoder, small_decoder
from medmm.models.image_encoder import ImageEncoder, build_encoder
from medmm.models.settings import forget_places
from medmm.models.tokenizer import ReportTokenizer, learn_tokenizer, load_tokenizer

DESCRIPTION = "task.json"
_TOKENIZER, _DECODER = "tokenizer", "decoder"


def new_writer(
    config: Config, texts: Sequence[str], patients: Sequence[str], beside: int
) -> tuple[ReportTokenizer, TextDecoder]:
    """A tokenizer and a language model: those that the config names, else ones of random weights.

    Args:
        config: The run's config.
        texts: What is learned to be written or read.
        patients: Whose each text is.
        beside: Most prefix tokens beside those of images.
    """
    wanted, encoder = config.model.decoder, config.model.encoder
    if wanted.source is None:
        tokenizer = learn_tokenizer(texts, wanted.vocabulary, patients)
        images = config.model.max_views * config.model.prefix_grid**encoder.spatial_dims
        return tokenizer, small_decoder(wanted, tokenizer, images + beside)
    tokenizer = load_tokenizer(wanted.source)
    return tokenizer, pretrained_decoder(wanted.source, tokenizer)


def new_encoder(config: Config) -> ImageEncoder:
    """The image encoder that the config names, with random weights."""
    prep = config.preprocess
    shape = (prep.size, prep.size) if prep.depth is None else (prep.depth, prep.size, prep.size)
    return build_encoder(config.model.encoder, shape)


def save_writer(folder: Path, tokenizer: ReportTokenizer, decoder: TextDecoder) -> None:
    """Keep the tokenizer and the language model's settings, not its weights."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(folder / _TOKENIZER)
    decoder.model.config.save_pretrained(str(folder / _DECODER))
    forget_places(folder / _DECODER)


def load_writer(folder: Path) -> tuple[ReportTokenizer, TextDecoder]:
    """What :func:`save_writer` kept; the language model with random weights.

    Raises:
        CheckpointError: It is missing or broken.
    """
    tokenizer = load_tokenizer(folder / _TOKENIZER)
    return tokenizer, decoder_from_config(folder / _DECODER, tokenizer)


def read_description(folder: Path, task: str, version: int, mapping: str) -> tuple[dict[str, Any], dict[str, float]]:
    """What ``task.json`` says, and the mapping that it holds under a name.

    Raises:
        CheckpointError: It is missing, broken, or of another task or format.
    """
    try:
        said = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        found, own = (said["format"], said["task"]), dict(said[mapping])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError("the model's description cannot be read", where=DESCRIPTION) from error
    if found != (version, task):
        got, expected = f"{found[1]} of format {found[0]}", f"{task} of format {version}"
        raise CheckpointError("a model of another kind", where=DESCRIPTION, got=got, expected=expected)
    return said, own


def require_room(decoder: TextDecoder, needed: int, parts: str, smaller: str) -> None:
    """Refuse a language model that cannot hold its prefix and the longest text.

    Args:
        decoder: The language model.
        needed: Places.
        parts: What takes them, in words.
        smaller: Settings that would take fewer.

    Raises:
        DataError: It has fewer.
    """
    places = decoder.places
    if places is not None and needed > places:
        raise DataError(
            "the language model has too few places", where="model.decoder", got=f"{places}",
            expected=f"{needed}: {parts}", fix=f"Set a smaller {smaller}.",
        )  # fmt: skip
