"""Text to ids and back."""

import pytest

from medmm.errors import CheckpointError
from medmm.models.tokenizer import learn_tokenizer, load_tokenizer

TEXTS = ["FINDINGS: There is a small left pleural effusion.", "IMPRESSION: No pneumothorax. XXXX 3.5 cm nodule."] * 20


@pytest.fixture(scope="module")
def tokenizer():
    return learn_tokenizer(TEXTS, 400)


def test_any_text_comes_back(tokenizer):
    for text in (*TEXTS[:2], "Ünlikely: ≥ 3 µm – ☢", "no  double   blanks"):
        ids, cut = tokenizer.encode(text, 200)
        assert not cut
        assert ids[-1] == tokenizer.end
        assert tokenizer.decode(ids.tolist()) == " ".join(text.split())


def test_learned_texts_take_few_tokens(tokenizer):
    assert len(tokenizer.encode(TEXTS[0], 200)[0]) <= 12
    assert tokenizer.size <= 400


def test_a_long_text_is_cut_and_said_so(tokenizer):
    ids, cut = tokenizer.encode(TEXTS[0], 5)
    assert (len(ids), cut, ids[-1]) == (5, True, tokenizer.end)


def test_decoding_stops_at_the_end(tokenizer):
    ids = tokenizer.encode("left", 50)[0].tolist()
    assert tokenizer.decode([*ids, *ids, tokenizer.pad]) == "left"


def test_it_is_the_same_after_saving_and_learning_again(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    again, twin = load_tokenizer(tmp_path), learn_tokenizer(TEXTS, 400)
    for other in (again, twin):
        assert (other.begin, other.end, other.pad) == (tokenizer.begin, tokenizer.end, tokenizer.pad)
        assert other.encode(TEXTS[1], 99)[0].tolist() == tokenizer.encode(TEXTS[1], 99)[0].tolist()


def test_a_folder_without_tokenizer_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="tokenizer"):
        load_tokenizer(tmp_path)
