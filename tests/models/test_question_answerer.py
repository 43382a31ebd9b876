"""The answer head and the prefix that the language model reads, on weights and numbers small enough to follow."""

import numpy as np
import pytest
import torch

from medmm.config.schema import DecoderConfig, EncoderConfig, GenerateConfig, PreprocessConfig
from medmm.models.answer_head import AnswerHead, bag
from medmm.models.decoder import small_decoder
from medmm.models.image_encoder import build_encoder
from medmm.models.question_answerer import Asked, QuestionAnswerer, log_odds
from medmm.models.tokenizer import learn_tokenizer

TEXTS = ["is there a nodule", "on which side is it", "yes", "no", "left"] * 5


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    tokenizer = learn_tokenizer(TEXTS, 300)
    decoder = small_decoder(DecoderConfig(layers=1, width=32, heads=2), tokenizer, 64)
    encoder = build_encoder(EncoderConfig(width=32), (32, 32))
    head = AnswerHead(tokenizer.size, 32, (0.5, 0.3, 0.2), 0.1)
    return QuestionAnswerer(encoder, decoder, head, PreprocessConfig(size=32), 2, 2).eval()


def asked(owner, rows, shown):
    longest = max(map(len, rows))
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    real = torch.tensor([[place < len(row) for place in range(longest)] for row in rows])
    return Asked(torch.tensor(owner), ids, real, torch.tensor(shown))


def said(model, images, mask, questions):
    answers = torch.tensor([[5, 6, 1]] * len(questions.owner_q))
    truth = torch.zeros(len(questions.owner_q), dtype=torch.int64)
    with torch.no_grad():
        found = model(images, mask, questions, truth, answers)
    return found.logits_quv, found.called.logits_qa


def test_a_bag_holds_tokens_and_pairs_once():
    ids = torch.tensor([[3, 4, 3, 9], [4, 3, 0, 0], [0, 0, 0, 0]])
    real = torch.tensor([[True, True, True, True], [True, True, False, False], [False] * 4])
    found = bag(ids, real, 10)
    pair = lambda one, other: (one * 1_000_003 + other) % 2048 + 10  # noqa: E731
    wanted = [{3, 4, 9, pair(3, 4), pair(4, 3), pair(3, 9)}, {3, 4, pair(4, 3)}, set()]
    for row, places in zip(found, wanted, strict=True):
        assert set(torch.nonzero(row).flatten().tolist()) == places
        assert set(row.tolist()) <= {0.0, 1.0}


def test_words_tell_the_more_the_rarer_they_are_as_in_scikit_learn():
    from sklearn.feature_extraction.text import TfidfTransformer

    questions = [np.array(ids) for ids in ([1, 2, 3], [1, 2, 4], [1, 5], [1, 2, 3])]
    head = AnswerHead(10, 16, (0.5, 0.5), 0.0)
    head.weigh(questions)
    counts = np.array([[(row == token).sum() for token in range(10)] for row in questions])
    wanted = TfidfTransformer(smooth_idf=True).fit(counts).idf_ - 1
    np.testing.assert_allclose(head.telling[:10].numpy(), np.where(counts.sum(0) > 0, wanted, 0), rtol=1e-6)


def test_a_new_head_says_how_often_each_answer_is(model):
    head = AnswerHead(20, 16, (0.5, 0.3, 0.2), 0.0)
    ids = torch.tensor([[1, 2]])
    mask = torch.ones(1, 4, dtype=torch.bool)
    out = head(*head.look(torch.randn(1, 4, 16), mask), mask, torch.tensor([True]), ids, ids > 0)
    torch.testing.assert_close(out.logits_qa.softmax(1)[0], torch.tensor([0.5, 0.3, 0.2]), atol=0.02, rtol=0)


def test_another_answer_is_called_by_what_it_is_worth():
    head = AnswerHead(20, 16, (0.5, 0.3, 0.2), 0.0)
    logits = torch.tensor([[0.3, 0.1, 0.6], [0.1, 0.2, 0.7], [0.02, 0.02, 0.96]]).log()
    assert head.called(logits).tolist() == [2, 2, 2]
    head.worth.fill_(0.4)
    assert head.called(logits).tolist() == [0, 2, 2]
    head.worth.zero_()
    assert head.called(logits).tolist() == [0, 1, 0]


def test_questions_of_one_batch_do_not_see_each_other(model):
    torch.manual_seed(1)
    images, mask = torch.rand(2, 2, 1, 32, 32), torch.tensor([[True, True], [True, False]])
    rows, owner, shown = [[7, 8, 9, 10], [11], [7, 8]], [0, 1, 1], [True, False, True]
    together = said(model, images, mask, asked(owner, rows, shown))
    for place in range(3):
        one = owner[place]
        alone = said(model, images[one : one + 1], mask[one : one + 1], asked([0], [rows[place]], [shown[place]]))
        for whole, part in zip(together, alone, strict=True):
            torch.testing.assert_close(whole[place], part[0], atol=2e-5, rtol=1e-4)


def test_without_image_nothing_of_it_is_seen(model):
    torch.manual_seed(2)
    with torch.no_grad():
        model.head.answers.weight.normal_()
    one, other, mask = torch.rand(1, 1, 1, 32, 32), torch.rand(1, 1, 1, 32, 32), torch.ones(1, 1, dtype=torch.bool)
    for shown, same in ((False, True), (True, False)):
        questions = asked([0], [[7, 8, 9]], [shown])
        first, second = said(model, one, mask, questions), said(model, other, mask, questions)
        assert all(torch.equal(*pair) for pair in zip(first, second, strict=True)) is same


def test_what_the_head_calls_is_told_to_the_language_model_which_writes_what_the_head_does_not_know(model):
    images, mask = torch.rand(1, 1, 1, 32, 32), torch.ones(1, 1, dtype=torch.bool)
    questions, answers = asked([0], [[7, 8]], [True]), torch.tensor([[5, 6, 1]])
    with torch.no_grad():
        told = [model(images, mask, questions, torch.tensor([call]), answers).logits_quv for call in (0, 0, 1)]
        model.head.answers.weight.zero_()
        model.head.words.bias.data = torch.tensor([-9.0, 9.0, -9.0])
        known = model.answer(images, mask, questions, GenerateConfig(max_tokens=4))
        model.head.words.bias.data = torch.tensor([-9.0, -9.0, 9.0])
        other = model.answer(images, mask, questions, GenerateConfig(max_tokens=4))
    assert torch.equal(told[0], told[1])
    assert not torch.allclose(told[0], told[2])
    assert (known.called_q.tolist(), len(known.ids_qu)) == ([1], 0)
    assert (other.called_q.tolist(), len(other.ids_qu)) == ([2], 1)
    assert 1 <= other.ids_qu.shape[1] <= 4


def test_the_language_model_may_write_some_of_the_answers_while_the_head_calls_all(model):
    torch.manual_seed(3)
    images, mask = torch.rand(2, 1, 1, 32, 32), torch.ones(2, 1, dtype=torch.bool)
    questions = asked([0, 1, 1], [[7, 8, 9], [11], [7, 8]], [True, False, True])
    answers, truth = torch.tensor([[5, 6, 1], [5, 1, 0], [1, 0, 0]]), torch.tensor([0, 1, 2])
    with torch.no_grad():
        whole = model(images, mask, questions, truth, answers)
        part = model(images, mask, questions, truth, answers, torch.tensor([2, 0]))
    torch.testing.assert_close(part.called.logits_qa, whole.called.logits_qa)
    torch.testing.assert_close(part.logits_quv, whole.logits_quv[[2, 0]], atol=1e-5, rtol=1e-4)


def test_log_odds_are_those_of_the_probability():
    p = torch.tensor([0.5, 0.9, 0.001, 1.0, 0.0], dtype=torch.float64)
    found = log_odds(p.log()).double()
    torch.testing.assert_close(found[:3], torch.logit(p[:3]), atol=1e-5, rtol=1e-5)
    assert found[3:].tolist() == [15.0, -15.0]


def test_an_answer_is_as_probable_as_its_call_and_a_written_one_as_its_tokens_too(model):
    torch.manual_seed(4)
    images, mask = torch.rand(1, 1, 1, 32, 32), torch.ones(1, 1, dtype=torch.bool)
    questions = asked([0], [[7, 8]], [True])
    with torch.no_grad():
        model.head.answers.weight.zero_()
        model.head.words.bias.data = torch.tensor([0.1, 1.2, 0.7])
        known = model.answer(images, mask, questions, GenerateConfig(max_tokens=4))
        p = model.head.words.bias.softmax(0)
        assert torch.sigmoid(known.log_odds_q).item() == pytest.approx(p[1].item(), rel=1e-5)
        model.head.words.bias.data = torch.tensor([0.1, 0.7, 1.2])
        written = model.answer(images, mask, questions, GenerateConfig(max_tokens=2))
        wanted = model.head.words.bias.softmax(0)[2]
        for place, token in enumerate(written.ids_qu[0].tolist()):  # a token at a time, each from those before it
            so_far = written.ids_qu[:, : place + 1]
            logits = model(images, mask, questions, torch.tensor([2]), so_far).logits_quv
            wanted = wanted * logits[0, place].softmax(0)[token]
            if token == model.decoder.end:
                break
    assert torch.sigmoid(written.log_odds_q).item() == pytest.approx(wanted.item(), rel=1e-3)


def test_what_comes_after_the_end_of_an_answer_does_not_count(model):
    torch.manual_seed(5)
    prefix, mask = torch.randn(1, 3, 32), torch.ones(1, 3, dtype=torch.bool)
    end = model.decoder.end
    short, long = torch.tensor([[5, end]]), torch.tensor([[5, end, 9, 9]])
    with torch.no_grad():
        said = [model._log_probability(prefix, mask, ids) for ids in (short, long)]
    torch.testing.assert_close(*said)


def test_called_and_written_answers_have_confidences_of_their_own(model):
    torch.manual_seed(6)
    images, mask = torch.rand(1, 1, 1, 32, 32), torch.ones(1, 1, dtype=torch.bool)
    questions = asked([0], [[7, 8]], [True])
    with torch.no_grad():
        model.head.answers.weight.zero_()
        model.decisions.temperature.fill_(2.0)
        model.decisions.offset.copy_(torch.tensor([0.3, -0.4]))
        for bias, offset in (([-1.0, 1.0, 0.0], 0.3), ([-1.0, 0.0, 1.0], -0.4)):
            model.head.words.bias.data = torch.tensor(bias)
            found = model.answer(images, mask, questions, GenerateConfig(max_tokens=3))
            torch.testing.assert_close(found.confidence_q, torch.sigmoid(found.log_odds_q / 2 + offset))
        model.decisions.temperature.fill_(1.0)
        model.decisions.offset.zero_()


def test_images_unlike_those_of_validation_are_strange_only_to_questions_that_see_them(model):
    images, mask = torch.rand(1, 1, 1, 32, 32), torch.ones(1, 1, dtype=torch.bool)
    questions = asked([0, 0], [[7, 8], [7, 8]], [True, False])
    model.familiarity.limit.fill_(-1.0)
    found = model.answer(images, mask, questions, GenerateConfig(max_tokens=3))
    model.familiarity.limit.fill_(float("inf"))
    assert found.strange_q.tolist() == [True, False]
