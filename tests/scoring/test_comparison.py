"""This run against others: from drafts that they left, or drafted anew; refused where they are not of the same."""

import json
import stat

import numpy as np
import pytest
from scipy.stats import t

from medmm.config.load import to_yaml
from medmm.config.schema import Config, SplitConfig
from medmm.data.manifest import Manifest, build
from medmm.errors import DataError, UsageError
from medmm.scoring import other_runs
from medmm.scoring.comparison import summary
from medmm.scoring.differences import holm
from medmm.scoring.evaluation import Others, Request
from medmm.scoring.report_evaluation import evaluate_model
from medmm.scoring.run_card import recipe_hash
from medmm.scoring.scores import summary_names

NOTHING = "FINDINGS: The lungs are clear. IMPRESSION: No acute disease."
EFFUSION = "FINDINGS: There is a left pleural effusion. IMPRESSION: Pleural effusion."
COLLAPSE = "FINDINGS: Small right pneumothorax is seen. IMPRESSION: Pneumothorax."
TEXTS = [NOTHING, EFFUSION, COLLAPSE]
SETTINGS = {
    "preprocess": {"size": 64},
    "data": {"reader": "openi", "path": "x"},
    "evaluate": {"tokenizer": "plain", "min_positives": 2, "bootstrap": 100, "baselines": False},
}


@pytest.fixture
def world(tmp_path, make_study, grey_model):
    """Evaluates a model of given drafts into a folder of that name: ``world(name, drafts, others=, **settings)``."""
    studies = [make_study(f"t{i}", 10 * (i % 3), TEXTS[i % 3], patient=f"p{i // 2}") for i in range(12)]
    build(studies, tmp_path / "m.parquet", SplitConfig(val=0), lambda rejection: None)
    manifest = Manifest.open(tmp_path / "m.parquet")

    def run(name, drafts, others=None, weights="a", seed=0, **settings):
        model = grey_model(drafts, provenance={"weights_sha256": weights * 64})
        model.provenance |= {"data_hash": manifest.data_hash, "split_hash": manifest.split_hash}
        config = Config.model_validate({**SETTINGS, **settings})
        trained = {"seed": seed, "recipe_sha256": recipe_hash(config)}
        out = tmp_path / name
        return evaluate_model(model, Request(manifest, config, "test", out, others=others or Others(), trained=trained))

    run.place = tmp_path
    return run


def test_two_runs_differ_by_what_each_scores_alone(world):
    poor = world("poor", [NOTHING, NOTHING, COLLAPSE], weights="b", seed=1)
    good = world("good", TEXTS, Others(against=world.place / "poor"))
    found = good.metrics["against"]
    for name, value in good.metrics["test"].items():
        entry = found["metrics"][name]
        assert (entry["this"], entry["other"]) == (value, poor.metrics["test"][name])
        assert entry["difference"] == pytest.approx(value - poor.metrics["test"][name])
        assert entry["ci95"][0] <= entry["difference"] <= entry["ci95"][1]
        assert 0 < entry["p"] <= 1
        assert 0 < entry["p_permutation"] <= 1
    main = [name for name in summary_names(found["metrics"]) if name in found["metrics"]]
    p = {name: found["metrics"][name]["p_permutation"] for name in main}
    assert {name: found["metrics"][name]["p_holm"] for name in main} == pytest.approx(holm(p))
    assert found["mcnemar"]["exact_match"] == {"only_this": 4, "only_other": 0, "p": pytest.approx(0.125)}
    assert found["identical"] == pytest.approx(8 / 12)
    assert (found["run"]["seed"], found["run"]["weights_sha256"], found["notes"]) == (1, "b" * 64, [])


def test_the_comparison_stands_in_the_page_and_its_drafts_beside_it(world):
    world("poor", [NOTHING] * 3, weights="b")
    good = world("good", TEXTS, Others(against=world.place / "poor"))
    page = (world.place / "good" / "metrics.md").read_text()
    entry = good.metrics["against"]["metrics"]["clinical_f1_macro"]
    low, high = entry["ci95"]
    assert f"| clinical_f1_macro | 1.000 | 0.000 | +1.000 | {low:.3f} to {high:.3f} |" in page
    assert good.shown[1][0] == "Against another run"
    file = world.place / "good" / f"drafts-{'b' * 8}.jsonl"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert lines[1] == {"study_id": "t1", "draft": NOTHING}
    world("good", TEXTS)
    assert not file.exists()
    assert "against" not in json.loads((world.place / "good" / "metrics.json").read_text())


def test_enough_swaps_for_holm_to_reach_a_hundredth(tmp_path, make_study, grey_model):
    """Thirty patients, all better: no number of metrics, nor few resamples, may keep that from being seen."""
    studies = [make_study(f"t{i}", 10 * (i % 3), TEXTS[i % 3], patient=f"p{i}") for i in range(30)]
    build(studies, tmp_path / "m.parquet", SplitConfig(val=0), lambda rejection: None)
    manifest = Manifest.open(tmp_path / "m.parquet")
    config = Config.model_validate(SETTINGS)
    other = "FINDINGS: Large nodule, as before. IMPRESSION: Nodule."
    for name, drafts, others in (("poor", [other] * 3, Others()), ("good", TEXTS, Others(against=tmp_path / "poor"))):
        model = grey_model(drafts, provenance={"weights_sha256": name[0] * 64})
        found = evaluate_model(model, Request(manifest, config, "test", tmp_path / name, others=others))
    metrics = found.metrics["against"]["metrics"]
    assert len([name for name in summary_names(metrics) if "p_holm" in metrics.get(name, {})]) > 15
    for name in ("bleu_1", "rouge_l", "cider_d", "clinical_f1_macro", "exact_match", "hallucinated_per_report"):
        assert metrics[name]["p_holm"] < 0.01, name


def test_a_few_patients_have_neither_interval_nor_p(tmp_path, make_study, grey_model):
    studies = [make_study(f"t{i}", 10 * (i % 3), TEXTS[i % 3], patient=f"p{i % 4}") for i in range(24)]
    build(studies, tmp_path / "m.parquet", SplitConfig(val=0), lambda rejection: None)
    manifest = Manifest.open(tmp_path / "m.parquet")
    config = Config.model_validate(SETTINGS)
    for name, drafts, others in (("poor", [NOTHING] * 3, Others()), ("good", TEXTS, Others(against=tmp_path / "poor"))):
        found = evaluate_model(grey_model(drafts), Request(manifest, config, "test", tmp_path / name, others=others))
    assert found.metrics["ci95"] == {}
    assert {key for entry in found.metrics["against"]["metrics"].values() for key in entry} == {
        "this", "other", "difference",
    }  # fmt: skip
    assert found.metrics["against"]["mcnemar"] == {}
    assert any("4 patients" in words and "no intervals and no p-values" in words for words in found.warnings)
    page = (tmp_path / "good" / "metrics.md").read_text()
    assert "| exact_match | 1.000 | 0.333 | +0.667 | – | – | – | – |" in page


def test_other_sections_are_refused_by_name(world):
    world("short", TEXTS, target={"sections": ["findings"]})
    said = "--against.*got sections findings; expected sections findings, impression"
    with pytest.raises(DataError, match=said):
        world("long", TEXTS, Others(against=world.place / "short"))
    assert not (world.place / "long" / "metrics.json").exists()


@pytest.mark.parametrize("key", ["split_hash", "data_hash", "split"])
def test_another_split_or_other_data_are_refused_by_name(world, key):
    world("other", TEXTS)
    file = world.place / "other" / "metrics.json"
    metrics = json.loads(file.read_text())
    expected = metrics["card"][key][:12]
    metrics["card"][key] = "f" * 64 if key != "split" else "val"
    file.write_text(json.dumps(metrics))
    got = "f" * 12 if key != "split" else "val"
    with pytest.raises(DataError, match=f"got {key} {got}; expected {key} {expected}"):
        world("own", TEXTS, Others(against=world.place / "other"))


def test_other_studies_are_refused_by_number(world):
    world("other", TEXTS)
    file = world.place / "other" / "predictions.jsonl"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:-2]))
    with pytest.raises(DataError, match="got studies 10, 2 of them not in both; expected studies 12"):
        world("own", TEXTS, Others(seeds=(world.place / "other",)))


def test_what_is_no_run_is_wrong_usage_and_what_is_torn_cannot_be_read(world):
    with pytest.raises(UsageError, match="no such folder"):
        world("own", TEXTS, Others(against=world.place / "nowhere"))
    (world.place / "empty").mkdir()
    with pytest.raises(UsageError, match="neither a run directory nor an evaluation"):
        world("own", TEXTS, Others(against=world.place / "empty"))
    world("other", TEXTS)
    file = world.place / "other" / "predictions.jsonl"
    file.write_text(file.read_text()[:-5])
    with pytest.raises(DataError, match="got 1 spoilt lines, 11 whole ones") as refused:
        world("own", TEXTS, Others(against=world.place / "other"))
    assert str(world.place) not in str(refused.value)


def test_a_run_directory_drafts_anew_unless_its_own_evaluation_is_of_the_same_weights(world, grey_model, monkeypatch):
    world("run/evaluation-test", [NOTHING] * 3, weights="b")
    (world.place / "run" / "config.yaml").write_text(to_yaml(Config.model_validate(SETTINGS)))
    asked = []

    def load(run, device):
        asked.append(run)
        return grey_model([COLLAPSE] * 3, provenance={"weights_sha256": "c" * 64})

    monkeypatch.setattr("medmm.training.run.load", load)
    monkeypatch.setattr(other_runs, "adopt", lambda model, config: model)
    for weights, clear in (("b", True), ("c", False)):
        monkeypatch.setattr(other_runs, "_weights_now", lambda run, now=weights: now * 64)
        found = world("own", TEXTS, Others(against=world.place / "run")).metrics["against"]
        assert found["identical"] == pytest.approx(1 / 3)
        assert found["metrics"]["clinical_f1/pneumothorax"]["other"] == pytest.approx(0.0 if clear else 2 * 4 / 16)
        source = "taken from its predictions.jsonl" if clear else "made anew"
        assert (found["run"]["predictions"], found["run"]["weights_sha256"]) == (source, weights * 64)
    assert asked == [world.place / "run"]
    assert not [path for path in (world.place / "own").iterdir() if path.name.startswith(".")]


def _run_directory(world, record, **settings):
    run = world.place / "run"
    run.mkdir()
    (run / "config.yaml").write_text(to_yaml(Config.model_validate({**SETTINGS, **settings})))
    (run / "run.json").write_text(json.dumps({"format": 1, **record}))
    return run


def test_a_run_that_writes_other_sections_is_refused_before_it_is_loaded(world):
    run = _run_directory(world, {}, target={"sections": ["impression"]})
    said = "got target.sections impression; expected target.sections findings, impression"
    with pytest.raises(DataError, match=said):
        world("own", TEXTS, Others(against=run))


def test_a_run_of_another_split_of_the_same_data_is_refused_before_it_is_loaded(world):
    card = world("own", TEXTS).metrics["card"]
    run = _run_directory(world, {"data_hash": card["data_hash"], "split_hash": "e" * 64})
    with pytest.raises(DataError, match=f"got split_hash eeeeeeeeeeee; expected split_hash {card['split_hash'][:12]}"):
        world("own", TEXTS, Others(against=run))


def test_the_same_weights_are_named(world):
    world("other", TEXTS)
    found = world("own", TEXTS, Others(against=world.place / "other")).metrics["against"]
    assert found["notes"] == ["Both runs have the same weights."]
    assert found["metrics"]["rouge_l"]["p"] == 1.0


def test_seeds_are_summarised(world):
    drafts = {"one": [NOTHING, EFFUSION, NOTHING], "two": [NOTHING, NOTHING, COLLAPSE]}
    rouge = [world(name, texts, weights=name[0], seed=i + 1).metrics["test"]["rouge_l"]
             for i, (name, texts) in enumerate(drafts.items())]  # fmt: skip
    own = world("own", TEXTS, Others(seeds=tuple(world.place / name for name in drafts)))
    found = own.metrics["seeds"]
    values = [own.metrics["test"]["rouge_l"], *rouge]
    entry = found["metrics"]["rouge_l"]
    assert entry["values"] == pytest.approx(values)
    assert (entry["mean"], entry["sd"]) == (pytest.approx(np.mean(values)), pytest.approx(np.std(values, ddof=1)))
    assert (entry["min"], entry["max"]) == (min(values), max(values))
    assert entry["ci95"] == pytest.approx(t.interval(0.95, 2, np.mean(values), np.std(values, ddof=1) / 3**0.5))
    assert entry["ci95_within"] == own.metrics["ci95"]["rouge_l"]
    assert ([run["seed"] for run in found["runs"]], found["notes"]) == ([0, 1, 2], [])
    assert "## Over 3 seeds" in (world.place / "own" / "metrics.md").read_text()


def test_runs_that_differ_by_more_than_their_seed_are_named(world):
    world("wide", TEXTS, weights="b", train={"lr": 0.5})
    notes = world("own", TEXTS, Others(seeds=(world.place / "wide",))).metrics["seeds"]["notes"]
    assert [note.split(":")[0] for note in notes] == [
        "The runs differ by more than their seed",
        "Several runs have the same seed",
        "Two seeds say little of the spread",
    ]


def test_summary_by_hand():
    found = summary([0.4, 0.6])
    assert (found["mean"], found["sd"]) == (pytest.approx(0.5), pytest.approx(0.1 * 2**0.5))
    assert found["ci95"] == pytest.approx([0.5 - 12.7062047 * 0.1, 0.5 + 12.7062047 * 0.1])
