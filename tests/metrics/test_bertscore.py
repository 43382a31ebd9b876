"""BERTScore against the package bert-score, on a small encoder made on the spot."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from medmm.errors import DataError, UsageError
from medmm.metrics.bertscore import BertScorer

WORDS = "no pleural effusion or pneumothorax the heart is enlarged small left nodule seen again".split()
RNG = np.random.default_rng(11)
REFERENCES = [" ".join(RNG.choice(WORDS, RNG.integers(1, 30))) for _ in range(40)]
DRAFTS = [" ".join(RNG.choice(WORDS, RNG.integers(1, 30))) for _ in range(40)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A BERT of four layers with random weights that tell words and places apart."""
    folder = tmp_path_factory.mktemp("encoder")
    special = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
    ids = {word: number for number, word in enumerate((*special, *WORDS[2:], *"pleurano", *(f"##{c}" for c in "plno")))}
    words = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    words.normalizer, words.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    words.post_processor = processors.BertProcessing(("[SEP]", ids["[SEP]"]), ("[CLS]", ids["[CLS]"]))
    PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]",
        model_max_length=64,
    ).save_pretrained(folder)  # fmt: skip
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=max(ids.values()) + 1, hidden_size=16, num_hidden_layers=4, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=64, initializer_range=0.5,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("layer", [2, 4])
@pytest.mark.parametrize("idf", [False, True])
def test_equals_the_package(folder, layer, idf):
    package = pytest.importorskip("bert_score")
    wanted = package.score(
        DRAFTS, REFERENCES, model_type=str(folder), num_layers=layer, idf=idf, nthreads=0, use_fast_tokenizer=True
    )
    found = BertScorer(folder, layer, batch=7).score(REFERENCES, DRAFTS, idf)
    for one, other in zip((found.precision, found.recall, found.f1), wanted, strict=True):
        np.testing.assert_allclose(one, other.numpy(), atol=2e-6)
    assert np.std(found.f1) > 0.01


def test_name_says_what_was_used(folder):
    scorer = BertScorer(folder)
    assert scorer.name.startswith("BERTScore (bert, layer 3 of 4, float32, weights ")
    assert "idf of the references" in scorer.score(["no"], ["no"], idf=True).name


def test_degenerate_texts_have_values(folder):
    references, drafts = ["no effusion", "", " ", "双肺", "heart " * 500], ["", "heart", "", "双肺", "heart"]
    found = BertScorer(folder).score(references, drafts)
    assert found.f1[:3].tolist() == [0.0, 0.0, 0.0]
    assert found.f1[3] == pytest.approx(1, abs=1e-6)
    assert np.isfinite(found.f1).all()
    alone = BertScorer(folder).score(["heart"], ["heart"], idf=True)
    assert alone.f1.tolist() == [0.0]  # nothing is rare among one report


def test_same_texts_reach_the_top_and_weights_count(folder):
    found = BertScorer(folder).score(REFERENCES, [*REFERENCES[:20], *DRAFTS[20:]])
    np.testing.assert_allclose(found.f1[:20], 1, atol=1e-6)
    weights = np.stack([np.ones(40), np.repeat([1.0, 0.0], 20)])
    scores = found.scores(weights)["bertscore_f1"]
    assert scores == pytest.approx([found.f1.mean(), 1], abs=1e-6)


def test_bfloat16_is_close(folder):
    exact = BertScorer(folder).score(REFERENCES, DRAFTS).f1
    rough = BertScorer(folder, precision="bfloat16").score(REFERENCES, DRAFTS).f1
    assert 0 < np.abs(exact - rough).max() < 0.05


def test_wrong_use(folder, tmp_path):
    with pytest.raises(DataError):
        BertScorer(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(DataError):
        BertScorer(tmp_path)
    with pytest.raises(UsageError, match="1 to 4"):
        BertScorer(folder, 5)
    with pytest.raises(UsageError):
        BertScorer(folder).score(["a"], [])
