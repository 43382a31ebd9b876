"""The one door to MLflow. Nothing that enters may hold a patient's words: numbers, settings, hashes and plots only."""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from medmm.config.schema import Config, TrackingConfig
from medmm.errors import UsageError

_DEFAULT_STORE = "sqlite:///mlruns.db"
_PARAM_LENGTH = 500  # longest parameter value that every MLflow store takes
_SILENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "DVC_NO_ANALYTICS": "1",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


class Tracker(Protocol):
    """Where a run's numbers go. Every implementation passes ``tests/contracts/test_trackers.py``."""

    run_id: str | None

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Record settings; nested mappings become dotted names."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Record finite numbers; others are left out."""

    def log_tags(self, tags: Mapping[str, str]) -> None:
        """Record hashes and versions."""

    def log_artifact(self, path: Path) -> None:
        """Store a picture or a table that holds no patient data."""

    def log_model(self, folder: Path) -> None:
        """Store the model of a run directory with its signature; the whole folder is stored, so no patient in it."""


class NoTracker:
    """Takes everything and keeps nothing; for ``tracking.enabled=false``."""

    run_id: str | None = None

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Keep nothing."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Keep nothing."""

    def log_tags(self, tags: Mapping[str, str]) -> None:
        """Keep nothing."""

    def log_artifact(self, path: Path) -> None:
        """Keep nothing."""

    def log_model(self, folder: Path) -> None:
        """Keep nothing."""


class MlflowTracker:
    """An open MLflow run."""

    def __init__(self, run_id: str) -> None:
        self.run_id: str | None = run_id

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Record settings in batches of a hundred, the most that a store takes at once."""
        import mlflow

        flat = {name: str(value)[:_PARAM_LENGTH] for name, value in _flatten(params)}
        names = list(flat)
        for start in range(0, len(names), 100):
            mlflow.log_params({name: flat[name] for name in names[start : start + 100]})

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Record finite numbers under names that MLflow admits."""
        import math

        import mlflow

        finite = {re.sub(r"[^\w./ -]", "_", k): float(v) for k, v in metrics.items() if math.isfinite(v)}
        mlflow.log_metrics(finite, step=step)

    def log_tags(self, tags: Mapping[str, str]) -> None:
        """Record hashes and versions."""
        import mlflow

        mlflow.set_tags(dict(tags))

    def log_artifact(self, path: Path) -> None:
        """Store a picture or a table."""
        import mlflow

        mlflow.log_artifact(str(path))

    def log_model(self, folder: Path) -> None:
        """Store the model as a pyfunc with a signature: image paths in, drafts and findings out."""
        import mlflow
        from mlflow.models import ModelSignature
        from mlflow.types import ColSpec, DataType, Schema

        signature = ModelSignature(
            inputs=Schema([ColSpec(DataType.string, "path")]),
            outputs=Schema([ColSpec(DataType.string, "report"), ColSpec(DataType.string, "findings")]),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # asks for an example input, which would be a patient's image
            mlflow.pyfunc.log_model(
                name="model",
                python_model=str(Path(__file__).parent / "training" / "mlflow_model.py"),
                artifacts={"run": str(folder)},
                signature=signature,
                pip_requirements=["medmm"],
            )


@contextmanager
def open_tracker(config: TrackingConfig, name: str, run_id: str | None = None) -> Iterator[Tracker]:
    """Open a run in the configured store, or a tracker that keeps nothing.

    Args:
        config: Store, experiment and whether to track at all.
        name: Name of the run, shown in MLflow; no patient data.
        run_id: An earlier run to go on with; a new one if the store does not know it.

    Raises:
        UsageError: The store cannot be reached, or is the ``file:`` store that MLflow no longer writes to.
    """
    if not config.enabled:
        yield NoTracker()
        return
    os.environ.update({key: value for key, value in _SILENT.items() if key not in os.environ})
    uri = config.uri or os.environ.get("MLFLOW_TRACKING_URI") or _DEFAULT_STORE
    run = _start(uri, config.experiment, name, run_id)
    import mlflow

    status = "FAILED"
    try:
        yield MlflowTracker(run)
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        mlflow.end_run(status)


def deidentified(config: Config) -> dict[str, Any]:
    """The config as parameters, without the paths and cell values that may name a patient or a place."""
    params = config.model_dump(mode="json")
    for key in ("path", "reports", "image_root", "mask_root", "where"):
        params["data"].pop(key)
    return params


def _start(uri: str, experiment: str, name: str, run_id: str | None) -> str:
    import mlflow
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    for logger in ("alembic", "mlflow"):  # a dozen lines at every start otherwise; importing sets them
        logging.getLogger(logger).setLevel(logging.WARNING)
    try:
        mlflow.set_tracking_uri(uri)
        mlflow.set_experiment(experiment)
        known = run_id if run_id and _knows(run_id) else None
        mlflow.enable_system_metrics_logging()
        return str(mlflow.start_run(run_id=known, run_name=None if known else name).info.run_id)
    except (MlflowException, SQLAlchemyError, OSError) as error:
        raise UsageError(
            f"the tracking store cannot be opened ({type(error).__name__})",
            where="tracking.uri",
            got=f"a '{uri.partition(':')[0]}:' store",
            fix="Use sqlite:///FILE in a folder that can be written, a server, or tracking.enabled=false.",
        ) from error


def _knows(run_id: str) -> bool:
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        mlflow.get_run(run_id)
    except MlflowException:
        return False
    return True


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{name}.")
        else:
            yield name, value
