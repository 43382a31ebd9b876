"""The one door to MLflow. Nothing that enters may hold a patient's words: numbers, settings, hashes and plots only."""

from __future__ import annotations

import json
import logging
import math
import os
import re
import time
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from operator import attrgetter
from pathlib import Path
from typing import Any, Protocol

from medmm.config.schema import TrackingConfig
from medmm.errors import ResourceError, UsageError, is_full_disk

_log = logging.getLogger(__name__)
_DEFAULT_STORE = "sqlite:///mlruns.db"
_PARAM_LENGTH = 500  # longest parameter value that every MLflow store takes
_WAIT_S = 30  # for another process that opens a store in the same folder; its tables take ten seconds on a busy machine
_TIGHT = 65_536  # bytes; SQLite says "disk I/O error" where its journal finds less than it needs
_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}  # 3 x 5 s, a pause of 5 s
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

    def _keep_nothing(self, *given: Any, **named: Any) -> None:
        pass

    log_params = log_metrics = log_tags = log_artifact = log_model = _keep_nothing


class MlflowTracker:
    """An open MLflow run. When its store fails, that is said once, and from then on nothing more is kept."""

    def __init__(self, run_id: str, ours: Collection[str] = ()) -> None:
        self.run_id: str | None = run_id
        self._failed, self._ours = False, ours  # ours: the settings of patience that the user has not made

    def _give(self, function: str, *given: Any, **named: Any) -> None:
        """Call a function of MLflow; a training outlives its tracking."""
        import mlflow

        if self._failed and function != "end_run":
            return
        try:
            attrgetter(function)(mlflow)(*given, **named)
        except _troubles() as error:
            if not self._failed:
                why = "the disk under its store is full" if is_full_disk(error) else f"its store failed, {_kind(error)}"
                _log.warning("MLflow keeps nothing more of this run (%s); the run itself goes on", why)
            self._failed = True

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Record settings in batches of a hundred, the most that a store takes at once."""
        flat = [(name, str(value)[:_PARAM_LENGTH]) for name, value in _flatten(params)]
        for start in range(0, len(flat), 100):
            self._give("log_params", dict(flat[start : start + 100]))

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Record finite numbers under names that MLflow admits."""
        finite = {re.sub(r"[^\w./ -]", "_", k): float(v) for k, v in metrics.items() if math.isfinite(v)}
        self._give("log_metrics", finite, step=step)

    def log_tags(self, tags: Mapping[str, str]) -> None:
        """Record hashes and versions."""
        self._give("set_tags", dict(tags))

    def log_artifact(self, path: Path) -> None:
        """Store a picture or a table."""
        self._give("log_artifact", str(path))

    def end(self, status: str) -> None:
        """Close the run; a store that has failed before is asked once more, with less patience."""
        os.environ.update(dict.fromkeys(self._ours if self._failed else (), "1"))  # one second, one retry
        self._give("end_run", status)

    def log_model(self, folder: Path) -> None:
        """Store the model as a pyfunc with the signature that ``signature.json`` in the folder says, if it is there."""
        from mlflow.models import ModelSignature

        said = folder / "signature.json"
        signature = ModelSignature.from_dict(json.loads(said.read_text(encoding="utf-8"))) if said.is_file() else None
        os.environ.update({key: "120" for key in self._ours if "TIMEOUT" in key})  # a server stores gigabytes slowly
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # asks for an example input, which would be a patient's image
            self._give(
                "pyfunc.log_model",
                name="model",
                python_model=str(Path(__file__).parent / "training" / "mlflow_model.py"),
                artifacts={"run": str(folder)},
                signature=signature,
                pip_requirements=["medmm"],
            )


@contextmanager
def open_tracker(
    config: TrackingConfig, name: str, run_id: str | None = None, parent: str | None = None
) -> Iterator[Tracker]:
    """Open a run in the configured store, or a tracker that keeps nothing.

    Once it is open, no failure of the store is raised: it is said once as a warning of the logger ``medmm.tracking``.

    Args:
        config: Store, experiment and whether to track at all.
        name: Name of the run, shown in MLflow; no patient data.
        run_id: An earlier run to go on with; a new one if the store does not know it.
        parent: The run that this one is a part of; that run may be open meanwhile, but takes nothing.

    Raises:
        UsageError: The store cannot be reached, or is the ``file:`` store that MLflow no longer writes to.
        ResourceError: The disk that the store lies on is full.
    """
    if not config.enabled:
        yield NoTracker()
        return
    os.environ.update({key: value for key, value in _SILENT.items() if key not in os.environ})
    uri = config.uri or os.environ.get("MLFLOW_TRACKING_URI") or _DEFAULT_STORE
    with _patience() as ours:
        tracker = MlflowTracker(_open(uri, config.experiment, name, run_id, parent), ours)
        status = "FAILED"
        try:
            yield tracker
            status = "FINISHED"
        except KeyboardInterrupt:
            status = "KILLED"
            raise
        finally:
            tracker.end(status)


def _open(uri: str, experiment: str, name: str, run_id: str | None, parent: str | None) -> str:
    """Start a run and give its id."""
    _quieten()
    try:
        with _alone(uri):
            return _start(uri, experiment, name, run_id, parent)
    except _troubles() as error:
        raise _refusal(error, uri) from error


@contextmanager
def _alone(uri: str) -> Iterator[None]:
    """Wait for other processes: two that make the tables of a fresh SQLite store at once break each other's work."""
    with ExitStack() as held:
        if uri.startswith("sqlite:"):
            with suppress(OSError, ImportError):
                import fcntl

                folder = os.open(_folder(uri), os.O_RDONLY)
                held.callback(os.close, folder)
                for _ in range(_WAIT_S * 10):
                    with suppress(BlockingIOError):
                        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        break
                    time.sleep(0.1)
        yield


def _start(uri: str, experiment: str, name: str, run_id: str | None, parent: str | None) -> str:
    import mlflow
    from mlflow.exceptions import MlflowException

    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment(experiment)
    known = None
    with suppress(MlflowException):  # the store does not know it
        known = mlflow.get_run(run_id).info.run_id if run_id else None
    mlflow.enable_system_metrics_logging()
    return str(
        mlflow.start_run(
            run_id=known, run_name=None if known else name, nested=parent is not None, parent_run_id=parent
        ).info.run_id
    )


def _refusal(error: Exception, uri: str) -> ResourceError | UsageError:
    in_file = uri.startswith("sqlite:")
    if is_full_disk(error) or (in_file and _free_bytes(uri) < _TIGHT):
        return ResourceError(
            "the disk that the tracking store lies on is full",
            where="tracking.uri",
            got=f"{_free_bytes(uri):,} bytes free" if in_file else None,
            fix="Free some space there, or use tracking.uri=sqlite:///FILE on another disk, or tracking.enabled=false.",
        )
    return UsageError(
        f"the tracking store cannot be opened ({_kind(error)})",
        where="tracking.uri",
        got=f"a '{uri.partition(':')[0]}:' store",
        fix="Use sqlite:///FILE in a folder that can be written, a server, or tracking.enabled=false.",
    )


def _folder(uri: str) -> Path:
    return Path(uri.removeprefix("sqlite:///").partition("?")[0]).absolute().parent


def _free_bytes(uri: str) -> int:
    """Bytes that may still be written where a store in a file lies; far more than enough where nobody can say."""
    try:
        disk = os.statvfs(_folder(uri))
    except OSError:
        return 1 << 62
    return disk.f_bavail * disk.f_frsize


def _troubles() -> tuple[type[Exception], ...]:
    """What MLflow raises when its store is at fault; the errors of ``requests`` are OSErrors."""
    from alembic.util.exc import CommandError
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    return MlflowException, SQLAlchemyError, CommandError, OSError


def _kind(error: BaseException) -> str:
    """Class of an error, or of the one that MLflow has wrapped; no message of theirs, it may quote values."""
    return type(error.__cause__ or error).__name__


def _quieten() -> None:
    """Leave the words to medmm: MLflow says a dozen lines at every start, and SQL with values at every failure."""
    import mlflow  # noqa: F401 - importing sets levels

    for logger in ("alembic", "mlflow"):
        logging.getLogger(logger).setLevel(logging.WARNING)
    for logger in ("mlflow.store", "mlflow.system_metrics", "mlflow.tracking", "mlflow.utils", "urllib3"):
        logging.getLogger(logger).setLevel(logging.CRITICAL)


@contextmanager
def _patience() -> Iterator[Collection[str]]:
    """Let a dead server cost half a minute in all, not MLflow's own four a call; gives what the user has not set."""
    added = [key for key in _PATIENCE if key not in os.environ]
    os.environ.update({key: _PATIENCE[key] for key in added})
    try:
        yield added
    finally:
        for key in added:
            os.environ.pop(key, None)


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
