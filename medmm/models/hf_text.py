"""Any Hugging Face encoder of texts, such as BERT, from a local folder: safetensors only, no code of others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from medmm.errors import CheckpointError, MedmmError, UsageError
from medmm.models.text_encoder import TextEncoder
from medmm.models.tokenizer import ReportTokenizer, load_tokenizer
from medmm.models.weights import refuse_pickle

_WHERE = "model.text.source"
_FIX = "Name a folder with config.json, model.safetensors and tokenizer.json."
_TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model")
_UNUSED = ("pooler.", "lm_head.", "cls.")  # parts that no feature of a token goes through


def load_text_model(source: str | Path) -> tuple[TextEncoder, ReportTokenizer]:
    """Load an encoder and its tokenizer.

    Args:
        source: Folder with ``config.json``, safetensors and a tokenizer.

    Returns:
        The encoder in evaluation mode, float32, which knows its ``width`` and its ``places``, and the tokenizer.

    Raises:
        CheckpointError: The folder is missing or holds pickles alone, or its weights are not those of its config.
        UsageError: It is no encoder of texts.
    """
    folder = Path(source)
    _require_safetensors(folder)
    model = _loaded(folder)
    if not hasattr(model.config, "hidden_size") or getattr(model.config, "is_encoder_decoder", False):
        raise UsageError("no encoder of texts", where=_WHERE, got=f"{model.config.model_type} in '{folder.name}'")
    try:
        _require_tokenizer(folder)
        tokenizer = load_tokenizer(folder)
    except MedmmError as error:
        raise CheckpointError(error.what, where=_WHERE, got=f"'{folder.name}'", fix=_FIX) from error
    if getattr(model, "pooler", None) is not None:
        model.pooler = None  # it learned another task
    if tokenizer.size > int(model.get_input_embeddings().num_embeddings):
        model.resize_token_embeddings(tokenizer.size)
    return TextEncoder(model).eval(), tokenizer


def _require_safetensors(folder: Path) -> None:
    found = sorted(folder.glob("*.safetensors"))
    others = [path for suffix in ("bin", "pt", "pth") for path in sorted(folder.glob(f"*.{suffix}"))]
    for path in found or others:
        refuse_pickle(path)
    if not found or not (folder / "config.json").is_file():
        raise CheckpointError("no language model lies there", where=_WHERE, got=f"'{folder.name}'", fix=_FIX)


def _require_tokenizer(folder: Path) -> None:
    """Transformers makes an empty tokenizer where there are no files of one."""
    if not any((folder / name).is_file() for name in _TOKENIZERS):
        raise CheckpointError("no tokenizer lies there", expected=", ".join(_TOKENIZERS))


def _loaded(folder: Path) -> Any:
    """The model that the folder describes, every weight of which is the folder's."""
    from safetensors import SafetensorError
    from transformers import AutoModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    shown = logging.get_verbosity()
    logging.set_verbosity_error()  # it lists the heads that are not used; what is missing is said below
    try:
        model, said = AutoModel.from_pretrained(
            str(folder), local_files_only=True, use_safetensors=True, trust_remote_code=False, dtype=torch.float32,
            output_loading_info=True,
        )  # fmt: skip
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(
            "no language model can be loaded", where=_WHERE, got=f"'{folder.name}'", fix=_FIX
        ) from error
    finally:
        logging.set_verbosity(shown)
    missing = sorted(name for name in said["missing_keys"] if not name.startswith(_UNUSED))
    if missing:
        got = f"{len(missing)} missing: {', '.join(missing[:8])}"
        raise CheckpointError("the weights are not those of the folder's config", where=_WHERE, got=got, fix=_FIX)
    return model
