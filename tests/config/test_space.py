"""The search space: what can be searched, and what a trial's config is made of."""

import pytest
from pydantic import ValidationError

from medmm.config.load import load, to_yaml
from medmm.config.schema import Config
from medmm.config.space import accepts, check, own_values, takes_whole_numbers, with_values
from medmm.config.tune import Range
from medmm.errors import ConfigError


def config(**space):
    return load(None, None, [{"task": "classification", "tune": {"space": space}}])


def refused(**space):
    with pytest.raises(ConfigError) as caught:
        check(config(**space))
    return caught.value.problems


def test_every_problem_at_once_and_the_nearest_key():
    problems = refused(
        **{
            "train.lrr": [1e-3, 1e-2],
            "train.augment": [1, 2],
            "train.lr": {"low": 0, "high": 1},
            "train.batch_size": {"low": 1.5, "high": 4},
            "train.precision": {"low": 1, "high": 2},
            "model.encoder.name": ["resnet_lean", "vgg"],
            "data.limit": [10, 20],
            "seed": [1, 2],
            "vqa.minimum": [1, 2],
            "train.warmup": [0.1, 0.2],
        }
    )
    assert problems == (
        "unknown key 'train.lrr'; did you mean 'train.lr'?",
        "train.augment is a section; name one of its settings: train.augment.shift, train.augment.rotate_deg, "
        "train.augment.scale, train.augment.intensity",
        "train.lr: input should be greater than 0, got 0",
        "train.batch_size takes whole numbers, got 1.5 to 4",
        "train.precision is no number; give a list of values",
        "model.encoder.name: input should be 'resnet_lean', 'densenet121', 'resnet18', 'resnet50' or 'vit', got 'vgg'",
        "data.limit is the same in all trials",
        "seed is the same in all trials",
        "vqa.minimum is a setting of --task vqa, and this is classification",
    )


def test_an_empty_space_says_how_one_looks():
    assert "tune.space.train.lr=" in refused()[0]


@pytest.mark.parametrize(
    ("choice", "says"),
    [
        ({"low": 1, "high": 1}, "low must be below high"),
        ({"low": 0, "high": 1, "log": True}, "log needs a low above 0"),
        ({"low": 1, "high": 9, "log": True, "step": 2}, "log needs a low above 0, and goes without step"),
        ({"lo": 1, "high": 9}, "no lo"),
        ({"low": 1, "high": float("inf")}, "low must be below high"),
        ([3], "at least 2"),
        ([3, 4, 3], "a value stands twice in train.batch_size"),
        (3, "expected a list"),
    ],
)
def test_what_is_no_choice_is_refused(choice, says):
    with pytest.raises(ConfigError, match=says):
        config(**{"train.batch_size": choice})


def test_words_of_the_command_line_change_the_space_of_a_file(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("tune:\n  space:\n    train.lr: {low: 1e-4, high: 1e-2, log: true}\n    train.ema: [0, 0.9]\n")
    words = [
        "tune.space.train.lr={low: 1e-3, high: 3e-3}",
        "tune.space.train.ema=null",
        "tune.space.model.init=[a, null]",
    ]
    space = load(None, str(file), words).tune.space
    assert space == {"train.lr": Range(low=1e-3, high=3e-3), "model.init": ("a", None)}


def test_a_space_survives_its_own_yaml(tmp_path):
    made = config(**{"train.lr": {"low": 1e-4, "high": 1e-2, "log": True}, "train.steps": [None, 10]})
    file = tmp_path / "config.yaml"
    file.write_text(to_yaml(made))
    assert load(None, str(file)) == made


def test_a_trials_config_is_the_searchs_but_for_the_values_and_the_search():
    searched = config(**{"train.lr": [1e-3, 1e-2], "model.encoder.width": [64, 128]})
    made = with_values(searched, {"train.lr": 0.01, "model.encoder.width": 64})
    assert (made.train.lr, made.model.encoder.width, made.tune) == (0.01, 64, Config().tune)
    same = {"tune": searched.tune, "train": searched.train, "model": searched.model}
    assert made.model_copy(update=same) == searched


def test_values_that_do_not_go_together_are_refused():
    searched = config(**{"model.decoder.heads": [4, 6], "model.decoder.width": [256, 384]})
    check(searched)  # each may go together with another one
    with pytest.raises(ValidationError, match="multiple of heads"):
        with_values(searched, {"model.decoder.heads": 6, "model.decoder.width": 256})


def test_the_configs_own_values_are_tried_where_the_space_has_them():
    assert own_values(config(**{"train.lr": {"low": 1e-4, "high": 1e-2}, "train.steps": [None, 9]})) == {
        "train.lr": 1e-3,
        "train.steps": None,
    }
    assert own_values(config(**{"train.lr": {"low": 1e-2, "high": 1e-1}})) is None
    assert own_values(config(**{"train.batch_size": {"low": 16, "high": 64, "step": 16}})) == {"train.batch_size": 32}
    assert own_values(config(**{"train.batch_size": {"low": 10, "high": 64, "step": 16}})) is None


def test_kinds_of_settings():
    assert [takes_whole_numbers(key) for key in ("train.steps", "train.lr", "model.encoder.width")] == [
        True,
        False,
        True,
    ]
    assert accepts(Config(), "model.encoder.dropout", 0.99)
    assert not accepts(Config(), "model.encoder.dropout", -0.01)
