"""An independent run confirms ``metrics.json``: from ``predictions.jsonl`` and the card alone, by other programs."""

import json

import numpy as np
import pytest
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge
from sklearn.metrics import cohen_kappa_score, f1_score, precision_score, recall_score

from medmm.config.schema import Config, SplitConfig
from medmm.data.manifest import Manifest, build
from medmm.metrics.tokenizers import tokenizer_named
from medmm.scoring.evaluation import Request
from medmm.scoring.report_evaluation import evaluate_model

TEXTS = [
    "FINDINGS: The lungs are clear. Heart size is normal. IMPRESSION: No acute disease.",
    "FINDINGS: There is a small left pleural effusion. IMPRESSION: Small left pleural effusion.",
    "FINDINGS: Moderate right pleural effusion with atelectasis. IMPRESSION: Right effusion, atelectasis.",
    "FINDINGS: Large left pneumothorax. The heart is enlarged. IMPRESSION: Left pneumothorax. Cardiomegaly.",
    "FINDINGS: Possible right lower lobe pneumonia. No effusion. IMPRESSION: Possible pneumonia, unchanged.",
    "FINDINGS: Mild cardiomegaly. Mild bilateral pleural effusions. IMPRESSION: Cardiomegaly and effusions.",
]


@pytest.fixture(scope="module")
def levels():
    """True text and drafted text of forty studies."""
    generator = np.random.default_rng(3)
    truth = generator.integers(0, len(TEXTS), 40)
    return truth, np.where(generator.random(40) < 0.5, truth, generator.integers(0, len(TEXTS), 40))


@pytest.fixture(params=["negative", "positive", "ignored"])
def written(request, tmp_path, make_study, grey_model, levels):
    """The lines of predictions.jsonl and metrics.json of an evaluation."""
    studies = [
        make_study(f"s{place}", int(drafted) * 10, TEXTS[there], patient=f"p{place // 2}")
        for place, (there, drafted) in enumerate(zip(*levels, strict=True))
    ]
    config = Config.model_validate(
        {
            "preprocess": {"size": 64},
            "data": {"reader": "openi", "path": "x"},
            "evaluate": {"min_positives": 3, "bootstrap": 100, "tokenizer": "ptb", "uncertain": request.param},
        }
    )
    build(studies, tmp_path / "m.parquet", SplitConfig(val=0), lambda rejection: None)
    request = Request(Manifest.open(tmp_path / "m.parquet"), config, "test", tmp_path / "out")
    evaluate_model(grey_model(TEXTS), request)
    lines = [json.loads(line) for line in (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()]
    return lines, json.loads((tmp_path / "out" / "metrics.json").read_text())


def _matrix(lines, source, names, status):
    return np.array([[line["findings"].get(name, {}).get(source) == status for name in names] for line in lines])


def test_text_metrics_are_pycocoevalcaps(written):
    lines, metrics = written
    tokens = tokenizer_named(metrics["card"]["tokenizer"])
    there = {place: [" ".join(tokens(line["reference"]))] for place, line in enumerate(lines)}
    said = {place: [" ".join(tokens(line["draft"]))] for place, line in enumerate(lines)}
    bleu = Bleu(4).compute_score(there, said, verbose=0)[0]
    others = {f"bleu_{order + 1}": value for order, value in enumerate(bleu)}
    others |= {"rouge_l": Rouge().compute_score(there, said)[0], "cider_d": Cider().compute_score(there, said)[0]}
    for name, value in others.items():
        assert metrics["test"][name] == pytest.approx(value, abs=1e-9), name


def test_clinical_metrics_are_sklearns(written):
    lines, metrics = written
    names = [name for name, number in metrics["card"]["counts"]["positives"].items() if number >= 3]
    there, said = (_matrix(lines, source, names, "present") for source in ("truth", "draft"))
    assert len(names) >= 3
    for metric, score in (("f1", f1_score), ("precision", precision_score), ("recall", recall_score)):
        for average in ("macro", "micro"):
            value = score(there, said, average=average, zero_division=0)
            assert metrics["test"][f"clinical_{metric}_{average}"] == pytest.approx(value, abs=1e-9)
        for name, value in zip(names, score(there, said, average=None, zero_division=0), strict=True):
            assert metrics["test"][f"clinical_{metric}/{name}"] == pytest.approx(value, abs=1e-9)


def test_the_five_classes_are_sklearns_under_each_policy(written):
    lines, metrics = written
    policy = metrics["card"]["uncertain"]
    five = ("atelectasis", "cardiomegaly", "consolidation", "edema", "pleural_effusion")
    values = []
    for name in five:
        columns = {
            source: [line["findings"].get(name, {}).get(source, "unmentioned") for line in lines]
            for source in ("truth", "draft")
        }
        counted = [policy != "ignored" or "uncertain" not in pair for pair in zip(*columns.values(), strict=True)]
        as_present = {"present", "uncertain"} if policy == "positive" else {"present"}
        there, said = (
            [status in as_present for status, counts in zip(column, counted, strict=True) if counts]
            for column in columns.values()
        )
        if sum(status in as_present for status in columns["truth"]) >= 3:
            values.append(f1_score(there, said, zero_division=0))
            assert metrics["test"][f"clinical_f1_5/{name}"] == pytest.approx(values[-1], abs=1e-9)
    assert metrics["test"]["clinical_f1_macro_5"] == pytest.approx(np.mean(values), abs=1e-9)


def test_sides_errors_and_priors_by_counting(written):
    lines, metrics = written
    pairs, made_up, left_out, exact = [], 0, 0, 0
    for line in lines:
        findings = {name: entry for name, entry in line["findings"].items() if name != "no_finding"}
        for entry in findings.values():
            side = entry.get("laterality", {})
            if entry["truth"] == entry["draft"] == "present" and {"truth", "draft"} <= side.keys():
                pairs.append((side["truth"], side["draft"]))
        made_up += sum(e["draft"] == "present" and e["truth"] in ("absent", "unmentioned") for e in findings.values())
        left_out += sum(e["truth"] == "present" and e["draft"] in ("absent", "unmentioned") for e in findings.values())
        exact += all((entry["truth"] == "present") == (entry["draft"] == "present") for entry in findings.values())
    test = metrics["test"]
    there, said = zip(*pairs, strict=True)
    assert test["laterality_agreement"] == pytest.approx(np.mean(np.array(there) == np.array(said)), abs=1e-9)
    assert test["laterality_kappa"] == pytest.approx(cohen_kappa_score(there, said), abs=1e-9)
    assert test["hallucinated_per_report"] == pytest.approx(made_up / len(lines), abs=1e-9)
    assert test["omitted_per_report"] == pytest.approx(left_out / len(lines), abs=1e-9)
    assert test["exact_match"] == pytest.approx(exact / len(lines), abs=1e-9)
    unchanged = sum("unchanged" in line["draft"] for line in lines)
    assert test["prior_reference_rate"] == pytest.approx(unchanged / len(lines), abs=1e-9)
