"""Findings asked for in words: sentences, vectors, files that are refused, words that nobody knows."""

import pytest
import torch

from medmm.errors import ConfigError
from medmm.models.tokenizer import learn_tokenizer
from medmm.tasks.prompts import Prompts, load_prompts, unknown_words

PROMPTS = Prompts(("there is {finding}.", "{finding}."), ("no {finding}.",), {"effusion": ("effusion", "fluid")})


def test_each_template_meets_each_name():
    absent, present = PROMPTS.texts("effusion")
    assert absent == ["No effusion.", "No fluid."]
    assert present == ["There is effusion.", "There is fluid.", "Effusion.", "Fluid."]
    assert PROMPTS.texts("rib_fracture") == (["No rib fracture."], ["There is rib fracture.", "Rib fracture."])


def test_vectors_are_the_mean_of_the_sentences_of_absence_then_of_presence():
    table = {}

    def embed(texts):
        for text in texts:
            table.setdefault(text, torch.nn.functional.normalize(torch.randn(4), dim=0))
        return torch.stack([table[text] for text in texts])

    found = PROMPTS.vectors(["effusion"], embed)
    for place, texts in enumerate(PROMPTS.texts("effusion")):
        mean = sum(table[text] for text in texts) / len(texts)
        torch.testing.assert_close(found[0, place], mean / mean.norm())
    assert PROMPTS.vectors([], embed).shape[:2] == (0, 2)


def test_what_is_written_is_read_again(tmp_path):
    PROMPTS.save(tmp_path / "mine.yaml")
    assert load_prompts(tmp_path / "mine.yaml") == PROMPTS


def test_the_packaged_prompts_ask_for_both():
    packaged = load_prompts(None)
    absent, present = packaged.texts("edema")
    assert "No pulmonary edema." in absent
    assert "There is pulmonary edema." in present


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("present: [a {finding}\n", "cannot be read"),
        ("present: ['{finding}']\n", "cannot be read"),
        ("- one\n", "cannot be read"),
        ("", "cannot be read"),
        ("present: ['{finding}']\nabsent: []\n", "no place for the finding"),
        ("present: ['{finding}']\nabsent: [none]\n", "got 'none'"),
        ("present: ['{finding} {finding}']\nabsent: ['no {finding}']\n", "no place for the finding"),
        ("present: '{finding}'\nabsent: ['no {finding}']\n", "cannot be read"),
        ("present: ['{finding}']\nabsent: ['no {finding}']\nnames: [edema]\n", "cannot be read"),
        ("present: ['{finding}']\nabsent: ['no {finding}']\nnames: {edema: fluid}\n", "cannot be read"),
    ],
)
def test_prompts_that_cannot_be_used_are_refused(tmp_path, text, said):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ConfigError, match=said) as caught:
        load_prompts(tmp_path / "mine.yaml")
    assert "prompts.file" in str(caught.value)


def test_a_file_that_is_absent_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_prompts(tmp_path / "absent.yaml")


def test_words_that_training_did_not_know_are_named_once():
    tokenizer = learn_tokenizer(["There is a small left pleural effusion."] * 9, 400, masks=True)
    assert unknown_words("small left effusion, xqzjk 12 xqzjk", tokenizer) == ["xqzjk"]
    assert unknown_words("pleural effusion", tokenizer) == []
