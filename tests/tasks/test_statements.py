"""Reports as sentences with what each says, and the texts that are drawn from them."""

import numpy as np
import pytest
import torch

from medmm.config.pretraining import PretrainConfig
from medmm.config.schema import TargetConfig
from medmm.data.dataset import Batch
from medmm.models.heads import SIDES
from medmm.models.tokenizer import learn_tokenizer
from medmm.reports.findings import rule_labeler
from medmm.reports.parse import parse_report
from medmm.tasks.losses import NO_SIDE
from medmm.tasks.statements import (
    ABSENT,
    PADDING,
    PRESENT,
    UNKNOWN,
    drawn,
    joined,
    statement_targets,
    statements,
    target_sentences,
    unchanged,
)
from medmm.types import Laterality

NAMES = ("nodule", "pneumothorax", "cardiomegaly")
LEFT, RIGHT = SIDES.index(Laterality.LEFT), SIDES.index(Laterality.RIGHT)
TARGET = TargetConfig(sections=("findings", "impression"))
LONG = "FINDINGS: There is a left lung nodule. No pneumothorax. The ribs are whole. IMPRESSION: Left nodule."
REPORTS = (LONG, "FINDINGS: Cardiomegaly.", "FINDINGS: The lungs are clear. No pneumothorax. IMPRESSION: Normal chest.")
LABELER = rule_labeler(None)
TOKENIZER = learn_tokenizer([text.replace("FINDINGS: ", "").replace("IMPRESSION: ", "") for text in REPORTS] * 5, 400,
                            masks=True)  # fmt: skip


def sentences(text, **target):
    return target_sentences(parse_report(text), TARGET.model_copy(update=target))


def batch(longest=64):
    """The three reports as the training loop puts them together."""
    targets = []
    for text in REPORTS:
        found, _ = statement_targets(statements(parse_report(text), TARGET, LABELER), NAMES, TOKENIZER, longest)
        targets.append(found)
    stacked = {}
    for name in targets[0]:
        size = max(len(one[name]) for one in targets)
        rows = [np.pad(one[name], (0, size - len(one[name])), constant_values=PADDING.get(name, 0)) for one in targets]
        stacked[name] = torch.from_numpy(np.stack(rows))
    return Batch(("a", "b", "c"), torch.zeros(3, 1, 1, 4, 4), torch.ones(3, 1, dtype=torch.bool), stacked)


def read(texts):
    """Each text in words, without begin and end."""
    rows = []
    for ids, mask in zip(texts.ids_bt.tolist(), texts.mask_bt.tolist(), strict=True):
        kept = [one for one, there in zip(ids, mask, strict=True) if there]
        assert (kept[0], kept[-1]) == (TOKENIZER.begin, TOKENIZER.end)
        assert set(ids[len(kept) :]) <= {TOKENIZER.pad}
        rows.append(TOKENIZER.decode(kept[1:]))
    return rows


def own(text):
    return [one.text for one in statements(parse_report(text), TARGET, LABELER)]


def test_sentences_come_by_section_and_a_merged_section_once():
    assert sentences(LONG)[-2:] == [(0, "The ribs are whole."), (1, "Left nodule.")]
    assert [section for section, _ in sentences(LONG)] == [0, 0, 0, 1]
    assert sentences("FINDINGS AND IMPRESSION: Normal chest. No nodule.") == [(0, "Normal chest."), (0, "No nodule.")]
    assert sentences(LONG, sections=("impression",)) == [(0, "Left nodule.")]
    assert sentences("No headings here. All is well.") == []
    assert sentences("No headings here. All is well.", whole_text=True) == [
        (0, "No headings here."),
        (0, "All is well."),
    ]
    assert sentences("INDICATION: Cough.", whole_text=True) == []


def test_each_sentence_says_what_it_says_and_the_report_what_they_say_together():
    targets, cut = statement_targets(statements(parse_report(LONG), TARGET, LABELER), NAMES, TOKENIZER, 64)
    said, sides = targets["said"].reshape(4, 3), targets["sides"].reshape(4, 3)
    assert said.tolist() == [[PRESENT, UNKNOWN, UNKNOWN], [UNKNOWN, ABSENT, UNKNOWN], [UNKNOWN] * 3,
                             [PRESENT, UNKNOWN, UNKNOWN]]  # fmt: skip
    assert sides[:, 0].tolist() == [LEFT, NO_SIDE, NO_SIDE, LEFT]
    assert targets["shown"].tolist() == [PRESENT, ABSENT, UNKNOWN]
    assert targets["shown_side"].tolist() == [LEFT, NO_SIDE, NO_SIDE]
    assert (targets["sections"].tolist(), cut) == ([0, 0, 0, 1], False)
    assert TOKENIZER.decode(targets["words"]) == " ".join(own(LONG))
    assert targets["lengths"].sum() == len(targets["words"])
    assert statement_targets(statements(parse_report(LONG), TARGET, LABELER), NAMES, TOKENIZER, 12)[1]


def test_present_wins_over_absent_and_the_first_side_counts():
    said = np.array([[[ABSENT, UNKNOWN], [PRESENT, ABSENT], [PRESENT, UNKNOWN]]])
    side = np.array([[[NO_SIDE, LEFT], [RIGHT, NO_SIDE], [LEFT, NO_SIDE]]])
    whole, sides = joined(said, side)
    assert whole.tolist() == [[PRESENT, ABSENT]]
    assert sides.tolist() == [[RIGHT, NO_SIDE]]  # what is absent has no side


def test_the_whole_report_stands_unchanged():
    texts = unchanged(batch(), 3, TOKENIZER, 64)
    assert read(texts) == [" ".join(own(text)) for text in REPORTS]
    assert texts.whole_b.tolist() == [True] * 3
    assert texts.said_bf.tolist() == [
        [PRESENT, ABSENT, UNKNOWN],
        [UNKNOWN, UNKNOWN, PRESENT],
        [ABSENT, ABSENT, UNKNOWN],
    ]
    assert texts.side_bf[0].tolist() == [LEFT, NO_SIDE, NO_SIDE]


def draw(seed, longest=64, **settings):
    torch.manual_seed(seed)
    return drawn(batch(), 3, TOKENIZER, PretrainConfig(**settings), longest)


def labels_of(text):
    """What a drawn text says, told from its words alone."""
    labels = [one.labels for one in statements(parse_report(f"FINDINGS: {text}"), TARGET, LABELER)]
    found = []
    for name in NAMES:
        stated = {str(one[name].status) for one in labels if name in one}
        found.append(PRESENT if "present" in stated else ABSENT if "absent" in stated else UNKNOWN)
    return found


@pytest.mark.parametrize(
    "settings", [{"excerpt": 1}, {"excerpt": 0, "one_section": 1}, {"excerpt": 0, "one_section": 0}]
)
@pytest.mark.parametrize("shuffle", [True, False])
def test_what_is_drawn_repeats_and_says_what_its_words_say(settings, shuffle):
    seen = set()
    for seed in range(6):
        texts = draw(seed, shuffle=shuffle, **settings)
        assert read(draw(seed, shuffle=shuffle, **settings)) == read(texts)
        for place, text in enumerate(read(texts)):
            assert texts.said_bf[place].tolist() == labels_of(text)
            parts = [one for one in own(REPORTS[place]) if one in text]
            assert sum(map(len, parts)) + len(parts) - 1 == len(text)
            assert bool(texts.whole_b[place]) == (len(parts) == len(own(REPORTS[place])))
            if settings["excerpt"]:
                assert len(parts) <= 3
            if not shuffle:
                assert text == " ".join(parts)
        seen.add(read(texts)[0])
    assert len(seen) > 1 or not (shuffle or settings["excerpt"] or settings["one_section"])


def test_one_section_is_all_of_it():
    texts = {read(draw(seed, excerpt=0, one_section=1, shuffle=False))[0] for seed in range(12)}
    assert texts == {" ".join(own(LONG)[:3]), "Left nodule."}


def test_what_is_cut_off_is_not_said():
    lengths = batch().targets["lengths"][0].tolist()
    texts = unchanged(batch(), 3, TOKENIZER, 2 + lengths[0])
    assert read(texts)[0] == "There is a left lung nodule."
    assert texts.said_bf[0].tolist() == [PRESENT, UNKNOWN, UNKNOWN]
    assert texts.whole_b.tolist()[0] is False
    assert texts.ids_bt.shape[1] <= 2 + lengths[0]


def test_findings_may_be_none():
    some = batch()
    for name in ("said", "sides"):
        some.targets[name] = torch.zeros(3, 0, dtype=torch.long)
    texts = unchanged(some, 0, TOKENIZER, 64)
    assert texts.said_bf.shape == (3, 0)
    assert read(texts)[1] == "Cardiomegaly."
