"""The one door to Optuna: what a search tries next, what came of each trial, and how one that was cut off goes on.

What a trial draws follows from the seed, its number and what came of the trials before it; nothing is timed. A trial
that was cut off draws the same again.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from medmm.config.schema import Config
from medmm.config.space import own_values, takes_whole_numbers
from medmm.config.tune import Range, Scalar
from medmm.errors import UsageError
from medmm.training.search_journal import Journal, hold

JOURNAL = "search.jsonl"
_ENOUGH = 4  # finished trials, before anything is said of which setting matters
_log = logging.getLogger(__name__)


class Why(StrEnum):
    """Why a trial was stopped."""

    BEHIND = "behind_the_median"
    DIVERGED = "diverged"
    OUT_OF_MEMORY = "out_of_memory"
    DO_NOT_FIT = "settings_do_not_fit"


class StoppedError(Exception):
    """A trial ends here without a figure, and the search goes on."""

    def __init__(self, why: Why) -> None:
        self.why = why
        super().__init__(str(why))


@dataclass(frozen=True)
class Attempt:
    """A trial that is to be made.

    Attributes:
        number: Its number, from 1.
        values: Dotted key to the value that is tried.
        judge: Called as ``judge(validation, figure)`` with the number of a validation, from 1; raises
            :class:`StoppedError` where the trial is not worth going on.
    """

    number: int
    values: Mapping[str, Scalar]
    judge: Callable[[int, float], None]


@dataclass(frozen=True)
class Outcome:
    """What came of a trial.

    Attributes:
        number: Its number, from 1.
        values: Dotted key to the value that was tried.
        own: Whether these are the config's own values.
        figure: The objective; None where the trial was stopped.
        why: Why it was stopped; None where it was not.
        judged: Validation, from 1, to the figure that it was judged by; as the pruner sees it.
        minutes: Time that it took, without what was cut off.
        repeats: The trial that had the same values before; it was not trained again.
    """

    number: int
    values: Mapping[str, Scalar]
    own: bool
    figure: float | None
    why: Why | None
    judged: Mapping[int, float]
    minutes: float
    repeats: int | None = None


def require_optuna() -> Any:
    """Import Optuna, and let it speak as medmm does.

    Raises:
        UsageError: It is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        fix = "Install it with: pip install 'medmm[tune]'"
        raise UsageError("a search needs Optuna, which is not installed", where="tune", fix=fix) from error
    optuna.logging.disable_default_handler()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logger = logging.getLogger("optuna")
    if not any(isinstance(handler, _Forward) for handler in logger.handlers):
        logger.addHandler(_Forward())
    return optuna


class Search:
    """A search whose trials are kept in ``folder/search.jsonl``; one process at a time.

    Args:
        config: The search's config; its space is checked.
        folder: Where the journal lies; an earlier one there is gone on with.

    Raises:
        UsageError: Optuna is not installed, or another process searches there.
        ResourceError: The disk is full.
    """

    def __init__(self, config: Config, folder: Path) -> None:
        optuna = require_optuna()
        from optuna.storages import JournalStorage

        self.config, self._optuna = config, optuna
        tune, journal = config.tune, folder / JOURNAL
        backend: Any = Journal(journal)
        self._held = hold(journal)
        self._study = optuna.create_study(
            storage=JournalStorage(backend),
            study_name="medmm",
            direction=tune.direction,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=tune.startup, n_warmup_steps=tune.warmup + 1),
            load_if_exists=True,
        )
        for trial in self._study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
            self._study.tell(trial.number, state=optuna.trial.TrialState.FAIL)  # was cut off

    def __enter__(self) -> Search:
        """Nothing more to set up."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Let go of the folder."""
        os.close(self._held)

    def outcomes(self) -> list[Outcome]:
        """What came of the trials so far, in their order; those that were cut off are not among them."""
        state = self._optuna.trial.TrialState
        trials = self._study.get_trials(deepcopy=False, states=(state.COMPLETE, state.PRUNED))
        return [_outcome(number, trial) for number, trial in enumerate(trials, start=1)]

    def ranking(self) -> list[Outcome]:
        """Trials with a figure, the best first; those that repeat one are left out."""
        sign = 1 if self.config.tune.direction == "minimize" else -1
        own = [one for one in self.outcomes() if one.repeats is None]
        finished = [(sign * one.figure, one.number, one) for one in own if one.figure is not None]
        return [one for *_, one in sorted(finished, key=lambda entry: entry[:2])]

    def importance(self) -> dict[str, float]:
        """Share of the figure's variance that each setting explains, by fANOVA (Hutter et al. 2014), most first.

        Returns:
            Dotted key to a share in [0, 1]; empty where too few trials have a figure, or all the same one.
        """
        figures = [one.figure for one in self.ranking()]
        if len(figures) < _ENOUGH or len(set(figures)) < 2:
            return {}
        evaluator = self._optuna.importance.FanovaImportanceEvaluator(seed=self.config.seed)
        return dict(self._optuna.importance.get_param_importances(self._study, evaluator=evaluator))

    def run(self, objective: Callable[[Attempt], float], done: Callable[[Outcome], None]) -> None:
        """Make the trials that are left.

        Args:
            objective: Makes a trial and gives its figure, or raises :class:`StoppedError`. Anything else that it raises
                ends the search, and the trial counts as cut off.
            done: Told what came of each trial.
        """
        while len(made := self.outcomes()) < self.config.tune.trials and not self._is_late(made):
            trial = self._ask(len(made) + 1)
            attempt = Attempt(len(made) + 1, dict(trial.params), self._judge(trial))
            known = next((one for one in made if one.values == attempt.values), None)
            try:
                figure = objective(attempt) if known is None else self._again(trial, known)
                if not math.isfinite(figure):
                    raise StoppedError(Why.DIVERGED)
            except StoppedError as stopped:
                trial.set_user_attr("why", str(stopped.why))
                self._study.tell(trial, state=self._optuna.trial.TrialState.PRUNED)
            else:
                self._study.tell(trial, figure)
            done(self.outcomes()[-1])

    def _again(self, trial: Any, known: Outcome) -> float:
        """What came of the same values before: with the same seed it would come again."""
        trial.set_user_attr("repeats", known.repeats or known.number)
        if known.figure is None:
            raise StoppedError(known.why or Why.DIVERGED)
        return known.figure

    def recall(self, name: str) -> Any:
        """What was remembered under a name; None where nothing was."""
        return self._study.user_attrs.get(name)

    def remember(self, name: str, value: Any) -> None:
        """Keep something that JSON can hold in the journal."""
        self._study.set_user_attr(name, value)

    def _is_late(self, made: Iterable[Outcome]) -> bool:
        limit = self.config.tune.minutes
        return limit is not None and sum(one.minutes for one in made) >= limit

    def _ask(self, number: int) -> Any:
        """Draw a trial. Its generator is its own: one that went on through the search would start anew when resumed."""
        tune, state = self.config.tune, self._optuna.trial.TrialState
        seed = _seed(self.config.seed, number)
        self._study.sampler = self._optuna.samplers.TPESampler(n_startup_trials=tune.startup, seed=seed)
        own = own_values(self.config) if number == 1 else None
        if own is not None and not self._study.get_trials(deepcopy=False, states=(state.WAITING,)):
            self._study.enqueue_trial(own, user_attrs={"own": True})
        trial = self._study.ask({key: self._distribution(key) for key in tune.space})
        cut_off = self._study.get_trials(deepcopy=False, states=(state.FAIL,))
        if cut_off and cut_off[-1].params == trial.params:
            for validation, figure in cut_off[-1].intermediate_values.items():
                trial.report(figure, validation)  # a training that goes on from its state does not validate them again
        return trial

    def _judge(self, trial: Any) -> Callable[[int, float], None]:
        known = set(self._study.get_trials(deepcopy=False)[trial.number].intermediate_values)

        def judge(validation: int, figure: float) -> None:
            if validation not in known and math.isfinite(figure):
                known.add(validation)
                trial.report(figure, validation)
            if self.config.tune.prune and trial.should_prune():
                raise StoppedError(Why.BEHIND)

        return judge

    def _distribution(self, key: str) -> Any:
        choice, kinds = self.config.tune.space[key], self._optuna.distributions
        if not isinstance(choice, Range):
            return kinds.CategoricalDistribution(choice)
        if takes_whole_numbers(key):
            step = 1 if choice.step is None else int(choice.step)
            return kinds.IntDistribution(int(choice.low), int(choice.high), log=choice.log, step=step)
        return kinds.FloatDistribution(float(choice.low), float(choice.high), log=choice.log, step=choice.step)


class _Forward(logging.Handler):
    """Hands Optuna's warnings on to medmm's own logger, which a stage listens to."""

    def emit(self, record: logging.LogRecord) -> None:
        _log.log(record.levelno, record.getMessage())


def _outcome(number: int, trial: Any) -> Outcome:
    why = trial.user_attrs.get("why")
    return Outcome(
        number=number,
        values=dict(trial.params),
        own=bool(trial.user_attrs.get("own")),
        figure=None if why else trial.value,
        why=Why(why) if why else None,
        judged=dict(trial.intermediate_values),
        minutes=trial.duration.total_seconds() / 60,
        repeats=trial.user_attrs.get("repeats"),
    )


def _seed(seed: int, number: int) -> int:
    digest = hashlib.blake2b(f"{seed}\0{number}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little")
