"""A Hugging Face encoder that reads texts.

Shape legend: B texts, T tokens, K channels of a token, V token ids.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from medmm.config.pretraining import TextEncoderConfig
from medmm.errors import CheckpointError
from medmm.models.settings import forget_places
from medmm.models.tokenizer import ReportTokenizer


class TextEncoder(nn.Module):
    """Turns token ids into token features.

    Args:
        model: A ``transformers`` encoder that takes ``input_ids`` and ``attention_mask``.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    @property
    def width(self) -> int:
        """Channels K of a token."""
        return int(self.model.config.hidden_size)

    @property
    def places(self) -> int | None:
        """Most tokens of a text; None where the model sets no limit."""
        limit = getattr(self.model.config, "max_position_embeddings", None)
        if not limit:
            return None
        table = getattr(getattr(self.model, "embeddings", None), "position_embeddings", None)
        before = getattr(table, "padding_idx", None)  # RoBERTa counts places from behind that of its padding
        return int(limit) - (0 if before is None else before + 1)

    @property
    def embeddings(self) -> nn.Embedding:
        """The table of the token ids."""
        table: nn.Embedding = self.model.get_input_embeddings()
        return table

    def forward(self, ids_bt: Tensor, mask_bt: Tensor) -> Tensor:
        """Read texts.

        Args:
            ids_bt: ``[B, T]`` int64 token ids.
            mask_bt: ``[B, T]`` bool, False for padding.

        Returns:
            ``[B, T, K]`` float32 features, of no meaning where padded.
        """
        features: Tensor = self.model(input_ids=ids_bt, attention_mask=mask_bt.long()).last_hidden_state
        return features.float()

    def save(self, folder: Path) -> None:
        """Write the model's settings, but not its weights."""
        self.model.config.save_pretrained(str(folder))
        forget_places(folder)


class MaskedWords(nn.Module):
    """Tells masked tokens from their features, with the encoder's own table (as BERT ties them).

    Args:
        width: Channels K.
        table: The encoder's token embeddings, ``[V, K]``.
    """

    def __init__(self, width: int, table: nn.Embedding) -> None:
        super().__init__()
        self.transform = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width))
        self.bias = nn.Parameter(torch.zeros(table.num_embeddings))
        self._table = [table]  # in a list: the weights are the encoder's, and stand in the state once

    def forward(self, features: Tensor) -> Tensor:
        """Logits ``[..., V]`` of features ``[..., K]``."""
        logits: Tensor = nn.functional.linear(self.transform(features), self._table[0].weight, self.bias)
        return logits


def small_text_encoder(config: TextEncoderConfig, tokenizer: ReportTokenizer) -> TextEncoder:
    """Make a small BERT with random weights.

    Args:
        config: Layers, width, heads, dropout and the longest text.
        tokenizer: Gives the number of token ids.
    """
    from transformers import BertConfig, BertModel

    settings = BertConfig(
        vocab_size=tokenizer.size,
        hidden_size=config.width,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        intermediate_size=4 * config.width,
        hidden_act="gelu_pytorch_tanh",
        hidden_dropout_prob=config.dropout,
        attention_probs_dropout_prob=0.0,  # dropout in attention keeps torch from its fused kernels
        max_position_embeddings=config.max_tokens,
        pad_token_id=tokenizer.pad,
    )
    return TextEncoder(BertModel(settings, add_pooling_layer=False))


def text_encoder_from_config(folder: Path) -> TextEncoder:
    """Make the encoder that ``config.json`` in ``folder`` describes, with random weights.

    Raises:
        CheckpointError: There is no such file, or it describes no encoder.
    """
    from transformers import AutoConfig, AutoModel

    try:
        settings = AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
        model: Any = AutoModel.from_config(settings).float()
    except (OSError, ValueError) as error:
        raise CheckpointError("no language model is described there", where=f"{folder.name}/config.json") from error
    if getattr(model, "pooler", None) is not None:
        model.pooler = None  # BERT's learned another task and is not used
    return TextEncoder(model)
