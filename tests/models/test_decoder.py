"""Language models behind a prefix: three families, from local folders."""

import pytest
import torch
from transformers import (
    BertConfig,
    BertLMHeadModel,
    BioGptConfig,
    BioGptForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
)

from medmm.config.schema import DecoderConfig, GenerateConfig
from medmm.errors import CheckpointError, UsageError
from medmm.models.decoder import decoder_from_config, pretrained_decoder, small_decoder
from medmm.models.tokenizer import learn_tokenizer

TEXTS = ["No pleural effusion is seen on the left.", "There is a right pneumothorax, small."] * 10
TINY = {"vocab_size": 320, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
FAMILIES = {
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(vocab_size=320, n_embd=32, n_layer=2, n_head=2, n_positions=128, tie_word_embeddings=False)
    ),
    "biogpt": lambda: BioGptForCausalLM(BioGptConfig(**TINY, max_position_embeddings=128)),
    "bert": lambda: BertLMHeadModel(BertConfig(**TINY, max_position_embeddings=128, is_decoder=True)),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**TINY, num_key_value_heads=2, max_position_embeddings=128)),
}


@pytest.fixture(scope="module")
def tokenizer():
    return learn_tokenizer(TEXTS, 320)


@pytest.fixture(scope="module", params=list(FAMILIES))
def decoder(request, tokenizer, tmp_path_factory):
    """A model with wide random weights, so that texts differ, saved and loaded again from its folder."""
    folder = tmp_path_factory.mktemp(request.param)
    torch.manual_seed(0)
    model = FAMILIES[request.param]()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.4)
    model.save_pretrained(folder)
    return pretrained_decoder(str(folder), tokenizer).eval()


@pytest.fixture
def prefix():
    """Three studies with a prefix of six tokens, the second without its first two."""
    torch.manual_seed(2)
    mask = torch.ones(3, 6, dtype=torch.bool)
    mask[1, :2] = False
    return torch.randn(3, 6, 32), mask


def test_generation_writes_what_the_logits_say(decoder, prefix):
    config = GenerateConfig(max_tokens=12, min_tokens=12)
    ids = decoder.generate(*prefix, config)
    assert ids.shape == (3, 12)
    with torch.no_grad():
        logits = decoder(*prefix, ids)
    logits[..., decoder.end] = -torch.inf  # min_tokens keeps it from ending
    assert torch.equal(logits.argmax(-1), ids)
    assert len({tuple(row) for row in ids.tolist()}) == 3


def test_masked_places_do_not_matter(decoder, prefix):
    embeds, mask = prefix
    ids = torch.randint(5, 300, (3, 7), generator=torch.Generator().manual_seed(0))
    other = embeds.clone()
    other[1, :2] = 50.0
    with torch.no_grad():
        one, two = decoder(embeds, mask, ids), decoder(other, mask, ids)
        alone = decoder(embeds[1:2, 2:], mask[1:2, 2:], ids[1:2])
    torch.testing.assert_close(one, two)
    torch.testing.assert_close(one[1:2], alone, atol=1e-4, rtol=1e-4)


def test_the_cache_changes_nothing(decoder, prefix):
    with_cache, without = (decoder.generate(*prefix, GenerateConfig(max_tokens=10, cache=on)) for on in (True, False))
    assert torch.equal(with_cache, without)


def test_beams_find_a_likelier_text(decoder, prefix):
    def score(ids):
        with torch.no_grad():
            return decoder(*prefix, ids).log_softmax(-1).gather(-1, ids.unsqueeze(-1)).sum()

    short = {"max_tokens": 4, "min_tokens": 4}
    greedy = decoder.generate(*prefix, GenerateConfig(**short))
    beam = decoder.generate(*prefix, GenerateConfig(**short, strategy="beam", beams=8))
    assert score(beam) >= score(greedy)


def test_sampling_follows_the_generator(decoder, prefix):
    config = GenerateConfig(strategy="sample", max_tokens=10, min_tokens=10, temperature=2.0, top_p=1.0)
    drawn = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        drawn.append(decoder.generate(*prefix, config).tolist())
    assert drawn[0] == drawn[1] != drawn[2]


def test_repeats_can_be_forbidden(decoder, prefix):
    ids = decoder.generate(*prefix, GenerateConfig(max_tokens=40, min_tokens=40, no_repeat_ngram=2))
    for row in ids.tolist():
        pairs = list(zip(row, row[1:], strict=False))
        assert len(pairs) == len(set(pairs))


def test_length_stays_within_the_model_places(decoder, prefix):
    ids = decoder.generate(*prefix, GenerateConfig(max_tokens=1000, min_tokens=1000))
    assert ids.shape[1] == 128 - 7


def test_the_loss_reaches_the_prefix(decoder, prefix):
    embeds, mask = prefix
    embeds = embeds.clone().requires_grad_()
    decoder(embeds, mask, torch.randint(5, 300, (3, 7))).logsumexp(-1).sum().backward()
    gradient = embeds.grad.abs().sum(-1)
    assert (gradient[mask] > 0).all()
    assert (gradient[~mask] == 0).all()


def test_it_is_made_again_from_its_config(decoder, tokenizer, tmp_path):
    decoder.model.config.save_pretrained(tmp_path)
    again = decoder_from_config(tmp_path, tokenizer)
    shapes = [{name: value.shape for name, value in one.state_dict().items()} for one in (decoder, again)]
    assert shapes[0] == shapes[1]


def test_an_encoder_model_reads_only_backwards_when_loaded_as_decoder(tokenizer, tmp_path):
    BertLMHeadModel(BertConfig(**TINY, max_position_embeddings=64)).save_pretrained(tmp_path)
    decoder = pretrained_decoder(str(tmp_path), tokenizer).eval()
    embeds, mask = torch.randn(1, 3, 32), torch.ones(1, 3, dtype=torch.bool)
    ids = torch.randint(5, 300, (1, 6))
    other = ids.clone()
    other[0, 4] = 7
    with torch.no_grad():
        one, two = decoder(embeds, mask, ids), decoder(embeds, mask, other)
    torch.testing.assert_close(one[:, :5], two[:, :5])
    assert not torch.allclose(one[:, 5], two[:, 5])


def test_a_folder_with_a_pickle_or_with_nothing_is_refused(tokenizer, tmp_path):
    with pytest.raises(CheckpointError, match="no language model"):
        pretrained_decoder(str(tmp_path), tokenizer)
    model = FAMILIES["gpt2"]()
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="pickle"):
        pretrained_decoder(str(tmp_path), tokenizer)
    torch.save(model.state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="pickle"):
        pretrained_decoder(str(tmp_path), tokenizer)


def test_a_model_of_another_kind_is_refused(tokenizer, tmp_path):
    from transformers import ViTConfig, ViTModel

    ViTModel(
        ViTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=1, intermediate_size=16)
    ).save_pretrained(tmp_path)
    with pytest.raises(UsageError, match="causal"):
        pretrained_decoder(str(tmp_path), tokenizer)


def test_the_small_one_has_room_for_prefix_and_text(tokenizer):
    decoder = small_decoder(DecoderConfig(layers=1, width=32, heads=2, max_tokens=20), tokenizer, prefix=30)
    assert decoder.places >= 51
    assert decoder.width == 32
    assert decoder.model.lm_head.weight is decoder.model.transformer.wte.weight


def test_places_for_more_token_ids_are_made(tmp_path):
    model = GPT2LMHeadModel(GPT2Config(vocab_size=100, n_embd=32, n_layer=1, n_head=2, n_positions=64))
    model.save_pretrained(tmp_path)
    tokenizer = learn_tokenizer(TEXTS, 300)
    decoder = pretrained_decoder(str(tmp_path), tokenizer)
    assert decoder.embed(torch.tensor([tokenizer.size - 1])).shape == (1, 32)
