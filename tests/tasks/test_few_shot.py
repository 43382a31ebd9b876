"""Learners on frozen vectors, against scikit-learn and against what must stay as it is."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from medmm.config.probing import ProbeConfig
from medmm.config.schema import Config
from medmm.models.dual_encoder import DualEncoder
from medmm.models.image_encoder import build_encoder
from medmm.models.prompt_contexts import BEGINNINGS, PromptContexts
from medmm.models.text_encoder import small_text_encoder
from medmm.models.tokenizer import learn_tokenizer
from medmm.tasks import few_shot
from medmm.tasks.few_shot import Told

NAMES = ("edema", "mass")
PROBE = ProbeConfig(steps=30, lr=1e-2, context=4)


@pytest.fixture(scope="module")
def told():
    draw = np.random.default_rng(0)
    truth = draw.integers(0, 2, (40, 2)).astype(float)
    vectors = draw.normal(size=(40, 16))
    vectors[:, :2] += 2 * truth - 1
    known = np.ones((40, 2), bool)
    known[:5, 0] = False
    return Told(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), truth, known)


@pytest.fixture(scope="module")
def towers():
    config = Config.model_validate(
        {
            "task": "pretraining", "preprocess": {"size": 32}, "pretrain": {"width": 16, "masked_text": 0},
            "model": {"encoder": {"width": 16}, "text": {"layers": 1, "width": 32, "heads": 2}},
        }
    )  # fmt: skip
    torch.manual_seed(0)
    texts = ["There is pulmonary edema.", "There is no mass.", "No edema.", "A mass is seen."] * 5
    tokenizer = learn_tokenizer(texts, 300, None, masks=True)
    text = small_text_encoder(config.model.text, tokenizer)
    return DualEncoder(build_encoder(config.model.encoder, (32, 32)), text, config).eval(), tokenizer


def test_a_draw_is_balanced_nested_and_leaves_out_what_is_too_rare():
    truth = np.array([[1, 0], [1, 0], [1, 1], [0, 0], [0, 0], [0, 0], [1, 0]], float)
    known = np.ones(truth.shape, bool)
    known[6, 0] = False
    ids = list("abcdefg")
    two = few_shot.draw(truth, known, ids, NAMES, 2, 0)
    assert two.sum(0).tolist() == [4, 0]
    assert truth[two[:, 0], 0].sum() == 2
    assert not two[6, 0]
    one = few_shot.draw(truth, known, ids, NAMES, 1, 0)
    assert one.sum(0).tolist() == [2, 2]
    assert (one[:, 0] <= two[:, 0]).all()
    assert len({few_shot.draw(truth, known, ids, NAMES, 1, seed).tobytes() for seed in range(20)}) > 1
    back = few_shot.draw(truth[::-1], known[::-1], ids[::-1], NAMES, 2, 0)
    np.testing.assert_array_equal(back[::-1], two)


def test_the_linear_probe_is_scikit_learns(told):
    logits = few_shot.linear_probe(told, 0.1)(told.vectors)
    scaled = (told.vectors - told.vectors.mean(0)) / told.vectors.std(0)
    for column in range(2):
        rows = told.known[:, column]
        own = LogisticRegression(C=0.1, max_iter=1000).fit(scaled[rows], told.truth[rows, column])
        np.testing.assert_allclose(logits[:, column], own.decision_function(scaled), atol=1e-5)


def test_zero_shot_and_an_adapter_that_adapts_nothing_are_one(told):
    asking = np.random.default_rng(1).normal(size=(2, 2, 16))
    zero = few_shot.by_prompts(asking, 5.0)(told.vectors)
    np.testing.assert_allclose(zero[:, 1], 5 * told.vectors @ (asking[1, 1] - asking[1, 0]))
    same = few_shot.adapter(told, asking, 5.0, 0.0, PROBE, 0)(told.vectors)
    np.testing.assert_allclose(same, zero, atol=1e-4)
    names = ("a", "b")
    adapted = few_shot.adapter(told, asking, 5.0, 0.8, PROBE, 0)
    assert few_shot.macro_auroc(adapted(told.vectors), told, names) > few_shot.macro_auroc(zero, told, names) + 0.05


def test_the_setting_that_validation_prefers_is_chosen(told):
    good, bad = (lambda vectors: vectors[:, :2]), (lambda vectors: -vectors[:, :2])
    setting, tell = few_shot.choose({1.0: bad, 2.0: good, 3.0: good}, told, NAMES)
    assert (setting, tell) == (2.0, good)
    own = [roc_auc_score(told.truth[rows, at], told.vectors[rows, at]) for at, rows in enumerate(told.known.T)]
    assert few_shot.macro_auroc(good(told.vectors), told, NAMES) == pytest.approx(np.mean(own), abs=1e-9)


def test_contexts_begin_as_the_words_that_they_stand_for(towers):
    model, tokenizer = towers
    ids = [tokenizer.encode(words, 99)[0][:-1].tolist() for words in BEGINNINGS]
    assert len(ids[0]) != len(ids[1])
    for row, own in enumerate(ids):
        contexts = PromptContexts(model, tokenizer, ("pulmonary edema", "mass"), len(own), 0)
        for at, name in enumerate(("pulmonary edema", "mass")):
            whole = [tokenizer.begin, *own, *tokenizer.encode(f" {name}.", 99)[0].tolist()]
            table = torch.tensor([whole])
            with torch.no_grad():
                expected = model.embed_texts(table, torch.ones_like(table, dtype=torch.bool))[0]
                torch.testing.assert_close(contexts()[at, row], expected, atol=1e-5, rtol=1e-4)


def test_only_the_contexts_learn(towers, told):
    model, tokenizer = towers
    before = {name: one.clone() for name, one in model.state_dict().items()}
    contexts = PromptContexts(model, tokenizer, NAMES, 4, 0)
    assert [name for name, _ in contexts.named_parameters()] == ["contexts"]
    start = contexts.contexts.detach().clone()
    with torch.no_grad():
        first = few_shot.by_prompts(contexts().double().numpy(), 10.0)(told.vectors)
    after = few_shot.learned_prompts(told, contexts, 10.0, PROBE)(told.vectors)
    assert _loss(after, told) < _loss(first, told) - 0.02
    assert not torch.equal(contexts.contexts, start)
    assert all(one.grad is None for one in model.parameters())
    assert all(torch.equal(one, before[name]) for name, one in model.state_dict().items())


def test_contexts_that_leave_no_place_for_a_name_are_refused(towers):
    model, tokenizer = towers
    with pytest.raises(ValueError, match="no place for a name"):
        PromptContexts(model, tokenizer, NAMES, 126, 0)


def _loss(logits, told):
    p = 1 / (1 + np.exp(-logits))
    each = -np.log(np.where(told.truth > 0, p, 1 - p))
    return each[told.known].mean()
