"""The config: precedence, every error at once, nearest names."""

import pytest
import yaml

from medmm.config.load import config_file, load, to_yaml
from medmm.config.schema import Config
from medmm.errors import ConfigError


def test_precedence_defaults_base_file_words(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("train: {lr: 2e-4, batch_size: 8}\n")
    config = load(None, str(file), ["train.batch_size=4"], base={"train": {"lr": 1.0, "accumulate": 3}})
    assert (config.train.lr, config.train.batch_size, config.train.accumulate) == (2e-4, 4, 3)


def test_scientific_notation_without_a_dot_is_a_number():
    assert load(None, None, ["train.lr=1e-4"]).train.lr == 1e-4


@pytest.mark.parametrize("value", ["no", "3", "1e5", "null"])
def test_cell_values_and_column_names_stay_words(value):
    config = load(None, None, [f"data.where.col={value}", f"data.columns.image={value}"])
    assert config.data.where == {"col": value}
    assert config.data.columns.image == value


def test_every_problem_comes_at_once_with_the_nearest_key():
    words = ["train.lrr=1", "data.reader=openie", "train.ema=2", "model.decoder.layer=2", "nonsense"]
    with pytest.raises(ConfigError) as caught:
        load(None, None, words)
    problems = caught.value.problems
    assert len(problems) == 5
    text = str(caught.value)
    for part in (
        "did you mean 'lr'",
        "no reader 'openie'",
        "train.ema",
        "did you mean 'layers'",
        "'nonsense' is no override",
    ):
        assert part in text


def test_misspelt_file_key_and_broken_yaml_are_named(tmp_path):
    (tmp_path / "bad.yaml").write_text("train: [unclosed\n")
    with pytest.raises(ConfigError, match=r"bad\.yaml is no YAML at line \d+, column \d+"):
        load(None, str(tmp_path / "bad.yaml"))
    (tmp_path / "list.yaml").write_text("- a\n")
    with pytest.raises(ConfigError, match="must hold keys and values, got list"):
        load(None, str(tmp_path / "list.yaml"))


def test_missing_file_names_the_packaged_ones():
    with pytest.raises(ConfigError, match="did you mean 'finetune/report_gen.yaml'"):
        load(None, "finetune/report_gne.yaml")


def test_splits_that_leave_nobody_to_train_on_are_refused():
    with pytest.raises(ConfigError, match="no patient is left to train on"):
        load(None, None, ["data.splits.val=0.5", "data.splits.test=0.5"])


def test_rows_are_chosen_by_one_value_or_by_several_from_a_file():
    assert load(None, overrides=["data.where.view=7"]).data.where == {"view": "7"}
    several = {"data": {"where": {"view": ["PA", 3]}}}
    assert load(None, overrides=[several]).data.where == {"view": ("PA", "3")}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["model.encoder.name=vit", "preprocess.size=100"], "preprocess.size is 100: the patches of vit"),
        (
            ["model.encoder={name: densenet121, spatial_dims: 3}", "preprocess.depth=16"],
            "preprocess.depth is 16: densenet121 halves it five times",
        ),
        (["preprocess.depth=16"], "set a depth for volumes and none for projections"),
    ],
)
def test_images_that_an_encoder_cannot_take_are_refused(words, said):
    with pytest.raises(ConfigError, match=said):
        load(None, overrides=words)


def test_resolved_yaml_round_trips():
    config = load("finetune/report_gen.yaml", None, ["train.steps=7", "data.splits.seed=3"])
    assert Config.model_validate(yaml.safe_load(to_yaml(config))) == config


def test_every_shipped_config_is_valid():
    folder = config_file("finetune/report_gen.yaml").parents[1]
    files = sorted(folder.rglob("*.yaml"))
    assert len(files) >= 2
    for file in files:
        assert load(None, str(file)).version == 1, file.name


def test_config_is_frozen():
    with pytest.raises(ValueError, match="frozen"):
        load(None).train.lr = 1.0
