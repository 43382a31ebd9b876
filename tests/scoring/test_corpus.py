"""CIDEr-D with words counted in the training reports, against a small implementation made apart from the package."""

import math
from collections import Counter

import numpy as np
import pytest

from medmm.config.evaluation import EvaluateConfig
from medmm.config.schema import Config, SplitConfig
from medmm.data.manifest import Manifest, build
from medmm.errors import DataError, UsageError
from medmm.metrics.tokenizers import tokenizer_named
from medmm.reports.findings import label_report
from medmm.scoring.corpus import training_references
from medmm.scoring.measures import Instruments
from medmm.scoring.scores import Sample, Scorer

REFERENCES = ["Small left pleural effusion.", "Right pneumothorax is seen.", "The lungs are clear.", "No effusion."]
DRAFTS = ["Small right pleural effusion.", "Right pneumothorax.", "The lungs are clear.", "Xylophone effusion."]
CORPUS = ["The lungs are clear.", "The lungs are clear. No effusion.", "Left pleural effusion.", "Heart normal."] * 2


def grams(words, order):
    return Counter(tuple(words[k : k + order]) for k in range(len(words) - order + 1))


def cider_d(reference, draft, documents):
    """CIDEr-D of one pair (Vedantam et al., 2015): mean over orders of clipped cosine times length penalty, times ten.

    As in pycocoevalcap, the penalty is of the number of bigrams.
    """
    total = 0.0
    for order in range(1, 5):
        seen = Counter(gram for document in documents for gram in grams(document, order))
        said, there = grams(draft, order), grams(reference, order)

        def weight(counts, gram, seen=seen):
            return counts[gram] * (math.log(len(documents)) - math.log(max(1, seen[gram])))

        product = sum(min(weight(said, gram), weight(there, gram)) * weight(there, gram) for gram in said)
        norms = math.prod(math.sqrt(sum(weight(one, gram) ** 2 for gram in one)) for one in (said, there))
        total += product / norms if norms else 0.0
    gap = max(len(draft) - 1, 0) - max(len(reference) - 1, 0)
    return 10 / 4 * total * math.exp(-(gap**2) / (2 * 6**2))


def documents_of(texts):
    """Words of each text."""
    return [tokenizer_named("ptb")(text) for text in texts]


def measured(corpus):
    truth = [label_report(text) for text in REFERENCES]
    instruments = Instruments(REFERENCES, truth, (), (), EvaluateConfig(metrics=("text",)), corpus)
    measures = instruments.measure(DRAFTS, [label_report(text) for text in DRAFTS])
    return measures.parts["text"].cider_d, instruments.implementations["cider_d"]


@pytest.mark.parametrize("corpus", [CORPUS, REFERENCES])
def test_words_of_the_corpus_are_counted(corpus):
    words = documents_of(corpus)
    want = [cider_d(*map(tokenizer_named("ptb"), pair), words) for pair in zip(REFERENCES, DRAFTS, strict=True)]
    found, said = measured(iter(corpus))
    np.testing.assert_allclose(found, want, atol=1e-9)
    assert said == f"medmm.metrics.cider, sigma 6, document frequencies of the {len(corpus)} training reports"


def test_references_are_the_default_and_equal_pycocoevalcap():
    cider = pytest.importorskip("pycocoevalcap.cider.cider").Cider()
    pairs = [documents_of(texts) for texts in (REFERENCES, DRAFTS)]
    gts, res = ({number: [" ".join(words)] for number, words in enumerate(texts)} for texts in pairs)
    found, said = measured(None)
    np.testing.assert_allclose(found, cider.compute_score(gts, res)[1], atol=1e-9)
    np.testing.assert_allclose(found, measured(REFERENCES)[0], atol=1e-12)
    assert said == "medmm.metrics.cider, sigma 6, document frequencies of the references evaluated"
    assert not np.allclose(found, measured(CORPUS)[0])


def test_a_corpus_changes_cider_alone_and_an_empty_one_is_refused():
    samples = [Sample(str(k), str(k), "test", text, label_report(text), 1) for k, text in enumerate(REFERENCES)]
    config = EvaluateConfig(metrics=("text", "meteor"), bootstrap=0)
    found = [label_report(text) for text in DRAFTS]
    own, other = (Scorer(samples, (), config, 0, None, corpus).score(DRAFTS, found, False) for corpus in (None, CORPUS))
    assert {name for name in own.values if own.values[name] != other.values[name]} == {"cider_d"}
    with pytest.raises(UsageError, match="at least one document"):
        Scorer(samples, (), config, 0, None, [])


def test_the_corpus_is_the_training_split(tmp_path, make_study):
    studies = [make_study(f"r{k}", 0, f"FINDINGS: Text {k}.", split=("train", "test")[k % 2]) for k in range(6)]
    studies.append(make_study("bare", 0, "INDICATION: cough", split="train"))
    studies.append(make_study("none", 0, None, split="train"))
    build(studies, tmp_path / "manifest.parquet", SplitConfig(), lambda rejection: None)
    manifest = Manifest.open(tmp_path / "manifest.parquet")
    assert sorted(training_references(manifest, Config())) == [f"FINDINGS: Text {k}." for k in (0, 2, 4)]


def test_a_split_without_training_reports_is_named(tmp_path, make_study):
    studies = [make_study(f"r{k}", 0, f"FINDINGS: Text {k}.", split="test") for k in range(3)]
    build(studies, tmp_path / "manifest.parquet", SplitConfig(), lambda rejection: None)
    with pytest.raises(DataError, match="evaluate.cider_df"):
        list(training_references(Manifest.open(tmp_path / "manifest.parquet"), Config()))
