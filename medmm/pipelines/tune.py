"""``medmm tune --task report_gen``: search for the settings that train best, resumable at any step of any trial."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from medmm.config.schema import Config
from medmm.errors import CheckpointError, MedmmError, TrainingError, UsageError
from medmm.pipelines import _cli, _training, finetune
from medmm.pipelines._console import Console

_DEFAULT_TASK = finetune.Task("report_gen")
_OUT = (
    "Folder of the search; if not given a new one, runs/tune-TASK, runs/tune-TASK-2 and so on, with --resume the last."
)
_FREE_TO_CHANGE = {"trials", "minutes", "keep"}  # a search may be made longer


@partial(_cli.stage, out=_OUT)
def command(
    call: _cli.Invocation,
    task: Annotated[finetune.Task, typer.Option("--task", help="What to train.")] = _DEFAULT_TASK,
) -> Mapping[str, Any]:
    """Search for settings by many short trainings; those that fall behind are stopped."""
    config = _configured(call, str(task))
    from medmm.config import space

    space.check(config)
    from medmm.training import plan as plans
    from medmm.training.search import require_optuna

    require_optuna()  # before anything is read or claimed
    plans.choose_device(config.device)
    if plans.processes() > 1:
        raise UsageError("a search is one process", where="torchrun", fix="Start it without torchrun.")
    return _dry(call, config) if call.dry_run else _search(call, config)


def _configured(call: _cli.Invocation, task: str) -> Config:
    """The config; the packaged space is searched only where the user gives none, and is never mixed with theirs."""
    from medmm.config.load import config_file, load

    name = f"tune/{task}.yaml"
    packaged = load(name).tune.space if config_file(name) else {}
    given = load(None, call.file, (*call.words, call.given)).tune.space
    without = {"tune": {"space": dict.fromkeys(packaged)}} if given else None
    return call.load_config(name, without, task=task)


def _dry(call: _cli.Invocation, config: Config) -> Mapping[str, Any]:
    from medmm.training import records

    if call.out is not None or call.resume:
        out = call.folder(_folder(config))
        records.require_free(out, _as_begun(out, config, call.resume), resume=call.resume)
    tune = config.tune
    said = _training.dry_run(call, config)
    minutes = min(tune.trials * said["plan"]["minutes"], tune.minutes or float("inf"))
    call.console.line(
        f"search: {tune.trials} such trials over {len(tune.space)} settings, about {minutes:.0f} min at most"
    )
    return {**said, "trials": tune.trials, "minutes": minutes}


def _search(call: _cli.Invocation, config: Config) -> Mapping[str, Any]:
    from medmm.config.load import to_yaml
    from medmm.io.atomic import write_text
    from medmm.pipelines import _data
    from medmm.tracking import open_tracker
    from medmm.training import records
    from medmm.training.search import Search

    out = call.folder(_folder(config))
    records.claim(out, _as_begun(out, config, call.resume), resume=call.resume)
    write_text(out / "config.yaml", to_yaml(config))
    manifest = _data.manifest_for_training(config, out / "data", call.console)
    if not manifest.counts()["val"]:
        raise UsageError("a search needs validation studies", where="data.splits.val", got="none")
    with (
        Search(config, out) as search,
        open_tracker(config.tracking, f"tune-{config.task}", search.recall("mlflow_run_id")) as parent,
    ):
        if parent.run_id is not None and parent.run_id != search.recall("mlflow_run_id"):
            _announce(search, parent)
        trials = _Trials(call.console, search, manifest, out, parent)
        search.run(trials.make, trials.done)
        return _told(call, search, out, parent)


def _folder(config: Config) -> str:
    return f"runs/tune-{config.task}"


def _as_begun(out: Path, config: Config, resume: bool) -> Config:
    """The config as the search in ``out`` was started with, which goes on and may be made longer; else the same one."""
    from medmm.training import records

    begun = records.read_config(out).tune if resume and (out / "config.yaml").is_file() else config.tune
    old, new = (one.model_dump(exclude=_FREE_TO_CHANGE) for one in (begun, config.tune))
    if old != new:
        raise CheckpointError(
            "the search was started with other settings",
            where="--resume",
            got=", ".join(f"another tune.{key}" for key in old if old[key] != new[key]),
            fix="Use those that it was started with, or another --out.",
        )
    return config.model_copy(update={"tune": begun})


def _announce(search: Any, parent: Any) -> None:
    """Say to MLflow what is searched, once."""
    from medmm.config.privacy import deidentified
    from medmm.config.space import shown

    search.remember("mlflow_run_id", parent.run_id)
    params = deidentified(search.config)
    for key, choice in params["tune"]["space"].items():
        params["tune"]["space"][key] = choice if isinstance(choice, dict) else [shown(value) for value in choice]
    parent.log_params(params)


class _Trials:
    """Makes the trials of a search, each a run in MLflow below the search's own, and tells how they go."""

    def __init__(self, console: Console, search: Any, manifest: Any, out: Path, parent: Any) -> None:
        self._console, self._search, self._manifest, self._out, self._parent = console, search, manifest, out, parent

    def make(self, attempt: Any) -> float:
        """Train a trial and give its figure."""
        from medmm.training import trials
        from medmm.training.search import StoppedError, Why
        from medmm.training.search_report import in_short

        search: Config = self._search.config
        values = ", ".join(f"{key} {in_short(value)}" for key, value in attempt.values.items())
        self._console.line(f"trial {attempt.number} of {search.tune.trials}: {values}")
        config = trials.trial_config(search, attempt, self._out)
        folder = trials.trial_folder(self._out, attempt.number)
        stopped: Why | None = None
        with self._child(config, attempt.number) as tracker, self._console.progress("training") as progress:
            try:
                figure, aside = trials.train_trial(
                    attempt, config, search.tune, self._manifest, folder, tracker, progress
                )
                tracker.log_metrics({"objective": figure})
            except StoppedError as error:  # not a failure: MLflow is to call the run finished
                tracker.log_tags({"stopped": str(error.why)})
                stopped = error.why
        if stopped is not None:
            raise StoppedError(stopped)
        self._search.remember("aside", sorted(aside))
        return figure

    def done(self, outcome: Any) -> None:
        """Tell what came of a trial, and remove the weights that are not to stay."""
        from medmm.training.search_report import write_table
        from medmm.training.trials import tidy

        ranking = self._search.ranking()
        tidy(self._out, self._search.outcomes(), ranking[: self._search.config.tune.keep])
        write_table(self._search, self._out)
        if outcome.repeats is not None:
            said = f"the same as trial {outcome.repeats}, not trained again"
        elif outcome.figure is None:
            said = f"stopped after {len(outcome.judged)} validations, {outcome.why}"
        else:
            self._parent.log_metrics({"objective": outcome.figure, "best": ranking[0].figure}, outcome.number)
            said = f"{self._search.config.tune.objective} {outcome.figure:.5g}"
        best = f"; best: trial {ranking[0].number} with {ranking[0].figure:.5g}" if ranking else ""
        self._console.line(f"  trial {outcome.number}: {said}{best}")

    @contextmanager
    def _child(self, config: Config, number: int) -> Iterator[Any]:
        """A run below the search's; where the store fails by now the trial goes on without."""
        from medmm.tracking import NoTracker, open_tracker
        from medmm.training import records, trials

        known = records.tracked_as(trials.trial_folder(self._out, number))
        with ExitStack() as opened:
            tracker: Any = NoTracker()
            if self._parent.run_id is not None:
                child = open_tracker(config.tracking, f"trial-{number:03d}", known, self._parent.run_id)
                try:
                    tracker = opened.enter_context(child)
                except MedmmError as error:
                    self._console.line(f"note: this trial is not tracked, {error.what}")
            yield tracker


def _told(call: _cli.Invocation, search: Any, out: Path, parent: Any) -> Mapping[str, Any]:
    from medmm.pipelines import _data
    from medmm.training import search_report

    ranking, made, config = search.ranking(), search.outcomes(), search.config
    if not ranking:
        raise TrainingError(
            "no trial came to an end", got=", ".join(f"trial {one.number}: {one.why}" for one in made[:8])
        )
    best = ranking[0]
    search_report.write_table(search, out)
    search_report.write_best(search, out)
    search_report.draw(search, out / "search.png")
    search_report.write_page(search, out)
    for name in ("trials.csv", "search.png", "tune.md"):
        parent.log_artifact(out / name)
    call.console.line(f"best of {len(made)} trials: trial {best.number}, {config.tune.objective} {best.figure:.5g}")
    for note in search_report.notes(search):
        call.console.line(f"  {note}")
    call.console.line(f"next: python -m medmm.pipelines.finetune --task {config.task} --config {out / 'best.yaml'}")
    said = {"out": out, "trials": len(made), "finished": len(ranking), "best_trial": best.number}
    aside = {*(search.recall("aside") or ()), *_data.rejected_by_index(out / "data")}
    return {**said, "figure": best.figure, "values": dict(best.values), "exit_code": _cli.exit_code(aside)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the stage as a program; never returns."""
    _cli.run(command, "tune", arguments)


if __name__ == "__main__":
    main()
