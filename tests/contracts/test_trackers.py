"""Every tracker takes the same calls; MLflow keeps what was given, and nothing that names a patient."""

import fcntl
import logging
import os
import threading
import time

import pytest

from medmm import tracking
from medmm.config.load import load
from medmm.config.privacy import deidentified
from medmm.config.schema import TrackingConfig
from medmm.errors import UsageError
from medmm.tracking import open_tracker


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return f"sqlite:///{tmp_path / 'store.db'}"


@pytest.mark.parametrize("enabled", [True, False])
def test_the_calls_that_every_tracker_takes(enabled, store, tmp_path):
    plot = tmp_path / "curves.png"
    plot.write_bytes(b"png")
    with open_tracker(TrackingConfig(enabled=enabled, uri=store), "contract") as tracker:
        tracker.log_params({"train": {"lr": 1e-3}})
        tracker.log_metrics({"loss": 1.5, "broken": float("nan")}, step=3)
        tracker.log_tags({"data_hash": "abc"})
        tracker.log_artifact(plot)
        assert (tracker.run_id is not None) == enabled


def test_mlflow_keeps_what_was_given(store):
    import mlflow

    with open_tracker(TrackingConfig(uri=store), "kept") as tracker:
        tracker.log_params({"train": {"lr": 1e-3}, "wide": {str(i): i for i in range(150)}})
        tracker.log_metrics({"loss": 1.5, "clinical_f1/mass": 0.25}, step=3)
    run = mlflow.get_run(tracker.run_id)
    assert run.data.params["train.lr"] == "0.001"
    assert len(run.data.params) == 151
    assert run.data.metrics["clinical_f1/mass"] == 0.25
    assert run.info.status == "FINISHED"


def test_a_resumed_run_goes_on_under_its_id(store):
    config = TrackingConfig(uri=store)
    with open_tracker(config, "first") as first:
        first.log_metrics({"loss": 2.0}, step=1)
    with open_tracker(config, "again", run_id=first.run_id) as second:
        assert second.run_id == first.run_id


def test_a_failure_is_marked(store):
    import mlflow

    with pytest.raises(ZeroDivisionError), open_tracker(TrackingConfig(uri=store), "fails") as tracker:
        _ = 1 / 0
    assert mlflow.get_run(tracker.run_id).info.status == "FAILED"


def test_the_file_store_is_refused_by_name(tmp_path):
    with (
        pytest.raises(UsageError, match=r"tracking\.uri.*'file:' store.*sqlite"),
        open_tracker(TrackingConfig(uri=f"file://{tmp_path}/x"), "x"),
    ):
        raise AssertionError("never opened")


def test_parameters_hold_no_path_and_no_cell_value():
    config = load(
        None,
        None,
        ["data.reader=table", "data.path=/wards/doe_john.csv", "data.where.name=DOE", "data.image_root=/wards"],
    )
    assert "doe" not in str(deidentified(config)).lower()
    assert deidentified(config)["data"]["reader"] == "table"


def test_parameters_hold_no_password_and_no_folder_of_a_language_model():
    words = ["tracking.uri=postgresql://me:hunter2@host/db", "model.decoder.source=/home/doe_john/models/tiny-gpt"]
    words += [
        "model.encoder.name=resnet50",
        "model.encoder.weights=/home/doe_john/r50.pth",
        "model.text.source=/doe/bert",
    ]
    params = deidentified(load(None, None, words))
    assert "doe" not in str(params)
    assert (params["model"]["encoder"]["weights"], params["model"]["text"]["source"]) == ("r50.pth", "bert")
    assert "hunter2" not in str(params)
    words = ["task=pretraining", "pretrain.texts=openi:/wards/doe", "prompts.file=/wards/doe/prompts.yaml"]
    assert "doe" not in str(deidentified(load(None, None, words)))
    assert "uri" not in params["tracking"]
    assert params["model"]["decoder"]["source"] == "tiny-gpt"


CALLS = ("log_params", "log_metrics", "log_tags", "log_artifact", "log_model")


def call(tracker, name, folder):
    given = {"log_params": {"a": 1}, "log_metrics": {"loss": 1.0}, "log_tags": {"t": "x"}}
    getattr(tracker, name)(given.get(name, folder))


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("error", ["mlflow", "sql", "disk"])
def test_a_store_that_fails_is_said_once_and_costs_no_training(name, error, store, tmp_path, monkeypatch, caplog):
    import mlflow
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import OperationalError

    raised = {
        "mlflow": MlflowException("DOE^JOHN"),
        "sql": OperationalError("INSERT DOE", {}, Exception("database or disk is full")),
        "disk": OSError(28, "No space left on device"),
    }[error]
    calls = []

    def fail(*given, **named):
        calls.append(1)
        raise raised

    for place in ("log_params", "log_metrics", "set_tags", "log_artifact", "pyfunc.log_model"):
        monkeypatch.setattr(f"mlflow.{place}", fail)
    with caplog.at_level(logging.WARNING, "medmm"), open_tracker(TrackingConfig(uri=store), "fails") as tracker:
        for one in (name, *CALLS):
            call(tracker, one, tmp_path)
    assert len(calls) == 1
    (said,) = [record.getMessage() for record in caplog.records if record.name == "medmm.tracking"]
    why = "its store failed, MlflowException" if error == "mlflow" else "the disk under its store is full"
    assert said == f"MLflow keeps nothing more of this run ({why}); the run itself goes on"
    assert mlflow.active_run() is None


def test_an_end_that_cannot_be_recorded_is_a_warning(store, monkeypatch, caplog):
    import mlflow

    end = mlflow.end_run

    def fail(status):
        end(status)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(mlflow, "end_run", fail)
    with open_tracker(TrackingConfig(uri=store), "fails") as tracker:
        tracker.log_metrics({"loss": 1.0})
    assert [record.name for record in caplog.records if "goes on" in record.getMessage()] == ["medmm.tracking"]


def test_a_server_that_is_dead_is_said_within_seconds(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    start = time.monotonic()
    with pytest.raises(UsageError, match="'http:' store"), open_tracker(TrackingConfig(), "dead"):
        raise AssertionError("never opened")
    assert time.monotonic() - start < 30  # four minutes with MLflow's own patience
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ


PATIENCE = ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT")


@pytest.mark.parametrize(
    ("own", "open_", "ended"),
    [
        ({}, ("2", "5"), ("1", "1")),
        ({"MLFLOW_HTTP_REQUEST_TIMEOUT": "77"}, ("2", "77"), ("1", "77")),
        ({"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "9", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}, ("9", "5"), ("9", "5")),
    ],
)
def test_patience_is_short_while_a_run_is_open_and_what_the_user_has_set_stays(own, open_, ended, store, monkeypatch):
    import mlflow

    end, seen = mlflow.end_run, []

    def said():
        return tuple(os.environ.get(key) for key in PATIENCE)

    def fail(*given, **named):
        raise OSError("gone")

    def watched(status):
        seen.append(said())
        end(status)

    for key in PATIENCE:
        monkeypatch.delenv(key, raising=False)
    for key, value in own.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setattr(mlflow, "end_run", watched)
    with open_tracker(TrackingConfig(uri=store), "whole"):
        seen.append(said())
    monkeypatch.setattr(mlflow, "log_metrics", fail)
    with open_tracker(TrackingConfig(uri=store), "fails") as tracker:
        tracker.log_metrics({"loss": 1.0})
    assert seen == [open_, open_, ended]
    assert said() == tuple(own.get(key) for key in PATIENCE)


@pytest.mark.parametrize(("own", "timeout"), [(None, "120"), ("77", "77")])
def test_a_server_may_take_its_time_to_store_a_model(own, timeout, store, tmp_path, monkeypatch):
    seen = []
    for key in PATIENCE:
        monkeypatch.delenv(key, raising=False)
    if own is not None:
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", own)
    monkeypatch.setattr("mlflow.pyfunc.log_model", lambda **named: seen.append([os.environ[key] for key in PATIENCE]))
    with open_tracker(TrackingConfig(uri=store), "model") as tracker:
        tracker.log_model(tmp_path)
    assert seen == [["2", timeout]]
    assert os.environ.get("MLFLOW_HTTP_REQUEST_TIMEOUT") == own


def test_a_store_whose_tables_cannot_be_made_is_refused(store, monkeypatch):
    import mlflow
    from alembic.util.exc import CommandError

    def fail(name):
        raise CommandError("Can't locate revision")

    monkeypatch.setattr(mlflow, "set_experiment", fail)
    with pytest.raises(UsageError, match="CommandError"), open_tracker(TrackingConfig(uri=store), "second"):
        raise AssertionError("never opened")


def test_runs_wait_for_each_other_while_one_makes_the_tables(store, tmp_path, monkeypatch):
    start, order = tracking._start, []

    def watched(*given):
        order.append("begins")
        return start(*given)

    def leave():
        time.sleep(1.0)
        order.append("the other ends")
        os.close(other)

    monkeypatch.setattr(tracking, "_start", watched)
    other = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    thread = threading.Thread(target=leave)
    thread.start()
    with open_tracker(TrackingConfig(uri=store), "second") as tracker:
        thread.join()
    assert order == ["the other ends", "begins"]
    assert tracker.run_id is not None
