"""Real input to real output through the command line: phantom, index, finetune, evaluate, score."""

import json
import math
import shutil
import stat
import subprocess
import sys

import pydicom
import pytest

SMALL = (
    "train.steps=12", "train.batch_size=4", "preprocess.size=64", "model.encoder.width=32", "model.decoder.width=32",
    "model.decoder.layers=1", "model.findings.minimum=3", "evaluate.bootstrap=100", "evaluate.min_positives=2",
    "generate.max_tokens=24", "tracking.log_model=false",
)  # fmt: skip


def medmm(*words, code=0, cwd=None):
    run = subprocess.run(
        [sys.executable, "-m", "medmm", *map(str, words)], capture_output=True, text=True, cwd=cwd, check=False
    )
    assert run.returncode == code, run.stderr + run.stdout
    return run


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with 60 phantom studies, a run on them and its evaluation."""
    place = tmp_path_factory.mktemp("whole")
    medmm("phantom", "--studies", 60, "--out", place / "phantom", "data.phantom.size=96")
    medmm(
        "finetune",
        "--task",
        "report_gen",
        "--data",
        f"phantom:{place / 'phantom'}",
        "--out",
        place / "run",
        *SMALL,
        cwd=place,
    )
    medmm("evaluate", "--run", place / "run", "--out", place / "evaluation", cwd=place)
    return place


def test_the_run_directory_is_whole(place):
    run = place / "run"
    for name in ("config.yaml", "run.json", "history.json", "curves.png", "MODEL_CARD.md", "model/preprocess.json"):
        assert (run / name).is_file(), name
    assert list((run / "model").glob("*.safetensors"))
    record = json.loads((run / "run.json").read_text())
    assert record["seed"] == 0
    assert not [path for path in run.rglob("*") if path.suffix in (".pt", ".pth", ".bin", ".pkl")]


def test_a_run_is_held_against_itself_drafted_anew_and_against_what_it_left(place):
    own = ("evaluate.bootstrap=100", "evaluate.min_positives=2", "tracking.enabled=false")
    words = ("--against", place / "run", "--seeds", place / "evaluation", "--out", place / "twice", *own)
    said = medmm("evaluate", "--run", place / "run", *words, cwd=place).stdout
    metrics = json.loads((place / "twice" / "metrics.json").read_text())
    against, seeds = metrics["against"], metrics["seeds"]
    sources = [against["run"]["predictions"], seeds["runs"][1]["predictions"]]
    assert sources == ["made anew", "taken from its predictions.jsonl"]
    assert (against["identical"], against["notes"]) == (1.0, ["Both runs have the same weights."])
    assert {entry["difference"] for entry in against["metrics"].values()} == {0.0}
    assert {entry["sd"] for entry in seeds["metrics"].values()} == {0.0}
    assert seeds["runs"][0]["recipe_sha256"] == seeds["runs"][1]["recipe_sha256"]
    assert "Against another run" in said
    assert "Over 2 seeds" in said


def test_the_metrics_stand_beside_three_baselines_and_their_card(place):
    metrics = json.loads((place / "evaluation" / "metrics.json").read_text())
    assert set(metrics) == {"test", "ci95", "baselines", "differences", "card"}
    for name in ("bleu_1", "bleu_4", "rouge_l", "cider_d", "clinical_f1_macro", "clinical_f1_micro"):
        assert math.isfinite(metrics["test"][name])
        low, high = metrics["ci95"][name]
        assert low <= high
    assert {"most_frequent", "nearest_image", "swapped_image"} <= set(metrics["baselines"])
    lines = (place / "evaluation" / "predictions.jsonl").read_text().splitlines()
    assert len(lines) == metrics["card"]["counts"]["studies"]
    assert stat.S_IMODE((place / "evaluation" / "predictions.jsonl").stat().st_mode) == 0o600


def test_the_figures_join_the_runs_entry_in_mlflow(place):
    import os

    import mlflow

    record = json.loads((place / "run" / "run.json").read_text())
    kept = mlflow.MlflowClient(os.environ["MLFLOW_TRACKING_URI"]).get_run(record["mlflow_run_id"])
    metrics = json.loads((place / "evaluation" / "metrics.json").read_text())["test"]
    for name in ("bleu_4", "clinical_f1_macro"):
        assert kept.data.metrics[f"test/{name}"] == metrics[name]
    assert kept.info.status == "FINISHED"


def test_score_takes_a_folder_and_quarantines_what_is_broken(place):
    night = place / "night"
    medmm("phantom", "--studies", 3, "--seed", 7, "--out", night, "data.phantom.size=96")
    broken = next(night.rglob("*.dcm"))
    broken.write_bytes(broken.read_bytes()[:900])
    medmm("score", "--run", place / "run", "--input", night, "--out", place / "scored", code=10, cwd=place)
    lines = [json.loads(line) for line in (place / "scored" / "predictions.jsonl").read_text().splitlines()]
    assert len(lines) == 2
    assert all(line["report"] for line in lines)
    (rejected,) = [json.loads(line) for line in (place / "scored" / "quarantine.jsonl").read_text().splitlines()]
    assert rejected["reason"] in ("file_unreadable", "decode_failed", "header_invalid", "no_pixels")
    assert stat.S_IMODE((place / "scored" / "quarantine.jsonl").stat().st_mode) == 0o600


def test_index_shows_what_was_paired(place):
    medmm("index", "--data", f"phantom:{place / 'phantom'}", "--out", place / "index", cwd=place)
    counts = json.loads((place / "index" / "pairing.json").read_text())
    assert counts["counts"]["paired"] == 60
    assert (place / "index" / "manifest.parquet").is_file()


def test_dry_run_says_how_much_and_writes_nothing(place):
    run = medmm(
        "finetune",
        "--data",
        f"phantom:{place / 'phantom'}",
        "--out",
        place / "dry",
        "--dry-run",
        "--json",
        *SMALL,
        cwd=place,
    )
    said = json.loads(run.stdout)
    assert said["dry_run"] is True
    assert said["studies"] == 60
    assert not (place / "dry").exists()


def test_an_existing_run_is_not_overwritten_and_another_config_cannot_resume_it(place):
    words = ("finetune", "--data", f"phantom:{place / 'phantom'}", "--out", place / "run", *SMALL)
    assert "--resume" in medmm(*words, code=2, cwd=place).stderr
    said = medmm(*words, "train.lr=0.5", "--resume", code=4, cwd=place).stderr
    assert "train.lr" in said


def test_what_is_broken_is_said_counted_and_kept_apart_and_a_first_mistake_costs_no_folder(place, tmp_path):
    studies = [json.loads(line) for line in (place / "evaluation" / "predictions.jsonl").read_text().splitlines()]
    images = sorted((place / "phantom").glob("0*/image.dcm"))[:24]
    lines = ["file,text,who"]
    for number, image in enumerate(images):
        (tmp_path / f"i{number}.dcm").write_bytes(b"no image" if number % 8 == 3 else image.read_bytes())
        lines.append(f"i{number}.dcm,{'' if number % 8 == 5 else studies[0]['reference']},p{number}")
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    words = ("finetune", "--data", "table:t.csv", "--out", "run", "--json", *SMALL, "data.columns.report=text")
    assert "Did you mean" in medmm(*words, "data.columns.image=fil", code=2, cwd=tmp_path).stderr
    run = medmm(*words, "data.columns.image=file", "data.splits.val=0", code=10, cwd=tmp_path)
    said = json.loads(run.stdout)
    kept = [json.loads(line) for line in (tmp_path / "run" / "quarantine.jsonl").read_text().splitlines()]
    reasons = [line["reason"] for line in kept]
    assert said["aside"] == {name: reasons.count(name) for name in dict.fromkeys(reasons)}
    assert 1 <= said["aside"]["not_an_image"] <= 3
    assert f"set aside: {said['aside']['not_an_image']} x not_an_image" in run.stderr
    assert "training loss" in run.stderr


def test_an_evaluation_names_what_it_could_not_read(place, tmp_path):
    shutil.copytree(place / "phantom", tmp_path / "phantom")
    tested = json.loads((place / "evaluation" / "predictions.jsonl").read_text().splitlines()[0])["study_id"]
    for image in (tmp_path / "phantom").glob("0*/image.dcm"):
        if pydicom.dcmread(image, stop_before_pixels=True).StudyInstanceUID == tested:
            image.write_bytes(image.read_bytes()[:900])
    words = ("--run", place / "run", "--data", f"phantom:{tmp_path / 'phantom'}", "--out", tmp_path / "evaluation")
    said = medmm("evaluate", *words, "tracking.enabled=false", code=10, cwd=tmp_path)
    kept = [json.loads(line) for line in (tmp_path / "evaluation" / "quarantine.jsonl").read_text().splitlines()]
    assert [line["study_id"] for line in kept] == [tested]
    assert f"set aside: 1 x {kept[0]['reason']}; see {tmp_path / 'evaluation' / 'quarantine.jsonl'}" in said.stdout
    assert stat.S_IMODE((tmp_path / "evaluation" / "quarantine.jsonl").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("data.columns.image=file",), "no training study has a report; got 6 training studies, 6 with images, 0 with"),
        (("data.columns.image=none", "data.columns.report=text"), "got 6 x report_without_image"),
    ],
)
def test_what_the_data_lack_is_named(place, tmp_path, words, said):
    shutil.copy(next((place / "phantom").glob("0*/image.dcm")), tmp_path / "i.dcm")
    rows = "".join(f"i.dcm,,Findings: Clear.,{number}\n" for number in range(6))
    (tmp_path / "t.csv").write_text("file,none,text,n\n" + rows)
    words = ("--data", "table:t.csv", "--out", "run", "data.splits.val=0", "data.splits.test=0", *SMALL, *words)
    assert said in medmm("finetune", *words, code=2, cwd=tmp_path).stderr


def test_dry_runs_say_studies_and_memory_and_write_nothing(place, tmp_path):
    words = ("--run", place / "run", "--data", f"phantom:{place / 'phantom'}", "--split", "all", "--dry-run", "--json")
    said = json.loads(medmm("evaluate", *words, "--out", tmp_path / "out", cwd=tmp_path).stdout)
    planned = json.loads((place / "run" / "run.json").read_text())["plan"]["memory_gb"]
    assert (said["studies"], said["memory_gb"]) == (60, planned)
    words = ("--run", place / "run", "--input", place / "phantom", "--dry-run", "--json")
    said = json.loads(medmm("score", *words, "--out", tmp_path / "out", cwd=tmp_path).stdout)
    assert (said["studies"], said["memory_gb"]) == (60, planned)
    assert not list(tmp_path.iterdir())


def test_score_takes_no_data(place, tmp_path):
    words = ("--run", place / "run", "--input", place / "phantom", "--data", "table:foo.csv")
    assert "--input DIR" in medmm("score", *words, code=2, cwd=tmp_path).stderr
