"""Trials of a search as runs: each a short training in a folder of its own, on one manifest and one cache of images."""

from __future__ import annotations

import gc
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from medmm.config.schema import CacheConfig, Config
from medmm.config.space import with_values
from medmm.config.tune import TuneConfig
from medmm.data.manifest import Manifest
from medmm.errors import TrainingError, UsageError, is_out_of_memory
from medmm.tracking import Tracker
from medmm.training.provenance import config_hash
from medmm.training.records import claim, read_config
from medmm.training.run import finetune, plan_for
from medmm.training.search import Attempt, Outcome, StoppedError, Why

_ALL_IMAGES_GB = 1e6
_STATES = ("state-*", "last", "cache")


def trial_folder(out: Path, number: int) -> Path:
    """Run directory of a trial, counted from 1."""
    return out / "trials" / f"{number:03d}"


def trial_config(config: Config, attempt: Attempt, out: Path) -> Config:
    """The config of a trial's run.

    Images that the shared cache is not to keep lie below ``out``, once for all trials; no model goes to MLflow.

    Raises:
        StoppedError: The values do not go together.
    """
    try:
        own = with_values(config, attempt.values)
    except ValidationError as error:
        raise StoppedError(Why.DO_NOT_FIT) from error
    cache = own.cache if own.cache.limit_gb else CacheConfig(root=out / "cache", limit_gb=_ALL_IMAGES_GB)
    tracking = own.tracking.model_copy(update={"log_model": False})
    return own.model_copy(update={"cache": cache, "tracking": tracking})


def train_trial(
    attempt: Attempt,
    config: Config,
    tune: TuneConfig,
    manifest: Manifest,
    folder: Path,
    tracker: Tracker,
    progress: Callable[..., None] | None = None,
) -> tuple[float, Mapping[str, int]]:
    """Train a trial, or go on with it where it was cut off.

    Args:
        attempt: What is tried.
        config: The trial's config, as :func:`trial_config` gives it.
        tune: How the search judges.
        manifest: Studies of all trials.
        folder: The trial's run directory.
        tracker: Where the trial's numbers go.
        progress: Called as ``progress(done, total, note)``.

    Returns:
        The trial's figure, and reason to how many studies and images were set aside.

    Raises:
        StoppedError: It fell behind, its loss is no finite number, or its memory did not suffice.
        UsageError: The objective is none of the run's figures.
        DataError: No study can be learned from.
        ResourceError: The disk is full.
    """
    gc.collect()  # what the last trial has left in memory
    goes_on = _is_of(folder, config)
    if not goes_on:
        shutil.rmtree(folder, ignore_errors=True)
    claim(folder, config, resume=goes_on)
    _share(manifest.path, folder / "data" / manifest.path.name)
    chosen = plan_for(config, manifest, folder, goes_on)
    watched = _Watched(tracker, attempt.judge, tune, chosen.validate_every)
    with _failing_alone():
        result = finetune(config, manifest, folder, goes_on, watched, progress, chosen)
    return figure_of(folder, tune.objective), result.aside


@contextmanager
def _failing_alone() -> Iterator[None]:
    """Turn what a trial's own settings may bring about into its end; the rest ends the search."""
    try:
        yield
    except TrainingError as error:
        raise StoppedError(Why.DIVERGED) from error
    except Exception as error:
        if is_out_of_memory(error):
            raise StoppedError(Why.OUT_OF_MEMORY) from error
        raise


def figure_of(run: Path, objective: str) -> float:
    """Read the objective from a run's history.

    Args:
        run: Run directory of a training that ended.
        objective: ``val/NAME``, of the validation whose weights were kept, or ``settled/NAME``.

    Raises:
        UsageError: The run has no such figure; those that it has are named.
    """
    history = json.loads((run / "history.json").read_text(encoding="utf-8"))
    best = [one for one in history["validation"] if one["step"] == history["best_step"]]
    kept = {f"val/{name}": value for one in best for name, value in one.items() if name != "step"}
    known = kept | {f"settled/{name}": value for name, value in history["settled"].items()}
    if objective not in known:
        raise UsageError(
            "a trial has no such figure",
            where="tune.objective",
            got=f"'{objective}'",
            expected=" | ".join(known) or "a run that was validated",
            fix="Begin in another --out with one of these.",
        )
    value = known[objective]
    return math.nan if value is None else float(value)


def tidy(out: Path, made: Sequence[Outcome], best: Sequence[Outcome]) -> None:
    """Remove the states of all trials, and the weights of all but the best ones.

    Args:
        out: The search's folder.
        made: Trials that are over.
        best: Those of them that keep their weights.
    """
    kept = {one.number for one in best}
    for one in made:
        folder = trial_folder(out, one.number)
        for pattern in _STATES if one.number in kept else (*_STATES, "model"):
            for path in folder.glob(pattern):
                shutil.rmtree(path) if path.is_dir() else path.unlink()


class _Watched:
    """A tracker that also tells the search how each validation went."""

    def __init__(self, tracker: Tracker, judge: Callable[[int, float], None], tune: TuneConfig, every: int) -> None:
        self._tracker, self._judge, self._every = tracker, judge, every
        self.run_id = tracker.run_id
        self.log_params, self.log_tags = tracker.log_params, tracker.log_tags
        self.log_artifact, self.log_model = tracker.log_artifact, tracker.log_model
        is_settled = tune.objective.startswith(
            "settled/"
        )  # known only at the end; until then the loss tells who is behind
        self._name = "val/loss" if is_settled else tune.objective
        self._sign = -1.0 if is_settled and tune.direction == "maximize" else 1.0

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Record numbers, and end the trial where it is not worth going on."""
        self._tracker.log_metrics(metrics, step)
        if self._name in metrics and step is not None:
            # Trials may differ in their steps: the third validation of one is compared with the third of another.
            self._judge(math.ceil(step / self._every), self._sign * metrics[self._name])


def _is_of(folder: Path, config: Config) -> bool:
    """Whether a run of these settings was begun in the folder."""
    return (folder / "config.yaml").is_file() and config_hash(read_config(folder)) == config_hash(config)


def _share(manifest: Path, own: Path) -> None:
    """Put the manifest beside the run too, which is evaluated on its split; one and the same file where it can be."""
    if own.exists():
        return
    own.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(manifest, own)
    except OSError:
        shutil.copy2(manifest, own)
