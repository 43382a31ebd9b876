"""Trials as runs: what stops one, what ends the search, by which figure it is judged, and what stays of it."""

import json

import pytest

from medmm.config.tune import TuneConfig
from medmm.errors import DataError, TrainingError, UsageError
from medmm.tracking import NoTracker
from medmm.training import trials
from medmm.training.search import Attempt, Outcome, StoppedError, Why


def train(small, manifest, folder, tune=None, judge=lambda *_: None):
    attempt = Attempt(1, {}, judge)
    return trials.train_trial(attempt, small, tune or TuneConfig(), manifest, folder, NoTracker())


@pytest.mark.parametrize(
    ("error", "raised", "says"),
    [
        (TrainingError("the loss is no finite number"), StoppedError, Why.DIVERGED),
        (MemoryError(), StoppedError, Why.OUT_OF_MEMORY),
        (RuntimeError("CUDA out of memory"), StoppedError, Why.OUT_OF_MEMORY),
        (StoppedError(Why.BEHIND), StoppedError, Why.BEHIND),
        (DataError("no study"), DataError, "no study"),
        (RuntimeError("shapes differ"), RuntimeError, "shapes differ"),
    ],
)
def test_what_stops_a_trial_and_what_ends_the_search(error, raised, says, small, manifest, tmp_path, monkeypatch):
    def fails(*given):
        raise error

    monkeypatch.setattr(trials, "finetune", fails)
    with pytest.raises(raised, match=str(says)):
        train(small, manifest, tmp_path)


@pytest.mark.parametrize(
    ("objective", "direction", "judged"),
    [
        ("val/loss", "minimize", [(1, 0.5), (4, 0.25)]),
        ("val/accuracy", "maximize", [(1, 0.7), (4, 0.8)]),
        ("settled/auroc", "maximize", [(1, -0.5), (4, -0.25)]),  # the lower the loss, the further ahead
        ("settled/ece", "minimize", [(1, 0.5), (4, 0.25)]),
    ],
)
def test_validations_are_judged_by_their_number(objective, direction, judged, small, manifest, tmp_path, monkeypatch):
    def trains(config, manifest, folder, resume, tracker, progress, plan):
        assert plan.validate_every == 3
        tracker.log_metrics({"train/loss": 1.0}, 2)
        tracker.log_metrics({"val/loss": 0.5, "val/accuracy": 0.7}, 3)
        tracker.log_metrics({"val/loss": 0.25, "val/accuracy": 0.8}, 11)  # the last one, between two
        raise StoppedError(Why.BEHIND)

    monkeypatch.setattr(trials, "finetune", trains)
    seen = []
    tune = TuneConfig(objective=objective, direction=direction)
    with pytest.raises(StoppedError):
        train(small, manifest, tmp_path, tune, lambda *said: seen.append(said))
    assert seen == judged


def test_the_figure_is_that_of_the_weights_that_are_kept(tmp_path):
    validation = [
        {"step": 3, "loss": 0.4, "text": 0.1},
        {"step": 6, "loss": 0.3, "text": 0.2},
        {"step": 9, "loss": 0.5},
    ]
    history = {"best_step": 6, "validation": validation, "settled": {"temperature": 1.5}}
    (tmp_path / "history.json").write_text(json.dumps(history))
    names = ("val/loss", "val/text", "settled/temperature")
    assert [trials.figure_of(tmp_path, name) for name in names] == [0.3, 0.2, 1.5]
    with pytest.raises(UsageError, match=r"got 'val/step'; expected val/loss \| val/text \| settled/temperature"):
        trials.figure_of(tmp_path, "val/step")


def test_only_the_best_keep_their_weights_and_none_its_states(tmp_path):
    made = [Outcome(number, {}, False, float(number), None, {}, 1.0) for number in (1, 2, 3)]
    for number in (1, 2, 3, 4):
        folder = trials.trial_folder(tmp_path, number)
        for name in ("model", "state-4", "data"):
            (folder / name).mkdir(parents=True)
        (folder / "last").write_text("state-4")
        (folder / "run.json").write_text("{}")
    trials.tidy(tmp_path, made, made[:2])
    left = {
        number: sorted(path.name for path in trials.trial_folder(tmp_path, number).iterdir()) for number in range(1, 5)
    }
    assert left[1] == left[2] == ["data", "model", "run.json"]
    assert left[3] == ["data", "run.json"]
    assert left[4] == ["data", "last", "model", "run.json", "state-4"]  # not over yet
