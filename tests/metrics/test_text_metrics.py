"""BLEU, ROUGE-L and CIDEr-D against pycocoevalcap on the same tokens, and against sums done by hand."""

from __future__ import annotations

import csv
import json
import math
import random
from pathlib import Path

import numpy as np
import pytest

from medmm.errors import UsageError
from medmm.metrics.cider import document_frequencies
from medmm.metrics.text import NAMES, rouge_l, score_texts, text_statistics
from medmm.metrics.tokenizers import TOKENIZERS

VOCABULARY = "no acute effusion left right small large heart lungs clear the is nodule . mild".split()


def oracle(references: list, drafts: list[list[str]]) -> tuple[list[float], list[np.ndarray]]:
    """Pycocoevalcap's scores of the corpus and of each study, in the order of ``NAMES``; one or several references."""
    bleu = pytest.importorskip("pycocoevalcap.bleu.bleu").Bleu(4)
    rouge = pytest.importorskip("pycocoevalcap.rouge.rouge").Rouge()
    cider = pytest.importorskip("pycocoevalcap.cider.cider").Cider()
    grouped = [group if group and isinstance(group[0], list) else [group] for group in references]
    gts = {number: [" ".join(tokens) for tokens in group] for number, group in enumerate(grouped)}
    res = {number: [" ".join(tokens)] for number, tokens in enumerate(drafts)}
    bleus, bleu_each = bleu.compute_score(gts, res, verbose=0)
    rouge_mean, rouge_each = rouge.compute_score(gts, res)
    cider_mean, cider_each = cider.compute_score(gts, res)
    each = [*(np.array(values) for values in bleu_each), rouge_each, cider_each]
    return [*bleus, rouge_mean, cider_mean], each


def assert_equal_to_oracle(references: list, drafts: list[list[str]]) -> None:
    statistics = text_statistics(references, drafts)
    corpus, each = oracle(references, drafts)
    got = statistics.scores()
    got_each = statistics.each()
    for name, want, want_each in zip(NAMES, corpus, each, strict=True):
        assert float(got[name]) == pytest.approx(want, abs=1e-9), name
        np.testing.assert_allclose(got_each[name], want_each, atol=1e-9, rtol=0, err_msg=name)


@pytest.mark.parametrize("seed", range(5))
def test_random_texts_equal_pycocoevalcap(seed: int) -> None:
    generator = random.Random(seed)
    references = [generator.choices(VOCABULARY, k=generator.randint(1, 40)) for _ in range(30)]
    drafts = [generator.choices(VOCABULARY, k=generator.randint(1, 40)) for _ in range(30)]
    drafts[0], drafts[1] = references[0], []
    references[2], references[3], drafts[3] = ["heart"], [], []
    assert_equal_to_oracle(references, drafts)


@pytest.mark.parametrize("seed", range(3))
def test_several_references_equal_pycocoevalcap(seed: int) -> None:
    generator = random.Random(seed)
    drafts = [generator.choices(VOCABULARY, k=generator.randint(1, 30)) for _ in range(25)]
    several = [
        [generator.choices(VOCABULARY, k=generator.randint(1, 30)) for _ in range(generator.randint(1, 4))]
        for _ in drafts
    ]
    assert_equal_to_oracle(several, drafts)


def openi_texts(shared: Path, column: str) -> dict[str, str]:
    with (shared / "openi/indiana_reports.csv").open(newline="") as handle:
        return {row["uid"]: row[column] for row in csv.DictReader(handle)}


@pytest.mark.shared
def test_findings_against_impressions_of_all_open_i(shared: Path) -> None:
    findings, impressions = (openi_texts(shared, column) for column in ("findings", "impression"))
    cut = TOKENIZERS["ptb"]
    assert len(findings) == 3851
    assert_equal_to_oracle([cut(text) for text in findings.values()], [cut(text) for text in impressions.values()])


@pytest.mark.shared
@pytest.mark.parametrize("tokenizer", sorted(TOKENIZERS))
def test_r2gens_test_split_equals_pycocoevalcap(shared: Path, tokenizer: str) -> None:
    """Each report of the split that published tables use is scored as a draft of the next one."""
    split = json.loads((shared / "openi/r2gen_split.json").read_text(encoding="utf-8"))
    findings = openi_texts(shared, "findings")
    chosen = next(names for part, names in split.items() if part not in ("train", "val"))
    cut = TOKENIZERS[tokenizer]
    words = [cut(findings.get(name.split("_")[0].removeprefix("CXR"), "")) for name in chosen]
    assert len(words) == 590
    assert_equal_to_oracle(words, [*words[1:], words[0]])


@pytest.mark.slow
@pytest.mark.shared
def test_all_open_i_shuffled_equals_pycocoevalcap(shared: Path) -> None:
    columns = [openi_texts(shared, column).values() for column in ("findings", "impression")]
    words = [TOKENIZERS["ptb"](" ".join(texts)) for texts in zip(*columns, strict=True)]
    assert_equal_to_oracle(words, random.Random(0).sample(words, len(words)))


def test_document_frequencies_of_a_corpus() -> None:
    """With those of the references themselves nothing changes; with others, as if pycocoevalcap had counted them."""
    generator = random.Random(8)
    texts = [[generator.choices(VOCABULARY, k=generator.randint(1, 20)) for _ in range(40)] for _ in range(3)]
    references, drafts, corpus = texts
    corpus.append(["unheard", "word"])
    drafts[0] = ["unheard", "of", "effusion"]
    own = text_statistics(references, drafts, document_frequencies(references))
    np.testing.assert_allclose(own.cider_d, text_statistics(references, drafts).cider_d, atol=1e-12)
    module = pytest.importorskip("pycocoevalcap.cider.cider_scorer")
    scorer = module.CiderScorer()
    for reference, draft in zip(references, drafts, strict=True):
        scorer += (" ".join(draft), [" ".join(reference)])
    for document in corpus:
        for ngram in module.precook(" ".join(document)):
            scorer.document_frequency[ngram] += 1
    size, scorer.crefs = scorer.crefs, _Sized(scorer.crefs, len(corpus))
    want = scorer.compute_cider()
    assert len(size) == len(want)
    found = text_statistics(references, drafts, document_frequencies(corpus)).cider_d
    np.testing.assert_allclose(found, want, atol=1e-9)


class _Sized(list):
    """A list that says another length: pycocoevalcap takes the number of documents from its references."""

    def __init__(self, items: list, length: int) -> None:
        super().__init__(items)
        self._length = length

    def __len__(self) -> int:
        return self._length


def test_degenerate_texts_have_values() -> None:
    """Empty drafts, empty references, one study alone, Chinese without spaces: numbers, never NaN."""
    cases = [([[]], [[]]), ([["a"]], [[]]), ([[]], [["a"]]), ([["双肺清晰"]], [["双肺清晰"]])]
    for references, drafts in cases:
        statistics = text_statistics(references, drafts)
        for scores in (statistics.scores(), statistics.each(), statistics.scores(np.zeros((2, 1)))):
            for name, value in scores.items():
                assert np.isfinite(value).all(), name
    alone = text_statistics([["双肺清晰"]], [["双肺清晰"]]).scores()
    assert (float(alone["rouge_l"]), float(alone["cider_d"])) == (1.0, 0.0)
    assert float(alone["bleu_1"]) == pytest.approx(1, abs=1e-8)
    assert score_texts(["双肺清晰"], ["双肺模糊"], "characters")["bleu_1"] == pytest.approx(1 / 2, abs=1e-8)
    with pytest.raises(UsageError, match="without any reference"):
        text_statistics([[["a"]], []], [["a"], ["b"]])


def test_bleu_by_hand() -> None:
    """Draft of 4 words, reference of 6: 3 of 4 words, 1 of 3 bigrams match; brevity exp(1 - 6/4)."""
    scores = text_statistics(["a b c d e f".split()], ["a b x d".split()]).scores()
    brevity = math.exp(1 - 6 / 4)
    assert float(scores["bleu_1"]) == pytest.approx(3 / 4 * brevity, abs=1e-8)
    assert float(scores["bleu_2"]) == pytest.approx(math.sqrt(3 / 4 * 1 / 3) * brevity, abs=1e-8)
    assert float(scores["bleu_3"]) == pytest.approx(0, abs=1e-4)


def test_rouge_l_by_hand() -> None:
    """Longest common subsequence ``a b d``: precision 3/4, recall 3/6."""
    precision, recall, beta2 = 3 / 4, 3 / 6, 1.2**2
    want = (1 + beta2) * precision * recall / (recall + beta2 * precision)
    assert rouge_l("a b c d e f".split(), "a b x d".split()) == pytest.approx(want, abs=1e-12)
    assert rouge_l(["a"], ["b"]) == 0.0


def test_identical_texts_reach_the_top() -> None:
    texts = [f"finding {number} in the lung {number}".split() for number in range(5)]
    scores = text_statistics(texts, texts).scores()
    assert float(scores["bleu_4"]) == pytest.approx(1, abs=1e-8)
    assert float(scores["rouge_l"]) == pytest.approx(1)
    assert float(scores["cider_d"]) == pytest.approx(10)


def test_weights_count_studies_as_often() -> None:
    generator = random.Random(3)
    references = [generator.choices(VOCABULARY, k=12) for _ in range(8)]
    drafts = [generator.choices(VOCABULARY, k=10) for _ in range(8)]
    statistics = text_statistics(references, drafts)
    weights = np.array([[1] * 8, [2, 0, 1, 0, 3, 0, 1, 1]])
    rows = [number for number, times in enumerate(weights[1]) for _ in range(times)]
    both = statistics.scores(weights)
    repeated, _ = oracle([references[row] for row in rows], [drafts[row] for row in rows])
    for name, want in zip(NAMES[:5], repeated[:5], strict=True):
        assert both[name][1] == pytest.approx(want, abs=1e-9), name
        assert both[name][0] == pytest.approx(float(statistics.scores()[name]), abs=1e-12)
    assert both["cider_d"][1] == pytest.approx(statistics.cider_d[rows].mean(), abs=1e-12)


def test_score_texts() -> None:
    scores = score_texts(["No effusion.", "Clear lungs."], ["no effusion", "Clear heart"], "ptb")
    assert set(scores) == set(NAMES)
    assert scores["bleu_1"] == pytest.approx(3 / 4, abs=1e-8)
    assert score_texts(["No effusion."], ["no effusion"], "plain")["bleu_1"] == pytest.approx(1 / 2, abs=1e-8)


def test_wrong_use() -> None:
    with pytest.raises(UsageError, match="1 drafts"):
        text_statistics([["a"], ["b"]], [["a"]])
    with pytest.raises(UsageError):
        score_texts([], [])
    with pytest.raises(UsageError, match="r2gen"):
        score_texts(["a"], ["a"], "other")
