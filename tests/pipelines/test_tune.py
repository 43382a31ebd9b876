"""``medmm tune``: three tiny trainings from the command line, cut off and gone on with, and what they leave."""

import csv
import json
import os

import pytest
import yaml

from medmm.config.load import load
from medmm.errors import ExitCode
from medmm.pipelines import tune
from medmm.training import trials
from medmm.training.records import read_config

SETTINGS = {
    "data": {"phantom": {"studies": 40, "size": 64}, "splits": {"val": 0.2, "test": 0.1}},
    "preprocess": {"size": 32},
    "model": {"encoder": {"width": 32}},
    "train": {"steps": 12, "batch_size": 8, "save_every": 4, "validate_every": 3, "ema": 0.9, "workers": 0},
    "classification": {"classes": ["pleural_effusion", "cardiomegaly"]},
    "tune": {
        "trials": 3,
        "space": {"train.lr": {"low": 1e-4, "high": 1e-2, "log": True}, "model.encoder.width": [16, 32]},
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tune")
    (folder / "mine.yaml").write_text(yaml.safe_dump(SETTINGS))
    return folder


def run(home, out, *words):
    patch = pytest.MonkeyPatch()
    patch.setenv("OMP_NUM_THREADS", "1")
    given = ["--task", "classification", "--config", str(home / "mine.yaml"), "--out", str(home / out), *words]
    try:
        with pytest.raises(SystemExit) as ended:
            tune.main(given)
    finally:
        patch.undo()
    return ended.value.code


@pytest.fixture(scope="module")
def searched(home):
    patch = pytest.MonkeyPatch()
    patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home / 'mlruns.db'}")
    code = run(home, "whole")
    patch.undo()
    assert code == ExitCode.DONE
    return home / "whole"


def table(out):
    rows = list(csv.DictReader((out / "trials.csv").open()))
    return [{key: value for key, value in row.items() if key != "minutes"} for row in rows]


def test_three_trainings_and_the_best_ones_weights(searched):
    rows = table(searched)
    figures = [float(row["val/loss"]) for row in rows]
    histories = [json.loads((searched / f"trials/{n:03d}/history.json").read_text()) for n in (1, 2, 3)]
    assert figures == [history["best_loss"] for history in histories]
    assert [row["validations"] for row in rows] == ["4", "4", "4"]
    best = figures.index(min(figures)) + 1
    kept = [n for n in (1, 2, 3) if (searched / f"trials/{n:03d}/model/model.safetensors").is_file()]
    assert kept == [best]
    assert not list(searched.glob("trials/*/state-*"))
    config = read_config(searched / f"trials/{best:03d}")
    assert (repr(config.train.lr), str(config.model.encoder.width)) == (
        rows[best - 1]["train.lr"],
        rows[best - 1]["model.encoder.width"],
    )


def test_the_best_config_is_ready_for_finetune(searched):
    best = min(table(searched), key=lambda row: float(row["val/loss"]))
    found = load("finetune/classification.yaml", str(searched / "best.yaml"), [{"task": "classification"}])
    assert (repr(found.train.lr), found.train.steps, found.cache.root) == (best["train.lr"], 12, None)


def test_all_trials_share_one_manifest(searched):
    nodes = {os.stat(path).st_ino for path in searched.glob("**/manifest.parquet")}
    assert (len(nodes), len(list(searched.glob("trials/*/data/manifest.parquet")))) == (1, 3)
    hashes = {json.loads(path.read_text())["split_hash"] for path in searched.glob("trials/*/run.json")}
    assert len(hashes) == 1


def test_every_trial_is_a_run_below_the_searchs(searched):
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{searched.parent / 'mlruns.db'}")
    (experiment,) = [one for one in client.search_experiments() if one.name == "medmm"]
    found = {one.info.run_name: one for one in client.search_runs([experiment.experiment_id])}
    assert set(found) == {"tune-classification", "trial-001", "trial-002", "trial-003"}
    parent = found.pop("tune-classification")
    assert {one.data.tags["mlflow.parentRunId"] for one in found.values()} == {parent.info.run_id}
    assert {one.info.status for one in (parent, *found.values())} == {"FINISHED"}
    figures = [float(row["val/loss"]) for row in table(searched)]
    assert [found[name].data.metrics["objective"] for name in sorted(found)] == figures
    assert parent.data.metrics["best"] == min(figures)
    assert {one.path for one in client.list_artifacts(parent.info.run_id)} == {"search.png", "trials.csv", "tune.md"}


def test_a_search_cut_off_in_a_training_ends_with_the_same_trials(searched, home, monkeypatch):
    real, seen = trials._Watched.log_metrics, []

    def cut(self, metrics, step=None):
        real(self, metrics, step)
        seen.append(step)
        if "val/loss" in metrics and step == 9 and len(list((home / "cut/trials").iterdir())) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(trials._Watched, "log_metrics", cut)
    words = ("tracking.enabled=false", "cache.limit_gb=0", "--quiet")
    assert run(home, "cut", *words) == ExitCode.INTERRUPTED
    assert (home / "cut/trials/002/state-8").is_dir()
    monkeypatch.setattr(
        trials._Watched, "log_metrics", lambda self, metrics, step=None: (seen.append(step), real(self, metrics, step))
    )
    seen.clear()
    assert run(home, "cut", *words, "--resume") == ExitCode.DONE
    assert seen[0] == 9  # from the state of step 8, and not from the start
    assert table(home / "cut") == table(searched)
    assert (home / "cut/cache").is_dir()
    assert not list(home.glob("cut/trials/*/cache"))


def test_a_search_may_be_made_longer_but_not_another_one(searched, home, capsys):
    assert run(home, "whole", "--resume", "tune.warmup=1") == ExitCode.CHECKPOINT
    assert "another tune.warmup" in capsys.readouterr().err
    assert run(home, "whole", "--resume", "train.steps=13") == ExitCode.CHECKPOINT
    assert run(home, "whole") == ExitCode.USAGE
    three = table(searched)
    assert run(home, "whole", "--resume", "--json", "tune.trials=4", "tracking.enabled=false") == ExitCode.DONE
    said = json.loads(capsys.readouterr().out)
    assert (said["trials"], said["finished"]) == (4, 4)
    assert said["values"].keys() == SETTINGS["tune"]["space"].keys()
    assert table(searched)[:3] == three
    assert read_config(searched).tune.trials == 4


def test_a_figure_that_no_trial_has_is_said_by_name(home, capsys):
    words = ("tune.objective=settled/auroc", "tracking.enabled=false", "train.steps=2", "train.validate_every=1")
    assert run(home, "auroc", *words) == ExitCode.USAGE
    said = capsys.readouterr().err
    assert "settled/auroc" in said
    assert "settled/temperature" in said


def test_a_dry_run_says_what_it_would_cost_and_writes_nothing(home, capsys):
    assert run(home, "dry", "--dry-run", "--json") == ExitCode.DONE
    said = json.loads(capsys.readouterr().out)
    assert (said["trials"], said["plan"]["steps"], said["train"]) == (3, 12, 28)
    assert not (home / "dry").exists()


def test_a_dry_run_names_a_folder_that_the_search_would_refuse(searched, home):
    assert run(home, "whole", "--dry-run") == ExitCode.USAGE
    assert run(home, "whole", "--dry-run", "--resume", "train.steps=13") == ExitCode.CHECKPOINT
    assert run(home, "whole", "--dry-run", "--resume", "tune.trials=9") == ExitCode.DONE


@pytest.mark.parametrize("task", ["report_gen", "classification"])
def test_the_packaged_searches_are_sound(task, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        tune.main(["--task", task, "--dry-run", "--json", "--device", "cpu"])
    assert ended.value.code == ExitCode.DONE
    assert json.loads(capsys.readouterr().out)["minutes"] < 60


@pytest.mark.parametrize(
    ("words", "searched"),
    [
        ((), 5),
        (("train.steps=5",), 5),
        (("tune.space.train.lr=[1e-3, 1e-2]",), 1),
        (("tune.space.train={lr: [1e-3, 1e-2], ema: [0, 0.9]}",), 2),
    ],
)
def test_whoever_gives_a_space_gives_all_of_it(words, searched, capsys):
    with pytest.raises(SystemExit):
        tune.main(["--print-config", "--json", *words])
    assert len(json.loads(capsys.readouterr().out)["tune"]["space"]) == searched


def test_a_task_without_packaged_search_wants_a_space(capsys):
    with pytest.raises(SystemExit) as ended:
        tune.main(["--task", "vqa", "--dry-run"])
    assert (ended.value.code, "nothing is searched" in capsys.readouterr().err) == (ExitCode.USAGE, True)
