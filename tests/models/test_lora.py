"""Low-rank additions: what learns, what they are worth, and that nothing of them is left when they are merged."""

import sys

import pytest
import torch
from transformers import (
    BertConfig,
    BertLMHeadModel,
    BertModel,
    BioGptConfig,
    BioGptForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
)

from medmm.errors import UsageError
from medmm.models.lora import add_lora, merge_lora

WIDTH, LAYERS, RANK = 32, 3, 4
TINY = {"vocab_size": 100, "hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": 2,
        "intermediate_size": 64, "max_position_embeddings": 64}  # fmt: skip
MODELS = {
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(vocab_size=100, n_embd=WIDTH, n_layer=LAYERS, n_head=2, n_positions=64, resid_pdrop=0, attn_pdrop=0)
    ),
    "biogpt": lambda: BioGptForCausalLM(BioGptConfig(**TINY)),
    "bert": lambda: BertModel(BertConfig(**TINY), add_pooling_layer=False),
    "bert decoder": lambda: BertLMHeadModel(BertConfig(**TINY, is_decoder=True)),
}
EACH = 4 * RANK * (WIDTH + WIDTH)  # four square projections of a layer, two factors each
COUNTS = {
    "gpt2": RANK * (WIDTH + 3 * WIDTH) + RANK * (WIDTH + WIDTH),
    "biogpt": EACH,
    "bert": EACH,
    "bert decoder": EACH,
}


@pytest.fixture(params=list(MODELS))
def case(request):
    torch.manual_seed(0)
    model = MODELS[request.param]().eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    return request.param, model


def answer(model, ids):
    with torch.no_grad():
        return model(input_ids=ids)[0]


def test_the_additions_alone_learn_and_their_sum_is_what_is_left(case):
    name, model = case
    ids = torch.randint(5, 90, (3, 9), generator=torch.Generator().manual_seed(1))
    before, names = answer(model, ids), list(model.state_dict())
    start = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    learned = add_lora(model, name.split()[0], RANK)
    assert learned == LAYERS * COUNTS[name]
    assert learned == sum(one.numel() for one in model.parameters() if one.requires_grad)
    torch.testing.assert_close(answer(model, ids), before, atol=0, rtol=0)

    optimizer = torch.optim.AdamW([one for one in model.parameters() if one.requires_grad], lr=0.02)
    for _ in range(4):
        optimizer.zero_grad()
        model(input_ids=ids)[0].float().square().mean().backward()
        optimizer.step()
    adapted = answer(model, ids)
    assert float((adapted - before).abs().max()) > 0.01
    merge_lora(model)
    torch.testing.assert_close(answer(model, ids), adapted, atol=1e-5, rtol=1e-5)
    assert list(model.state_dict()) == names
    moved = {key for key, tensor in model.state_dict().items() if not torch.equal(tensor, start[key])}
    assert len(moved) == LAYERS * (2 if name == "gpt2" else 4)
    assert all(key.endswith("weight") and ("attn" in key or "attention" in key) for key in moved)

    again = MODELS[name]().eval()  # no peft: the merged weights are a model's own
    again.load_state_dict(model.state_dict())
    torch.testing.assert_close(answer(again, ids), adapted, atol=1e-5, rtol=1e-5)


def test_the_merged_weight_is_the_sum_by_hand(case):
    name, model = case
    add_lora(model, name.split()[0], 2, alpha=6)
    key, layer = next((key, one) for key, one in model.named_modules() if hasattr(one, "lora_A"))
    first, second = (getattr(layer, part)["default"].weight for part in ("lora_A", "lora_B"))
    torch.nn.init.normal_(second)
    weight = layer.get_base_layer().weight.detach().clone()
    added = 3 * (second @ first).detach()
    merge_lora(model)
    expected = weight + (added.T if name == "gpt2" else added)
    torch.testing.assert_close(model.get_submodule(key).weight.detach(), expected)


def test_another_kind_is_refused():
    with pytest.raises(UsageError, match="got 'llama'; expected bert, biogpt, gpt2"):
        add_lora(torch.nn.Linear(2, 2), "llama", 8)


def test_peft_needs_no_torchvision():
    import peft.tuners.lora  # noqa: F401

    assert "torchvision" not in sys.modules
