"""What a finished run leaves behind, on disk and in MLflow: all that is promised, and no word of a patient."""

import hashlib
import json
import os
import platform
import re
import shutil
import sqlite3
import stat
import subprocess
from importlib import metadata
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from medmm.config.schema import Config, SplitConfig
from medmm.data import manifest as manifests
from medmm.reports.parse import parse_report
from medmm.tasks.report_gen import ReportGeneration
from medmm.tracking import open_tracker
from medmm.training import records
from medmm.training.loaded import load
from medmm.training.run import finetune
from medmm.types import ImageRef, Study

NAME, WARD, CELL, STUDY, PATIENT = "quixzandor", "zwyckward", "vompelcell", "jubbstudy", "xkrapatient"
"""Words that stand in a report, in paths, in a cell of the table, in study ids and in patient keys, nowhere else."""
MARKERS = (NAME, WARD, CELL, STUDY, PATIENT)
PRIVATE = ("quarantine.jsonl", "cache/", "data/")
COUNT, NAMED, BROKEN = 30, 4, 7


def studies(folder):
    """Studies with a bright spot where the report says so; one names its patient, one has a broken image."""
    made = []
    for number in range(COUNT):
        image = np.random.default_rng(number).integers(0, 60, (32, 32)).astype(np.uint8)
        side = (None, "left", "right")[number % 3]
        if side:
            image[8:16, slice(20, 28) if side == "left" else slice(4, 12)] += 150
        path = folder / f"{WARD}-{number}.png"
        cv2.imwrite(str(path), image)
        if number == BROKEN:
            path.write_bytes(b"no image")
        who = f"Mr. {NAME.capitalize()} has " if number == NAMED else "There is "
        text = f"FINDINGS: {who}a {side} lung nodule." if side else f"FINDINGS: {who}no lung nodule."
        text += f" IMPRESSION: {side.capitalize()} nodule." if side else " IMPRESSION: Normal chest."
        report = parse_report("INDICATION: cough.") if number == BROKEN + 1 else parse_report(text)
        split = "val" if number % 5 == 0 else "train"
        made.append(Study(f"{STUDY} {number}", f"{PATIENT} {number}", (ImageRef(path),), report, split=split))
    return made


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("directory")


@pytest.fixture(scope="module")
def manifest(place):
    folder = place / WARD
    folder.mkdir()
    manifests.build(studies(folder), folder / "manifest.parquet", SplitConfig(), lambda rejection: None)
    return manifests.Manifest.open(folder / "manifest.parquet")


@pytest.fixture(scope="module")
def config(small, place):
    settings = small.model_dump(mode="json")
    settings |= {"seed": 3, "device": "cpu"}
    settings["train"] |= {"steps": 6, "accumulate": 1}
    settings["data"] |= {
        "reader": "table", "path": str(place / WARD / "table.csv"), "image_root": str(place / WARD),
        "where": {"name": CELL},
    }  # fmt: skip
    settings["tracking"] |= {"uri": f"sqlite:///{place / 'store.db'}", "experiment": "directory"}
    return Config.model_validate(settings)


@pytest.fixture(scope="module")
def tracked(config, manifest, place):
    """The run directory and the id of its MLflow run; MLflow's artifacts lie in ``place``, its working folder."""
    before = Path.cwd()
    os.chdir(place)
    try:
        out = place / "run"
        records.claim(out, config, resume=False)
        with open_tracker(config.tracking, config.task) as tracker:
            finetune(config, manifest, out, tracker=tracker)
    finally:
        os.chdir(before)
    return out, tracker.run_id


@pytest.fixture(scope="module")
def run(tracked):
    return tracked[0]


def holds(content: bytes) -> list[str]:
    """Markers that stand in bytes, whatever their case, as text of one or two bytes a letter."""
    lower = content.lower()
    return [word for word in MARKERS if word.encode() in lower or word.encode("utf-16-le") in lower]


def test_the_files_that_are_promised_are_there_and_no_others(run):
    names = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    promised = {
        "config.yaml", "run.json", "history.json", "curves.png", "MODEL_CARD.md", "quarantine.jsonl", "last",
        "model/model.safetensors", "model/preprocess.json", "model/task.json", "model/decoder/config.json",
        "model/tokenizer/tokenizer.json", "model/tokenizer/tokenizer_config.json",
    }  # fmt: skip
    assert promised <= names
    others = {name for name in names - promised if not name.startswith("model/tokenizer/")}
    assert all(
        re.fullmatch(r"state-\d+/\w+\.(safetensors|json)|cache/images-[0-9a-f]{16}\.(npy|json)", n) for n in others
    )


def test_the_config_reads_back(run, config):
    assert records.read_config(run) == config
    assert Config.model_validate(yaml.safe_load((run / "config.yaml").read_text())) == config


def test_the_record_says_from_what_with_what_and_where(tracked, manifest):
    run, run_id = tracked
    record = json.loads((run / "run.json").read_text())
    assert (record["format"], record["task"], record["seed"], record["device"]) == (1, "report_gen", 3, "cpu")
    assert (record["finished"], record["steps"]) == (True, 6)
    assert (record["data_hash"], record["split_hash"]) == (manifest.data_hash, manifest.split_hash)
    assert record["mlflow_run_id"] == run_id == records.tracked_as(run)
    assert record["versions"]["python"] == platform.python_version()
    for name in ("torch", "monai", "transformers", "numpy", "pydicom"):
        assert record["versions"][name] == metadata.version(name)
    assert re.fullmatch(r"[0-9a-f]{64}", record["config_hash"])
    assert record["processor"]
    assert (record["train"], record["validation"], record["aside"]) == (22, 5, 2)  # 30 of which 2 cannot be used
    assert record["plan"]["steps"] == 6


def test_the_record_names_the_commit_of_a_checkout(run):
    git = json.loads((run / "run.json").read_text())["git"]
    checkout = Path(records.__file__).parents[2]
    if not (checkout / ".git").exists():
        assert git is None
        return
    asked = subprocess.run(
        ["git", "-C", str(checkout), "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    )
    assert git["commit"] == asked.stdout.strip()
    assert isinstance(git["changed"], bool)


def test_the_history_holds_the_course_and_what_was_settled(run):
    history = json.loads((run / "history.json").read_text())
    assert (history["format"], history["step"]) == (1, 6)
    assert [record["step"] for record in history["train"]] == [1, 2, 3, 4, 5, 6]
    assert [record["step"] for record in history["validation"]] == [3, 6]
    losses = {record["step"]: record["loss"] for record in history["validation"]}
    assert history["best_loss"] == min(losses.values()) == losses[history["best_step"]]
    assert set(history["train"][0]) == {"step", "loss", "text", "findings", "sides", "lr"}
    assert set(history["settled"]) == {"threshold/nodule"}
    assert load(run, "cpu").task.model.head.offset.tolist() == pytest.approx([history["settled"]["threshold/nodule"]])


def test_the_curves_are_a_picture_with_something_on_it(run):
    picture = cv2.imread(str(run / "curves.png"))
    assert picture.shape[0] > 200
    assert picture.shape[1] > 5 * 200  # four losses and the learning rate side by side
    assert 0.5 < (picture == 255).mean() < 0.99


def test_the_card_says_what_the_run_is(run, manifest):
    card = (run / "MODEL_CARD.md").read_text()
    assert "Not a medical device" in card
    assert "22 studies to learn from, 5 to validate; 2 studies and images set aside" in card
    assert f"`{manifest.data_hash[:16]}`" in card
    assert f"`{manifest.split_hash[:16]}`" in card
    assert "6 of 6 steps of 4 studies" in card
    history = json.loads((run / "history.json").read_text())
    assert f"after step {history['best_step']}" in " ".join(card.split())
    assert f"{history['best_loss']:.4f}" in card
    assert "- Finding head: nodule." in card
    assert "seed 3" in card
    assert "{" not in card


def test_what_was_set_aside_stands_in_the_quarantine_which_only_the_owner_reads(run):
    lines = [json.loads(line) for line in (run / "quarantine.jsonl").read_text().splitlines()]
    assert {(one["study_id"], one["reason"]) for one in lines} == {
        (f"{STUDY} {BROKEN}", "not_an_image"),
        (f"{STUDY} {BROKEN + 1}", "section_missing"),
    }
    assert stat.S_IMODE((run / "quarantine.jsonl").stat().st_mode) == 0o600
    images = Path(os.environ["MEDMM_CACHE"]) / "images"
    assert {stat.S_IMODE(path.stat().st_mode) for path in images.iterdir()} == {0o600}
    assert not (run / "cache").exists()


def test_the_markers_were_there_to_be_found(run, manifest):
    """Else the tests below would pass for want of anything to find."""
    reports = [study.report.raw for study in manifest.studies() if study.report]
    assert sum(NAME in text.lower() for text in reports) == 1
    assert {study.split for study in manifest.studies() if NAME in study.report.raw.lower()} == {"train"}
    assert holds((run / "quarantine.jsonl").read_bytes()) == [WARD, STUDY]
    assert set(holds((run / "config.yaml").read_bytes())) == {WARD, CELL}
    assert holds(NAME.upper().encode("utf-16-le")) == [NAME]


def test_no_file_of_the_run_holds_a_patients_word(run):
    found = {}
    for path in run.rglob("*"):
        name = str(path.relative_to(run))
        assert holds(name.encode()) == []
        if path.is_file() and not name.startswith((*PRIVATE, "config.yaml")):
            found[name] = holds(path.read_bytes())
    assert {"MODEL_CARD.md", "run.json", "history.json", "curves.png", "model/tokenizer/tokenizer.json"} <= set(found)
    assert {name: words for name, words in found.items() if words} == {}


def test_a_name_that_many_reports_of_four_patients_hold_does_not_become_a_token(manifest, tmp_path):
    texts = [f"FINDINGS: Mr. {NAME.capitalize()} has a nodule. IMPRESSION: Nodule {number}." for number in range(20)]
    named = [Study(str(n), str(n % 3), report=parse_report(text)) for n, text in enumerate(texts)]
    config = Config.model_validate({"preprocess": {"size": 32}, "model": {"decoder": {"layers": 1}}})
    ReportGeneration.build(config, [*manifest.studies("train"), *named]).save(tmp_path)
    assert holds((tmp_path / "tokenizer" / "tokenizer.json").read_bytes()) == []


def test_the_config_names_places_in_its_data_section_alone(run):
    settings = yaml.safe_load((run / "config.yaml").read_text())
    del settings["data"]
    assert holds(yaml.safe_dump(settings).encode()) == []


def test_mlflow_holds_the_numbers_settings_and_hashes(tracked, manifest, config):
    import mlflow

    run, run_id = tracked
    kept = mlflow.MlflowClient(tracking_uri=config.tracking.uri).get_run(run_id)
    assert kept.info.status == "FINISHED"
    assert kept.data.tags["data_hash"] == manifest.data_hash
    assert kept.data.tags["split_hash"] == manifest.split_hash
    assert (kept.data.params["seed"], kept.data.params["plan.steps"]) == ("3", "6")
    assert kept.data.params["data.reader"] == "table"
    assert not {"data.path", "data.image_root", "data.where.name"} & set(kept.data.params)
    history = json.loads((run / "history.json").read_text())
    assert kept.data.metrics["val/loss"] == pytest.approx(history["validation"][-1]["loss"])
    assert kept.data.metrics["train/loss"] == pytest.approx(history["train"][-1]["loss"])


def test_mlflow_gets_no_patients_word(tracked, place):
    store = place / "store.db"
    assert holds(store.read_bytes()) == []
    with sqlite3.connect(store) as database:
        dumped = "\n".join(database.iterdump())
    assert "plan.steps" in dumped
    assert holds(dumped.encode()) == []
    files = [path for path in (place / "mlruns").rglob("*") if path.is_file()]
    names = {path.name for path in files}
    assert {"curves.png", "MODEL_CARD.md", "model.safetensors", "config.yaml", "tokenizer.json"} <= names
    assert not names & {"quarantine.jsonl", "last", "state.json", "manifest.parquet"}
    assert not [path for path in files if path.suffix in (".npy", ".parquet", ".pkl")]
    assert {str(path): holds(path.read_bytes()) for path in files if holds(path.read_bytes())} == {}


def test_the_model_in_mlflow_drafts_as_the_run_does(tracked, place, manifest, config):
    import mlflow
    import pandas as pd

    run, _ = tracked
    (described,) = (place / "mlruns").rglob("MLmodel")
    served = mlflow.pyfunc.load_model(str(described.parent))
    study = next(iter(manifest.studies("val")))
    path = str(study.images[0].path)
    found = served.predict(pd.DataFrame({"path": [path]}))
    wanted = load(run, "cpu").predict(path)
    assert found["report"].tolist() == [wanted.report]
    assert json.loads(found["findings"][0]) == {name: str(one.status) for name, one in wanted.findings.items()}


def test_weights_are_the_same_when_nothing_is_tracked(config, manifest, run, place):
    out = place / "untracked"
    records.claim(out, config, resume=False)
    finetune(config, manifest, out)
    digests = [hashlib.sha256((one / "model" / "model.safetensors").read_bytes()).hexdigest() for one in (out, run)]
    assert digests[0] == digests[1]
    assert json.loads((out / "run.json").read_text())["mlflow_run_id"] is None
    shutil.rmtree(out)
