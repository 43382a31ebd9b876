"""Text towers: padding, places, and what is kept of them."""

import pytest
import torch

from medmm.config.pretraining import TextEncoderConfig
from medmm.errors import CheckpointError
from medmm.models.text_encoder import TextEncoder, small_text_encoder, text_encoder_from_config
from medmm.models.tokenizer import learn_tokenizer

CONFIG = TextEncoderConfig(layers=1, width=32, heads=2, max_tokens=16)


@pytest.fixture(scope="module")
def tokenizer():
    return learn_tokenizer(["The lungs are clear."] * 6, 300, masks=True)


def ids(size=30):
    return torch.randint(3, size, (2, 6), generator=torch.Generator().manual_seed(0))


def test_padding_changes_nothing(tokenizer):
    tower = small_text_encoder(CONFIG, tokenizer).eval()
    mask = torch.ones(2, 6, dtype=torch.bool)
    mask[1, 4:] = False
    with torch.no_grad():
        found, alone = tower(ids(), mask), tower(ids()[1:, :4], mask[1:, :4])
    torch.testing.assert_close(found[1, :4], alone[0], atol=1e-5, rtol=1e-4)
    assert (tower.width, tower.places) == (32, 16)


def test_what_is_written_makes_the_same_network_without_weights(tokenizer, tmp_path):
    tower = small_text_encoder(CONFIG, tokenizer).eval()
    tower.save(tmp_path)
    again = text_encoder_from_config(tmp_path).eval()
    assert again.state_dict().keys() == tower.state_dict().keys()
    again.load_state_dict(tower.state_dict())
    mask = torch.ones(2, 6, dtype=torch.bool)
    with torch.no_grad():
        torch.testing.assert_close(again(ids(), mask), tower(ids(), mask), atol=0, rtol=0)
    with pytest.raises(CheckpointError, match="described"):
        text_encoder_from_config(tmp_path / "absent")


def test_robertas_places_begin_behind_its_padding():
    from transformers import RobertaConfig, RobertaModel

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    model = RobertaModel(RobertaConfig(vocab_size=40, max_position_embeddings=10, pad_token_id=1, **sizes))
    tower = TextEncoder(model).eval()
    assert tower.places == 8
    with torch.no_grad():
        longest = torch.full((1, 8), 5)
        assert torch.isfinite(tower(longest, torch.ones_like(longest, dtype=torch.bool))).all()
