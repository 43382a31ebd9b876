"""A Hugging Face causal language model that reads image tokens as a prefix of embeddings.

Shape legend: B studies, P prefix tokens, T text tokens, E channels of the model's embeddings, V token ids.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from medmm.config.schema import DecoderConfig, GenerateConfig
from medmm.errors import CheckpointError, UsageError
from medmm.models.tokenizer import ReportTokenizer
from medmm.models.weights import refuse_pickle

_NARROW = 512  # up to this width plain attention trains a quarter faster on a processor than torch's fused one
_PLACES = 64  # room beside the longest target; the prefix is added to it


class TextDecoder(nn.Module):
    """A causal language model behind a prefix.

    Args:
        model: A ``transformers`` causal language model that takes ``inputs_embeds``.
        tokenizer: Gives the special tokens.
    """

    def __init__(self, model: Any, tokenizer: ReportTokenizer) -> None:
        super().__init__()
        self.model = model
        if self.width <= _NARROW:
            model.set_attn_implementation("eager")
        self.begin, self.end, self.pad = tokenizer.begin, tokenizer.end, tokenizer.pad

    @property
    def width(self) -> int:
        """Channels E of an embedding."""
        return int(self.model.get_input_embeddings().embedding_dim)

    @property
    def places(self) -> int | None:
        """Most tokens, prefix included, that the model has places for; None where it sets no limit."""
        limit = getattr(self.model.config, "max_position_embeddings", None)
        return int(limit) if limit else None

    def forward(self, prefix_bpe: Tensor, prefix_mask_bp: Tensor, ids_bt: Tensor) -> Tensor:
        """Predict each text token from the prefix and the tokens before it.

        Args:
            prefix_bpe: ``[B, P, E]`` prefix; what is masked must stand at its left end.
            prefix_mask_bp: ``[B, P]`` bool, False where nothing is to be read.
            ids_bt: ``[B, T]`` int64 token ids, padded at the right; padding is predicted too and left out by the loss.

        Returns:
            ``[B, T, V]`` logits, the one at t predicting ``ids_bt[:, t]``.
        """
        begin = torch.full_like(ids_bt[:, :1], self.begin)
        text = self.embed(torch.cat([begin, ids_bt[:, :-1]], dim=1))
        embeds = torch.cat([prefix_bpe.to(text.dtype), text], dim=1)
        mask = torch.cat([prefix_mask_bp, torch.ones_like(ids_bt, dtype=torch.bool)], dim=1)
        output = self.model(
            inputs_embeds=embeds,
            attention_mask=None if bool(prefix_mask_bp.all()) else mask.long(),
            position_ids=(mask.long().cumsum(1) - 1).clamp(min=0),
            use_cache=False,
            logits_to_keep=ids_bt.shape[1],
        )
        logits: Tensor = output.logits
        return logits

    def embed(self, ids: Tensor) -> Tensor:
        """Embeddings ``[..., E]`` of token ids."""
        embedded: Tensor = self.model.get_input_embeddings()(ids)
        return embedded

    @torch.no_grad()
    def generate(self, prefix_bpe: Tensor, prefix_mask_bp: Tensor, config: GenerateConfig) -> Tensor:
        """Write texts.

        Args:
            prefix_bpe: As in :meth:`forward`.
            prefix_mask_bp: As in :meth:`forward`.
            config: Strategy and length; sampling draws from torch's generator.

        Returns:
            ``[B, T]`` int64 ids, the end token and padding included.
        """
        begin = torch.full((len(prefix_bpe), 1), self.begin, device=prefix_bpe.device)
        first = self.embed(begin)
        embeds = torch.cat([prefix_bpe.to(first.dtype), first], dim=1)
        mask = torch.cat([prefix_mask_bp, torch.ones_like(begin, dtype=torch.bool)], dim=1)
        longest = config.max_tokens
        if self.places is not None:
            longest = max(1, min(longest, self.places - embeds.shape[1]))
        settings = _generation(config, longest, self)
        self.model.generation_config = settings  # else unset values come from the hub model's own habits
        ids: Tensor = self.model.generate(inputs_embeds=embeds, attention_mask=mask.long(), generation_config=settings)
        return ids


def _generation(config: GenerateConfig, longest: int, decoder: TextDecoder) -> Any:
    from transformers import GenerationConfig

    settings: dict[str, Any] = {
        "max_new_tokens": longest,
        "min_new_tokens": min(config.min_tokens, longest),
        "repetition_penalty": config.repetition_penalty,
        "no_repeat_ngram_size": config.no_repeat_ngram,
        "use_cache": config.cache,
        "do_sample": config.strategy == "sample",
        "bos_token_id": decoder.begin,
        "eos_token_id": decoder.end,
        "pad_token_id": decoder.pad,
    }
    if config.strategy == "beam":
        settings |= {"num_beams": config.beams, "length_penalty": config.length_penalty, "early_stopping": True}
    if config.strategy == "sample":
        settings |= {"temperature": config.temperature, "top_p": config.top_p, "top_k": 0}
    return GenerationConfig(**settings)


def small_decoder(config: DecoderConfig, tokenizer: ReportTokenizer, prefix: int) -> TextDecoder:
    """Make a small GPT-2 with random weights.

    Args:
        config: Layers, width, heads, dropout and the longest target.
        tokenizer: Gives the number of token ids.
        prefix: Most prefix tokens.
    """
    from transformers import GPT2Config, GPT2LMHeadModel

    settings = GPT2Config(
        vocab_size=tokenizer.size,
        n_positions=prefix + config.max_tokens + _PLACES,
        n_embd=config.width,
        n_layer=config.layers,
        n_head=config.heads,
        activation_function="gelu_pytorch_tanh",  # the same curve as GPT-2's in one kernel
        resid_pdrop=config.dropout,
        embd_pdrop=config.dropout,
        attn_pdrop=0.0,  # dropout in attention keeps torch from its fused kernels
        bos_token_id=tokenizer.begin,
        eos_token_id=tokenizer.end,
        pad_token_id=None,  # ids are never padded unmasked; generation has its own setting
    )
    return TextDecoder(GPT2LMHeadModel(settings), tokenizer)


def pretrained_decoder(source: str, tokenizer: ReportTokenizer) -> TextDecoder:
    """Load a causal language model from a local folder, or by hub id where ``source`` is no folder.

    Raises:
        CheckpointError: The folder holds a pickle but no safetensors, or nothing that can be loaded.
        UsageError: The model is no causal language model.
    """
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    local = Path(source).is_dir()
    fix = "Name a folder with config.json and model.safetensors, or a hub id that can be reached."
    if local:
        _require_weights(Path(source), fix)
    logging.disable_progress_bar()
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(
            source, local_files_only=local, use_safetensors=True, trust_remote_code=False, **_as_decoder(source, local)
        )
    except OSError as error:
        raise CheckpointError("no language model can be loaded", where="model.decoder.source", fix=fix) from error
    except ValueError as error:
        raise UsageError(
            "no causal language model", where="model.decoder.source", got=f"'{Path(source).name}'"
        ) from error
    if tokenizer.size > int(model.get_input_embeddings().num_embeddings):
        model.resize_token_embeddings(tokenizer.size)
    return TextDecoder(model.float(), tokenizer)


def _require_weights(folder: Path, fix: str) -> None:
    found = sorted(folder.glob("*.safetensors"))
    others = [path for pattern in ("*.bin", "*.pt", "*.pth") for path in sorted(folder.glob(pattern))]
    for path in found or others:
        refuse_pickle(path)
    if not found or not (folder / "config.json").is_file():
        raise CheckpointError("no language model can be loaded", where="model.decoder.source", fix=fix)


def decoder_from_config(folder: Path, tokenizer: ReportTokenizer) -> TextDecoder:
    """Make the language model that ``config.json`` in ``folder`` describes, with random weights.

    Raises:
        CheckpointError: There is no such file, or it describes no causal language model.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        settings = AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
        return TextDecoder(AutoModelForCausalLM.from_config(settings).float(), tokenizer)
    except (OSError, ValueError) as error:
        raise CheckpointError("no language model is described there", where=f"{folder.name}/config.json") from error


def _as_decoder(source: str, local: bool) -> dict[str, Any]:
    """Settings that make an encoder's config, such as BERT's, one of a decoder."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(source, local_files_only=local, trust_remote_code=False)
    return {"is_decoder": True} if hasattr(config, "is_decoder") and config.model_type in _ENCODERS else {}


_ENCODERS = {"bert", "roberta", "electra", "camembert", "xlm-roberta"}
