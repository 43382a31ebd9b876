"""Low-rank additions to a language model's attention (Hu et al. 2021), learned in place of its weights, by peft."""

from __future__ import annotations

from typing import Any

from torch import nn

from medmm.errors import UsageError

_TARGETS = {
    "bert": ("query", "key", "value", "attention.output.dense"),
    "gpt2": ("attn.c_attn", "attn.c_proj"),
    "biogpt": ("q_proj", "k_proj", "v_proj", "out_proj"),
}
"""Kind of model, as its config.json has it, to the ends of the names of its attention's four projections.

Bio_ClinicalBERT is a ``bert``. GPT-2 has query, key and value in one.
"""


def add_lora(model: nn.Module, kind: str, rank: int, alpha: int | None = None) -> int:
    """Let a model learn by low-rank additions to its attention alone; at first they add nothing.

    Args:
        model: A ``transformers`` model; it is changed in place, its weights hold still. What learns is drawn from
            torch's generator.
        kind: ``bert``, ``gpt2`` or ``biogpt``, as the model's ``config.model_type``.
        rank: Rank of each addition.
        alpha: The additions are scaled by alpha / rank; None: twice the rank.

    Returns:
        Parameters that learn.

    Raises:
        UsageError: The kind is not known here.
    """
    from peft import LoraConfig, inject_adapter_in_model

    if kind not in _TARGETS:
        where, expected = "train.adapt=lora", ", ".join(sorted(_TARGETS))
        raise UsageError("a language model of another kind", where=where, got=f"'{kind}'", expected=expected)
    settings = LoraConfig(
        r=rank,
        lora_alpha=2 * rank if alpha is None else alpha,
        target_modules=list(_TARGETS[kind]),
        lora_dropout=0.0,
        fan_in_fan_out=kind == "gpt2",  # its projections keep their matrices transposed
    )
    inject_adapter_in_model(settings, model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(is_addition(name))
    return sum(one.numel() for one in model.parameters() if one.requires_grad)


def is_addition(name: str) -> bool:
    """Whether a parameter of this name is a low-rank addition, which starts at random and not from weights."""
    return ".lora_" in name


def merge_lora(model: nn.Module) -> None:
    """Add what was learned to the weights and take the additions away: names and kinds of modules are as before.

    Args:
        model: What :func:`add_lora` changed, or a module that it is a part of.
    """
    from peft.tuners.lora import LoraLayer

    layers: dict[str, Any] = {name: one for name, one in model.named_modules() if isinstance(one, LoraLayer)}
    for name, layer in layers.items():
        layer.merge()
        model.set_submodule(name, layer.get_base_layer())
