"""A search with made-up figures: the same trials for the same seed, also across a kill; what is stopped and left."""

import csv
import json
import logging
import math
import subprocess
import sys

import optuna
import pytest
import yaml

from medmm.config.load import load
from medmm.errors import UsageError
from medmm.training import search_report
from medmm.training.search import JOURNAL, Attempt, Search, StoppedError, Why, require_optuna
from medmm.training.search_journal import Journal
from medmm.training.trials import trial_config

SPACE = {"train.lr": {"low": 1e-4, "high": 1e-1, "log": True}, "model.encoder.width": [64, 128, 256]}


def config(space=None, **tune):
    return load(None, None, [{"task": "classification", "tune": {"trials": 12, "space": space or SPACE, **tune}}])


def bowl(attempt: Attempt) -> float:
    """Lowest at lr 1e-2; the width does nothing."""
    figure = (math.log10(attempt.values["train.lr"]) + 2) ** 2
    for validation in range(1, 11):
        attempt.judge(validation, figure + 1 / validation)
    return figure


def searched(folder, objective=bowl, **tune):
    folder.mkdir(exist_ok=True)
    with Search(config(**tune), folder) as search:
        search.run(objective, lambda outcome: None)
        return search.outcomes()


def told(outcomes):
    return [(one.number, dict(one.values), one.figure, one.why, dict(one.judged)) for one in outcomes]


def test_the_same_seed_makes_the_same_trials_and_another_one_others(tmp_path):
    one, two = searched(tmp_path / "one"), searched(tmp_path / "two")
    assert told(one) == told(two)
    with Search(config().model_copy(update={"seed": 1}), _folder(tmp_path / "three")) as search:
        search.run(bowl, lambda outcome: None)
        assert told(search.outcomes()) != told(one)


def test_the_search_closes_in_on_what_is_best(tmp_path):
    made = searched(tmp_path, trials=40, prune=False)
    late = [one.figure for one in made[20:]]
    assert min(late) < 0.02
    assert sorted(late)[10] < sorted(one.figure for one in made[:10])[5]


def test_the_configs_own_values_come_first(tmp_path):
    first, second = searched(tmp_path, trials=2)
    assert (first.values, first.own, second.own) == ({"train.lr": 1e-3, "model.encoder.width": 256}, True, False)


@pytest.mark.parametrize("place", [1, 4, 9])
def test_a_search_that_was_cut_off_goes_on_as_if_it_had_not_been(place, tmp_path):
    whole = told(searched(tmp_path / "whole"))

    def cut(attempt):
        if attempt.number == place:
            attempt.judge(1, (math.log10(attempt.values["train.lr"]) + 2) ** 2 + 1)
            raise KeyboardInterrupt
        return bowl(attempt)

    with pytest.raises(KeyboardInterrupt):
        searched(tmp_path / "cut", cut)
    begun = []

    def again(attempt):
        begun.append(attempt.number)
        return bowl(attempt)

    assert told(searched(tmp_path / "cut", again)) == whole
    assert begun == list(range(place, 13))


def test_a_trial_that_goes_on_knows_its_earlier_validations(tmp_path):
    def cut(attempt):
        attempt.judge(1, 3.0)
        attempt.judge(2, 2.0)
        raise KeyboardInterrupt

    def rest(attempt):
        attempt.judge(2, 99.0)  # done again from the last state; what was said first stays
        attempt.judge(3, 1.0)
        return 1.0

    with pytest.raises(KeyboardInterrupt):
        searched(tmp_path, cut, trials=1)
    (made,) = searched(tmp_path, rest, trials=1)
    assert made.judged == {1: 3.0, 2: 2.0, 3: 1.0}


def test_a_trial_behind_the_median_is_stopped_and_one_ahead_is_not(tmp_path):
    def objective(attempt):
        level = float(attempt.number) if attempt.number <= 5 else {6: 3.5, 7: 2.5}[attempt.number]
        for validation in range(1, 11):
            attempt.judge(validation, level)
        return level

    made = searched(tmp_path, objective, trials=7, startup=5, warmup=2)
    assert [one.figure for one in made] == [1, 2, 3, 4, 5, None, 2.5]
    assert (made[5].why, list(made[5].judged)) == (Why.BEHIND, [1, 2, 3])  # the median of 1 to 5 is 3
    free = searched(tmp_path / "free", objective, trials=7, prune=False)
    assert [one.figure for one in free] == [1, 2, 3, 4, 5, 3.5, 2.5]


def test_a_trial_that_fails_costs_no_more_than_itself(tmp_path):
    def objective(attempt):
        if attempt.number == 2:
            raise StoppedError(Why.DIVERGED)
        return math.nan if attempt.number == 3 else 1.0

    made = searched(tmp_path, objective, trials=4)
    assert [one.why for one in made] == [None, Why.DIVERGED, Why.DIVERGED, None]


def test_values_that_do_not_go_together_stop_the_trial(tmp_path):
    made = config({"model.decoder.heads": [4, 6], "model.decoder.width": [256, 384]})
    attempt = Attempt(1, {"model.decoder.heads": 6, "model.decoder.width": 256}, lambda *_: None)
    with pytest.raises(StoppedError, match=str(Why.DO_NOT_FIT)):
        trial_config(made, attempt, tmp_path)


def test_what_was_tried_before_is_not_trained_again(tmp_path):
    trained = []

    def objective(attempt):
        trained.append(tuple(attempt.values.values()))
        if attempt.values["train.lr"] == 1e-2:
            raise StoppedError(Why.DIVERGED)
        return attempt.values["train.lr"] + attempt.values["train.ema"]

    space = {"train.lr": [1e-3, 3e-3, 1e-2], "train.ema": [0, 0.9]}
    with Search(config(space, trials=30), _folder(tmp_path)) as search:
        search.run(objective, lambda outcome: None)
        made, ranking = search.outcomes(), search.ranking()
    assert len(made) == 30
    assert len(set(trained)) == len(trained) <= 6
    first = {tuple(one.values.values()): one for one in reversed(made)}
    assert all(one.repeats == first[tuple(one.values.values())].number for one in made if one.repeats)
    assert all((one.figure, one.why) == (first[tuple(one.values.values())].figure, one.why) for one in made)
    assert (ranking[0].values, ranking[0].repeats) == ({"train.lr": 1e-3, "train.ema": 0}, None)
    assert len(ranking) == len({key for key in trained if key[0] != 1e-2})


def test_a_path_that_is_tried_is_shown_by_its_last_part(tmp_path):
    space = {"model.init": ["/wards/doe/run-1", "/wards/doe/run-2", None]}
    with Search(config(space, trials=8), _folder(tmp_path)) as search:
        search.run(lambda attempt: float(len(attempt.values["model.init"] or "")), lambda outcome: None)
        search_report.write_table(search, tmp_path)
        search_report.write_page(search, tmp_path)
    written = (tmp_path / "trials.csv").read_text() + (tmp_path / "tune.md").read_text()
    assert ("run-1" in written, "null" in written, "doe" in written) == (True, True, False)


def test_whole_numbers_stay_whole_and_null_is_a_value(tmp_path):
    space = {"train.steps": {"low": 10, "high": 1000, "log": True}, "train.validate_every": [None, 7]}
    with Search(config(space), _folder(tmp_path)) as search:
        search.run(lambda attempt: float(attempt.values["train.steps"]), lambda outcome: None)
        values = [one.values for one in search.outcomes()]
    assert {type(one["train.steps"]) for one in values} == {int}
    assert {one["train.validate_every"] for one in values} == {None, 7}


def test_no_trial_begins_once_the_time_is_over(tmp_path):
    assert len(searched(tmp_path, minutes=1e-9)) == 1


def test_two_processes_never_search_in_one_folder(tmp_path):
    with Search(config(), tmp_path), pytest.raises(UsageError, match="another process"):
        Search(config(), tmp_path)
    with Search(config(), tmp_path):
        pass


def test_a_torn_line_counts_as_not_there(tmp_path):
    whole = searched(tmp_path, trials=3)
    with (tmp_path / JOURNAL).open("ab") as file:
        file.write(b'{"op_code": 6, "trial_id"')
    assert told(searched(tmp_path, trials=3)) == told(whole)
    assert len(searched(tmp_path, trials=4)) == 4
    assert (
        len(list(Journal(tmp_path / JOURNAL).read_logs(0))) == len((tmp_path / JOURNAL).read_bytes().split(b"\n")) - 2
    )


def test_what_optuna_warns_of_is_said_by_medmm(caplog):
    require_optuna()
    require_optuna()
    with caplog.at_level(logging.WARNING, "medmm"):
        logging.getLogger("optuna.study").info("nobody asked")
        logging.getLogger("optuna.study").warning("hear")
    assert [(one.name, one.getMessage()) for one in caplog.records if one.name.startswith("medmm")] == [
        ("medmm.training.search", "hear")
    ]


def test_without_optuna_the_way_to_get_it_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UsageError, match=r"pip install 'medmm\[tune\]'"):
        require_optuna()


def test_a_search_imports_neither_torch_nor_mlflow():
    code = "import sys, medmm.training.search as s; s.require_optuna(); print({'torch', 'mlflow'} & sys.modules.keys())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_the_highest_figure_is_best_where_that_is_asked_for(tmp_path):
    with Search(config(direction="maximize", objective="settled/auroc"), _folder(tmp_path)) as search:
        search.run(lambda attempt: float(attempt.number % 7), lambda outcome: None)
        assert [one.number for one in search.ranking()][:2] == [6, 5]


def test_what_matters_is_what_the_figure_depends_on(tmp_path):
    with Search(config(trials=25, prune=False), _folder(tmp_path)) as search:
        search.run(bowl, lambda outcome: None)
        shares = search.importance()
    assert list(shares) == ["train.lr", "model.encoder.width"]
    assert shares["train.lr"] > 0.9
    assert sum(shares.values()) == pytest.approx(1)


def test_what_a_search_leaves(tmp_path):
    with Search(config(objective="val/loss"), _folder(tmp_path)) as search:
        search.run(bowl, lambda outcome: None)
        ranking, made = search.ranking(), search.outcomes()
        search_report.write_table(search, tmp_path)
        search_report.write_best(search, tmp_path)
        search_report.draw(search, tmp_path / "search.png")
        search_report.write_page(search, tmp_path)
    best = ranking[0]
    assert best.figure == min(one.figure for one in made if one.figure is not None)
    rows = list(csv.DictReader((tmp_path / "trials.csv").open()))
    assert [row["val/loss"] for row in rows] == ["" if one.figure is None else repr(one.figure) for one in made]
    assert [float(row["train.lr"]) for row in rows] == [one.values["train.lr"] for one in made]
    found = load(None, str(tmp_path / "best.yaml"), [{"task": "classification"}])
    assert (found.train.lr, found.model.encoder.width) == tuple(best.values.values())
    assert "tune" not in yaml.safe_load((tmp_path / "best.yaml").read_text())
    page = (tmp_path / "tune.md").read_text()
    assert f"**Best: trial {best.number} with {best.figure:.5g}.** The config's own values (trial 1) have 1." in page
    assert (tmp_path / "search.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize(("low", "says"), [(1e-2, True), (1e-3, False)])
def test_a_best_value_at_the_end_of_its_range_is_named(low, says, tmp_path):
    space = {"train.lr": {"low": low, "high": 1e-1, "log": True}}
    with Search(config(space, trials=30, prune=False), _folder(tmp_path)) as search:
        search.run(bowl, lambda outcome: None)
        assert any("end of its range: train.lr" in note for note in search_report.notes(search)) == says


def test_where_the_schema_ends_too_nothing_lies_beyond(tmp_path):
    with Search(config({"model.encoder.dropout": {"low": 0, "high": 0.9}}), _folder(tmp_path)) as search:
        search.run(lambda attempt: attempt.values["model.encoder.dropout"], lambda outcome: None)
        assert search.ranking()[0].figure == 0
        assert not any("end of its range" in note for note in search_report.notes(search))


def test_the_journal_is_one_that_optuna_reads_itself(tmp_path):
    made = searched(tmp_path, trials=6)
    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / JOURNAL))
    study = optuna.load_study(study_name="medmm", storage=optuna.storages.JournalStorage(backend))
    assert study.best_value == min(one.figure for one in made if one.figure is not None)
    assert json.loads((tmp_path / JOURNAL).read_text().splitlines()[0])["study_name"] == "medmm"


def _folder(path):
    path.mkdir(exist_ok=True)
    return path
