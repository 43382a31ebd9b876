"""Every tracker takes the same calls; MLflow keeps what was given, and nothing that names a patient."""

import pytest

from medmm.config.load import load
from medmm.config.schema import TrackingConfig
from medmm.errors import UsageError
from medmm.tracking import deidentified, open_tracker


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
