import json
import os
import stat

import cv2
import numpy as np
import pytest

from medmm.config.schema import Config, SplitConfig
from medmm.data.manifest import Manifest, build
from medmm.errors import DataError, UsageError
from medmm.io.image import read_image
from medmm.metrics.cider import document_frequencies
from medmm.metrics.text import score_texts
from medmm.reports.findings import label_report
from medmm.scoring.baselines import derangement
from medmm.scoring.evaluation import Request
from medmm.scoring.report_evaluation import evaluate_model
from medmm.scoring.tables import card_section, summary_table
from medmm.types import Finding, Status

NOTHING = "FINDINGS: The lungs are clear. IMPRESSION: No acute disease."
EFFUSION = "FINDINGS: There is a left pleural effusion. IMPRESSION: Pleural effusion."
COLLAPSE = "FINDINGS: Small right pneumothorax is seen. IMPRESSION: Pneumothorax."
BOTH = "FINDINGS: Left pleural effusion and right pneumothorax. IMPRESSION: Both."
DRAFTS = [NOTHING, EFFUSION, COLLAPSE, BOTH]


def _config(**evaluate):
    settings = {"tokenizer": "plain", "min_positives": 2, "bootstrap": 100, **evaluate}
    return Config.model_validate(
        {"preprocess": {"size": 64}, "evaluate": settings, "data": {"reader": "openi", "path": "x"}}
    )


def _evaluate(tmp_path, studies, model, config, split="test"):
    path = tmp_path / "manifest.parquet"
    build(studies, path, SplitConfig(val=0), lambda rejection: None)
    return evaluate_model(model, Request(Manifest.open(path), config, split, tmp_path / "out"))


@pytest.fixture
def studies(make_study):
    """Six test studies of five patients, and eight to train on; the draft is right for the first three."""
    test = [
        make_study("t0", 10, EFFUSION, patient="a"),
        make_study("t1", 20, COLLAPSE, patient="a"),
        make_study("t2", 0, NOTHING, patient="b"),
        make_study("t3", 30, EFFUSION, patient="c"),
        make_study("t4", 0, BOTH, patient="d"),
        make_study("t5", 10, NOTHING, patient="e"),
    ]
    train = [
        make_study(f"r{i}", level, text, split="train", noise=i + 1)
        for i, (level, text) in enumerate(
            [
                (12, EFFUSION),
                (8, NOTHING),
                (22, COLLAPSE),
                (5, NOTHING),
                (33, BOTH),
                (4, COLLAPSE),
                (60, NOTHING),
                (14, BOTH),
            ]
        )
    ]
    return [*train, *test]


def test_clinical_f1_by_hand(tmp_path, studies, grey_model):
    found = _evaluate(tmp_path, studies, grey_model(DRAFTS), _config())
    test = found.metrics["test"]
    # effusion: true in t0, t3, t4; drafted in t0, t3, t5. pneumothorax: true in t1, t4; drafted in t1, t3.
    assert test["clinical_f1/pleural_effusion"] == pytest.approx(2 * 2 / 6)
    assert test["clinical_f1/pneumothorax"] == pytest.approx(2 * 1 / 4)
    assert test["clinical_f1_macro"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert test["clinical_f1_micro"] == pytest.approx(2 * 3 / 10)
    page = (found.out / "metrics.md").read_text()
    assert "| pleural_effusion | 3 | 3 | 0.667 | 0.667 | 0.667 |" in page


def test_text_scores_are_those_of_drafts_against_references(tmp_path, studies, grey_model):
    test = _evaluate(tmp_path, studies, grey_model(DRAFTS), _config()).metrics["test"]
    references = [EFFUSION, COLLAPSE, NOTHING, EFFUSION, BOTH, NOTHING]
    drafts = [EFFUSION, COLLAPSE, NOTHING, BOTH, NOTHING, EFFUSION]
    for name, value in score_texts(references, drafts, "plain").items():
        assert test[name] == pytest.approx(value), name


def test_swapped_images_are_what_the_model_says_of_the_other_study(tmp_path, studies, grey_model):
    config = _config()
    model = grey_model(DRAFTS)
    found = _evaluate(tmp_path, studies, model, config)
    test = studies[8:]
    other = derangement([study.patient_key for study in test], config.seed)
    swapped = []
    for place in other:
        view = read_image(test[place].images[0].path, size=64).array[None, None]
        swapped.append(model.predict_batch(view, np.ones((1, 1), bool), ["x"])[0].report)
    references = [EFFUSION, COLLAPSE, NOTHING, EFFUSION, BOTH, NOTHING]
    baseline = found.metrics["baselines"]["swapped_image"]
    for name, value in score_texts(references, swapped, "plain").items():
        assert baseline[name] == pytest.approx(value), name
    gain = found.metrics["card"]["against_swapped"]["clinical_f1_macro"]
    assert gain == pytest.approx(found.metrics["test"]["clinical_f1_macro"] - baseline["clinical_f1_macro"])


def test_copied_baselines_against_brute_force(tmp_path, studies, grey_model):
    found = _evaluate(tmp_path, studies, grey_model(DRAFTS), _config())
    train, test = studies[:8], studies[8:]
    references = [" ".join(study.report.raw.split()) for study in test]
    nearest = []
    for one in test:
        pixels = cv2.imread(str(one.images[0].path), 0).astype(float)
        distances = [((cv2.imread(str(key.images[0].path), 0) - pixels) ** 2).sum() for key in train]
        nearest.append(train[int(np.argmin(distances))].report.raw)
    for name, copied in (("nearest_image", nearest), ("most_frequent", [NOTHING] * 6)):
        for metric, value in score_texts(references, copied, "plain").items():
            assert found.metrics["baselines"][name][metric] == pytest.approx(value), (name, metric)


def test_intervals_hold_the_value_and_resample_patients(tmp_path, studies, grey_model):
    metrics = _evaluate(tmp_path, studies, grey_model(DRAFTS), _config(bootstrap=200)).metrics
    assert set(metrics["ci95"]) == set(metrics["test"])
    for name, (low, high) in metrics["ci95"].items():
        assert low <= metrics["test"][name] <= high, name
    assert _evaluate(tmp_path, studies, grey_model(DRAFTS), _config(bootstrap=0)).metrics["ci95"] == {}


def test_files_hold_what_was_found(tmp_path, studies, grey_model):
    found = _evaluate(tmp_path, studies, grey_model(DRAFTS, provenance={"split_hash": "other"}), _config())
    out = tmp_path / "out"
    assert json.loads((out / "metrics.json").read_text()) == json.loads(json.dumps(found.metrics))
    assert list(json.loads((out / "metrics.json").read_text())) == ["test", "ci95", "baselines", "differences", "card"]
    lines = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    assert [line["study_id"] for line in lines] == [f"t{i}" for i in range(6)]
    assert lines[3]["reference"] == EFFUSION
    assert lines[3]["draft"] == BOTH
    assert lines[3]["findings"]["pneumothorax"] == {
        "truth": "unmentioned",
        "draft": "present",
        "laterality": {"draft": "right"},
    }
    assert lines[3]["findings"]["edema"]["probability"] == 0.25
    assert stat.S_IMODE(os.stat(out / "predictions.jsonl").st_mode) == 0o600
    assert cv2.imread(str(out / "findings.png")).shape[2] == 3
    assert sorted(path.name for path in out.iterdir()) == [
        "differences.png",
        "findings.png",
        "metrics.json",
        "metrics.md",
        "predictions.jsonl",
        "quarantine.jsonl",
    ]


def test_the_card_says_which_findings_are_averaged(tmp_path, studies, grey_model):
    card = _evaluate(tmp_path, studies, grey_model(DRAFTS), _config()).metrics["card"]
    both = ["pleural_effusion", "pneumothorax"]
    assert card["averaged"] == {
        "clinical_f1_macro": both,
        "clinical_f1_macro_all": both,
        "clinical_f1_macro_14": ["no_finding", *both],
        "clinical_f1_macro_5": ["pleural_effusion"],
    }


@pytest.mark.parametrize(
    ("settings", "error"),
    [({"judges": ("no_such_module:judge",)}, UsageError), ({"bertscore_model": "nowhere"}, DataError)],
)
def test_what_cannot_be_had_is_said_before_anything_is_drafted(tmp_path, studies, grey_model, settings, error):
    _evaluate(tmp_path, studies, grey_model(DRAFTS), _config())
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    model = grey_model(DRAFTS)
    with pytest.raises(error):
        _evaluate(tmp_path, studies, model, _config(**settings))
    assert model.batches == []
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_an_evaluation_that_fails_while_it_drafts_leaves_no_older_figures(tmp_path, studies, grey_model):
    _evaluate(tmp_path, studies, grey_model(DRAFTS), _config())
    assert (tmp_path / "out" / "metrics.json").exists()
    with pytest.raises(IndexError):
        _evaluate(tmp_path, studies, grey_model(DRAFTS[:1]), _config())
    assert not (tmp_path / "out" / "metrics.json").exists()


def test_no_words_of_a_report_stand_in_the_metrics(tmp_path, studies, grey_model):
    _evaluate(tmp_path, studies, grey_model(DRAFTS), _config())
    for name in ("metrics.json", "metrics.md"):
        text = (tmp_path / "out" / name).read_text()
        assert "acute disease" not in text
        assert "patient-" not in text
        assert str(tmp_path) not in text


def test_card_says_what_was_evaluated(tmp_path, studies, grey_model, make_study):
    extra = [make_study("no-report", 10, None), make_study("no-section", 10, "INDICATION: Cough.")]
    broken = make_study("broken", 10, EFFUSION)
    broken.images[0].path.write_bytes(b"no image")
    found = _evaluate(
        tmp_path, [*studies, *extra, broken], grey_model(DRAFTS, provenance={"split_hash": "x"}), _config()
    )
    card = found.metrics["card"]
    assert card["counts"]["studies"] == 6
    assert card["counts"]["patients"] == 5
    assert card["counts"]["left_out"] == {"image_without_report": 1, "section_missing": 1, "not_an_image": 1}
    assert card["counts"]["positives"] == {"pleural_effusion": 3, "pneumothorax": 2}
    assert card["truth"] == "what the labeler reads in the reference"
    assert card["drafts"]["distinct"] == 4
    assert any("3 studies of the split were left out" in sentence for sentence in found.warnings)


def test_degenerate_model_is_called_out(tmp_path, studies, grey_model):
    found = _evaluate(tmp_path, studies, grey_model([EFFUSION] * 4), _config())
    assert found.metrics["card"]["drafts"]["identical_share"] == 1.0
    assert any("degenerate" in sentence for sentence in found.warnings)
    assert any("hardly looks at the image" in sentence for sentence in found.warnings)
    assert "degenerate" in (tmp_path / "out" / "metrics.md").read_text()


def test_truth_table_of_the_phantom_is_the_truth(tmp_path, make_study, grey_model):
    present, absent = Finding(Status.PRESENT), Finding(Status.ABSENT)
    studies = [
        make_study("t0", 10, NOTHING, findings={"pleural_effusion": present, "nodule": absent}),
        make_study("t1", 10, NOTHING, findings={"pleural_effusion": present, "nodule": present}),
        make_study("t2", 0, EFFUSION, findings={"pleural_effusion": absent, "nodule": absent}),
        make_study("r0", 0, NOTHING, split="train"),
    ]
    config = _config(min_positives=1).model_copy(update={"data": Config().data})
    found = _evaluate(tmp_path, studies, grey_model(DRAFTS), config)
    assert found.metrics["test"]["clinical_f1/pleural_effusion"] == 1.0
    assert found.metrics["test"]["clinical_f1/nodule"] == 0.0
    assert found.metrics["card"]["truth"] == "the data's truth table"


def test_no_finding_with_enough_positives_leaves_clinical_f1_out(tmp_path, studies, grey_model):
    found = _evaluate(tmp_path, studies, grey_model(DRAFTS), _config(min_positives=50))
    assert not [name for name in found.metrics["test"] if name.startswith("clinical")]
    assert any("no finding is present in at least 50" in sentence for sentence in found.warnings)
    assert next(row for row in found.shown[0][2] if row[0] == "clinical_f1_macro")[1] == "–"
    assert "pleural_effusion (too few to average)" in (tmp_path / "out" / "metrics.md").read_text()


def test_without_a_training_split_only_the_swap_is_left(tmp_path, studies, grey_model):
    found = _evaluate(tmp_path, studies[8:], grey_model(DRAFTS), _config())
    assert list(found.metrics["baselines"]) == ["swapped_image"]
    assert [len(row) for row in found.shown[0][2]] == [4] * len(found.shown[0][2])


def test_baselines_can_be_left_out(tmp_path, studies, grey_model):
    found = _evaluate(tmp_path, studies, grey_model(DRAFTS), _config(baselines=False))
    assert found.metrics["baselines"] == {}


def test_summary_table_shows_values_beside_baselines(tmp_path, studies, grey_model):
    found = _evaluate(tmp_path, studies, grey_model(DRAFTS), _config())
    title, columns, rows = found.shown[0]
    assert title == "test: 6 studies of 5 patients"
    assert columns == ("metric", "model", "95% interval", "most frequent", "nearest image", "swapped image")
    macro = next(row for row in rows if row[0] == "clinical_f1_macro")
    assert macro[1] == "0.583"


def test_split_without_studies_is_a_clear_error(tmp_path, studies, grey_model):
    with pytest.raises(DataError, match=r"no study of split 'val'.*train 8, val 0, test 6"):
        _evaluate(tmp_path, studies, grey_model(DRAFTS), _config(), split="val")


def test_all_takes_every_split(tmp_path, studies, grey_model):
    found = _evaluate(tmp_path, studies, grey_model([*DRAFTS, *[NOTHING] * 4]), _config(), split="all")
    assert found.metrics["card"]["counts"]["studies"] == 14
    assert "test" in found.metrics


def test_labels_used_here_are_what_the_labeler_reads():
    assert {name for name, one in label_report(BOTH).items() if one.status is Status.PRESENT} == {
        "pleural_effusion",
        "pneumothorax",
    }


@pytest.mark.parametrize("other", ["data_hash", "split_hash"])
def test_figures_on_other_data_have_a_title_of_their_own_in_the_model_card(tmp_path, studies, grey_model, other):
    metrics = _evaluate(tmp_path, studies, grey_model(DRAFTS), _config()).metrics
    hashes = {name: metrics["card"][name] for name in ("data_hash", "split_hash")}
    same = {**metrics, "card": {**metrics["card"], "data_as_trained": True, "split_as_trained": True}}
    changed = {**metrics, "card": {**same["card"], other.replace("hash", "as_trained"): False}}
    assert card_section(same["card"], summary_table(same), [], "2026-01-31")[0] == "Split `test`"
    title, text = card_section(changed["card"], summary_table(changed), ["Few."], "2026-01-31")
    assert title == f"Split `test` of other data `{hashes['data_hash'][:8]}`, split `{hashes['split_hash'][:8]}`"
    assert text.startswith("test: 6 studies of 5 patients; 2026-01-31, data hash `")
    assert text.endswith("\n\n- **Mind:** Few.")


@pytest.mark.parametrize("baselines", [True, False])
def test_words_can_be_counted_in_the_training_reports(tmp_path, studies, grey_model, baselines):
    found = {}
    for name in ("references", "training"):
        config = _config(cider_df=name, metrics=("text",), baselines=baselines, bootstrap=0)
        found[name] = _evaluate(tmp_path, studies, grey_model(DRAFTS), config).metrics
        assert found[name]["card"]["cider_df"] == name
    assert "8 training reports" in found["training"]["card"]["implementations"]["cider_d"]
    tested = [study for study in studies if study.split == "test"]
    counted = document_frequencies(study.report.raw.lower().split() for study in studies if study.split == "train")
    lines = [json.loads(line) for line in (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()]
    drafts = {line["study_id"]: line["draft"] for line in lines}
    want = score_texts(
        [study.report.raw for study in tested], [drafts[study.study_id] for study in tested], "plain", counted
    )
    assert found["training"]["test"]["cider_d"] == pytest.approx(want["cider_d"], abs=1e-9)
    assert found["references"]["test"]["cider_d"] != found["training"]["test"]["cider_d"]
    assert found["references"]["test"]["bleu_4"] == found["training"]["test"]["bleu_4"]
