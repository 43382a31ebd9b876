"""Two towers: what stands in their state, chunked gradients, running statistics, unused parts."""

import pytest
import torch
from torch import nn

from medmm.config.schema import Config
from medmm.models.dual_encoder import DualEncoder
from medmm.models.image_encoder import build_encoder
from medmm.models.pretrain_batch import PretrainInputs
from medmm.models.text_encoder import small_text_encoder

B, VIEWS, T, WORDS = 6, 2, 7, 40


class Words:
    """All that the text tower asks of a tokenizer."""

    size, pad = WORDS, 0


def config(**pretrain):
    text = {"layers": 1, "width": 32, "heads": 2, "max_tokens": 16, "dropout": 0.0}
    return Config.model_validate(
        {
            "task": "pretraining", "preprocess": {"size": 32}, "pretrain": {"width": 16, **pretrain},
            "model": {"encoder": {"width": 32}, "text": text},
        }
    )  # fmt: skip


def towers(**pretrain):
    torch.manual_seed(0)
    wanted = config(**pretrain)
    text = small_text_encoder(wanted.model.text, Words())
    return DualEncoder(build_encoder(wanted.model.encoder, (32, 32)), text, wanted)


def inputs(part=0, **more):
    generator = torch.Generator().manual_seed(1)
    views = torch.ones(B, VIEWS, dtype=torch.bool)
    views[::2, 1] = False
    ids = torch.randint(1, WORDS, (B, T), generator=generator)
    mask = torch.arange(T)[None] < torch.tensor([7, 5, 3, 7, 4, 6])[:, None]
    images = torch.rand(B, VIEWS, 1, 32, 32, generator=generator)
    return PretrainInputs(images, views, ids.masked_fill(~mask, 0), mask, part, **more)


def still(model):
    """Norms with the statistics that they have: then no study changes another's features."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
    return model


def gradients(model, shown):
    model.zero_grad()
    output = model(shown)
    logits = output.scale * output.texts_bd @ output.images_bd.T
    loss = nn.functional.cross_entropy(logits, torch.arange(B))
    if output.told_utv is not None:
        loss = loss + output.told_utv.square().mean()
    loss.backward()
    return loss.detach(), {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}


def test_a_chunk_at_a_time_has_the_gradients_of_the_whole_batch():
    shown = inputs(part=2, masked_ut=inputs().ids_bt[:2])
    whole, chunked = (still(towers(chunk=size).train()) for size in (None, 2))
    loss, wanted = gradients(whole, shown)
    same, found = gradients(chunked, shown)
    torch.testing.assert_close(same, loss, atol=1e-6, rtol=1e-6)
    assert found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-5, rtol=1e-5)


def test_what_is_looked_at_twice_is_counted_once():
    model = towers(chunk=2, masked_text=0).train()
    torch.manual_seed(3)
    gradients(model, inputs())
    with_gradients = {name: one.clone() for name, one in model.named_buffers()}
    again = towers(chunk=2, masked_text=0).train()
    torch.manual_seed(3)
    with torch.no_grad():
        again(inputs())
    assert with_gradients.keys() == dict(again.named_buffers()).keys()
    for name, buffer in again.named_buffers():
        torch.testing.assert_close(with_gradients[name], buffer, atol=0, rtol=0)
    counted = {int(one) for name, one in again.named_buffers() if name.endswith("num_batches_tracked")}
    assert counted == {3}


def test_the_table_of_words_is_tied_and_stands_once_in_the_state():
    model = towers()
    assert model.words._table[0].weight is model.text.embeddings.weight
    tables = [name for name, one in model.state_dict().items() if one.shape == (WORDS, 32)]
    assert tables == ["text.model.embeddings.word_embeddings.weight"]
    features = torch.randn(2, 3, 32)
    wanted = model.words.transform(features) @ model.text.embeddings.weight.T + model.words.bias
    torch.testing.assert_close(model.words(features), wanted)


def test_vectors_have_length_one_and_do_not_hear_of_other_studies():
    model = towers().eval()
    shown = inputs()
    with torch.no_grad():
        images, texts = (
            model.embed_images(shown.images, shown.view_mask),
            model.embed_texts(shown.ids_bt, shown.mask_bt),
        )
        torch.testing.assert_close(images.norm(dim=1), torch.ones(B))
        torch.testing.assert_close(texts.norm(dim=1), torch.ones(B))
        changed = shown.images.clone()
        changed[0, 1] = 1.0  # a view that the first study lacks
        torch.testing.assert_close(model.embed_images(changed, shown.view_mask), images)
        one = model.embed_texts(shown.ids_bt[2:3, :3], shown.mask_bt[2:3, :3])
        torch.testing.assert_close(one[0], texts[2], atol=1e-5, rtol=1e-4)


ALL = {"local": 1.0, "masked_image": 1.0, "matching": 1.0, "views": 1.0}


def test_wrong_pairs_are_wrong_and_those_of_validation_repeat():
    model = towers(**ALL).eval()
    unlike = torch.tensor([[0, 1, 0], [0, 0, 0], [1, 1, 0]]).bool()
    seen = []
    for seed in range(3):
        torch.manual_seed(seed)
        seen.append(model(inputs(part=3, unlike_uu=unlike)))
    assert seen[0].wrong_u.tolist() == [True, False, True]
    torch.testing.assert_close(seen[0].mismatched_u, seen[2].mismatched_u, atol=0, rtol=0)
    fed = []
    model.fusion.register_forward_pre_hook(lambda _, args: fed.append(args[2]))
    model.train()
    for _ in range(4):
        model(inputs(part=3, unlike_uu=unlike))
    for right, wrong in zip(fed[::2], fed[1::2], strict=True):
        assert torch.equal(wrong[0], right[1])
        assert any(torch.equal(wrong[2], right[one]) for one in (0, 1))


@pytest.mark.parametrize(
    ("settings", "held"),
    [
        ({}, set()),
        ({"contrast": "sigmoid"}, set()),
        ({"contrastive": 0}, {"log_scale", "image_pool", "text_pool"}),
        (
            {"contrastive": 0, "masked_text": 0, "masked_image": 1},
            {"log_scale", "image_pool", "text_pool", "text", "view"},
        ),
    ],
)
def test_what_nothing_teaches_takes_no_gradient(settings, held):
    model = towers(**settings)
    assert {name.split(".")[0] for name, one in model.named_parameters() if not one.requires_grad} == held
    assert (model.bias is not None) == (settings.get("contrast") == "sigmoid")
