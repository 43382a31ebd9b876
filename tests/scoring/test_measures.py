from typing import get_args

import numpy as np
import pytest

from medmm.config.evaluation import EvaluateConfig, LabelerConfig, Tokenizer
from medmm.config.schema import Config
from medmm.errors import ConfigError, UsageError
from medmm.metrics.bertscore import BertScores
from medmm.metrics.text import score_texts
from medmm.metrics.tokenizers import TOKENIZERS
from medmm.reports.findings import CORE_FINDINGS, label_report
from medmm.reports.labelers import choose_labeler
from medmm.scoring.measures import Instruments, Tools, without_masks
from medmm.scoring.samples import every_name, finding_names
from medmm.scoring.scores import summary_names

REFERENCES = [
    "Small left pleural effusion. XXXX.",
    "Right pneumothorax.",
    "The lungs are clear.",
    "Possible pneumonia.",
]
DRAFTS = ["Right pleural effusion.", "Right pneumothorax.", "The lungs are clear.", "Pneumonia."]
NAMES = ("pleural_effusion", "pneumonia", "pneumothorax")


def judge(references, drafts):
    """Counts words of each draft."""
    return {"words": [len(draft.split()) for draft in drafts]}


def _measure(**settings):
    config = EvaluateConfig(min_positives=1, **settings)
    truth = [label_report(text) for text in REFERENCES]
    instruments = Instruments(REFERENCES, truth, NAMES, NAMES, config)
    return instruments, instruments.measure(DRAFTS, [label_report(text) for text in DRAFTS])


def _values(**settings):
    return {name: float(value) for name, value in _measure(**settings)[1].scores().items()}


@pytest.mark.parametrize(
    ("groups", "some", "none"),
    [
        (("text",), "bleu_4", "meteor"),
        (("clinical",), "clinical_f1_macro", "bleu_4"),
        (("text", "meteor"), "meteor", "chrf"),
        (("text", "chrf"), "chrf", "clinical_f1_macro"),
        (("text", "chexpert"), "clinical_f1_macro_14", "clinical_f1_macro"),
        (("text", "attributes"), "laterality_agreement", "exact_match"),
        (("text", "errors"), "hallucinated_per_report", "prior_reference_rate"),
        (("text", "priors"), "prior_reference_rate", "clinical_f1_macro"),
    ],
)
def test_groups_are_what_is_asked_for(groups, some, none):
    values = _values(metrics=groups)
    assert some in values
    assert none not in values


def test_uncertain_mentions_count_as_asked():
    # pneumonia: doubted in the reference, stated in the draft
    assert "clinical_f1_14/pneumonia" not in _values()
    assert _values(uncertain="positive")["clinical_f1_14/pneumonia"] == 1.0
    assert _values(uncertain="positive")["clinical_f1_all/pneumonia"] == 1.0
    assert "clinical_f1/pneumonia" not in _values(uncertain="positive")
    # micro over the five: effusion alone has a positive
    assert _values(uncertain="ignored")["clinical_f1_micro_5"] == 1.0


def test_a_finding_read_along_with_another_is_counted_once():
    texts = ["Left rib fracture.", "Right PICC.", "Calcified granuloma.", "Compression fracture.", "Normal chest."]
    labeler = choose_labeler(LabelerConfig())
    config = EvaluateConfig(min_positives=1, metrics=("text", "errors"))
    every, normal = labeler.findings, ["Normal chest."] * 5
    for there, said, name in ((normal, texts, "hallucinated_per_report"), (texts, normal, "omitted_per_report")):
        truth, drafted = labeler.label_all(there), labeler.label_all(said)
        tools = Tools.load(config, labeler)
        values = Instruments(there, truth, (), every, config, tools=tools).measure(said, drafted).scores()
        assert float(values[name]) == pytest.approx(4 / 5)
        assert float(values["exact_match"]) == pytest.approx(1 / 5)


def test_the_findings_of_each_average_are_told():
    assert _measure()[1].averaged() == {
        "clinical_f1_macro": ("pleural_effusion", "pneumothorax"),
        "clinical_f1_macro_all": ("pleural_effusion", "pneumothorax"),
        "clinical_f1_macro_14": ("no_finding", "pleural_effusion", "pneumothorax"),
        "clinical_f1_macro_5": ("pleural_effusion",),
    }
    assert _measure(uncertain="positive")[1].averaged()["clinical_f1_macro_all"] == NAMES


@pytest.mark.parametrize("resamples", [1, 99])
def test_few_resamples_are_refused(resamples):
    with pytest.raises((ConfigError, ValueError), match=r"evaluate\.bootstrap must be 0 or at least 100"):
        EvaluateConfig(bootstrap=resamples)
    assert [EvaluateConfig(bootstrap=number).bootstrap for number in (0, 100)] == [0, 100]


def test_sides_are_compared_where_both_state_them():
    # effusion left against right, pneumothorax right in both
    assert _values()["laterality_agreement"] == 0.5
    instruments, measures = _measure()
    few = Instruments(REFERENCES, [label_report(one) for one in REFERENCES], NAMES, NAMES, EvaluateConfig())
    left = few.measure(DRAFTS, [label_report(one) for one in DRAFTS])
    assert "laterality_agreement" not in left.scores()
    assert "laterality (2)" in " ".join(left.notes)
    assert instruments.implementations["meteor"].startswith("meteor (exact, stem")


def test_masks_are_taken_out_on_request():
    assert without_masks("XXXX is seen ___ xxx on XX/XX") == "is seen on /"
    assert without_masks("Xray of box X") == "Xray of box X"
    cleaned = score_texts([without_masks(text) for text in REFERENCES], DRAFTS)
    for name, value in cleaned.items():
        assert _values(cleaning="masks")[name] == pytest.approx(value), name
    assert _values()["bleu_1"] != pytest.approx(cleaned["bleu_1"])


def test_a_judge_is_one_more_metric_with_its_version():
    instruments, measures = _measure(judges=(f"{__name__}:judge",))
    assert measures.scores()["judge_words"] == pytest.approx(np.mean([3, 2, 4, 1]))
    assert measures.scores(np.array([[0, 1, 0, 1]]))["judge_words"] == pytest.approx([1.5])
    assert instruments.implementations["judge_words"] == f"{__name__}:judge, version unknown"
    assert "judge_words" in summary_names({"judge_words": 1.0, "clinical_f1/x": 1.0})
    with pytest.raises(UsageError, match="the judge cannot be imported"):
        _measure(judges=("no_such_module:judge",))


def test_bertscore_is_one_more_metric_with_its_name(monkeypatch, tmp_path):
    class Encoder:
        def __init__(self, folder):
            assert folder == tmp_path

        def score(self, references, drafts):
            same = np.array([float(one == other) for one, other in zip(references, drafts, strict=True)])
            return BertScores("BERTScore (tiny)", same, same / 2, same / 4)

    monkeypatch.setattr("medmm.scoring.measures.BertScorer", Encoder)
    instruments, measures = _measure(bertscore_model=tmp_path)
    assert measures.scores()["bertscore_f1"] == 0.125
    assert measures.beside(measures).scores(np.eye(8)[1])["bertscore_precision"] == 1.0
    assert instruments.implementations["bertscore"] == "BERTScore (tiny)"
    assert "bertscore_f1" in summary_names({"bertscore_f1": 0.5})


def test_a_wider_vocabulary_leaves_the_main_figure_alone():
    config = Config.model_validate({"data": {"reader": "openi", "path": "x"}})
    names, every = finding_names([], config), every_name([], config)
    assert set(names) == set(CORE_FINDINGS) - {"no_finding"}
    assert set(names) < set(every)


def test_every_tokenizer_can_be_chosen():
    assert get_args(Tokenizer) == tuple(TOKENIZERS)


@pytest.mark.parametrize(
    ("metrics", "words"), [((), "must hold text or clinical"), (("text", "text"), "names text twice")]
)
def test_metrics_that_make_no_sense_are_refused(metrics, words):
    with pytest.raises((ConfigError, ValueError), match=words):
        EvaluateConfig(metrics=metrics)
