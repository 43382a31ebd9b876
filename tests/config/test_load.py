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
    files = sorted(path for path in folder.rglob("*.yaml") if path.parent.name != "prompts")
    assert len(files) >= 2
    for file in files:
        assert load(None, str(file)).version == 1, file.name


def test_prompts_are_not_offered_as_configs():
    (problem,) = problems(file="prompts/radiolgy.yaml")
    assert "pretrain/pretrain.yaml" in problem
    assert "prompts/radiology.yaml" not in problem


def test_a_pretraining_without_an_objective_is_refused():
    (problem,) = problems("pretrain.contrastive=0", "pretrain.masked_text=0")
    assert "every objective has weight 0" in problem


def test_config_is_frozen():
    with pytest.raises(ValueError, match="frozen"):
        load(None).train.lr = 1.0


def problems(*words, file=None):
    with pytest.raises(ConfigError) as caught:
        load(None, file, list(words))
    return list(caught.value.problems)


def test_a_key_given_twice_is_named_with_its_lines(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("seed: 1\ntrain:\n  lr: 1e-4\n  steps: 3\n  lr: 2e-4\nseed: 2\n")
    assert problems(file=str(file)) == [
        "mine.yaml gives 'lr' twice, in lines 3 and 5; keep one",
        "mine.yaml gives 'seed' twice, in lines 1 and 6; keep one",
    ]
    assert problems("train={lr: 1e-4, lr: 2e-4}") == ["'train={lr: 1e-4, lr: 2e-4}' gives 'lr' twice; keep one"]


def test_anchors_and_merges_of_yaml_are_no_doubles(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("train: &t {lr: 1e-4, steps: 5}\n")
    assert load(None, str(file)).train.steps == 5
    text = "model:\n  encoder: &a {width: 32}\n  decoder: &b {<<: *a, width: 64, layers: 2}\n"
    file.write_text(text)
    assert load(None, str(file)).model.decoder.width == 64


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("precision=bf16", "unknown key 'precision'; did you mean 'train.precision'?"),
        ("train.size=64", "did you mean 'data.phantom.size' or 'preprocess.size'?"),
        ("precison=bf16", "did you mean 'train.precision'?"),
        ("sed=1", "did you mean 'seed'?"),
        ("train.bath_size=4", "unknown key 'train.bath_size'; did you mean 'batch_size'?"),
        ("qqqqqq=1", "unknown key 'qqqqqq'; known here: version,"),
    ],
)
def test_a_key_is_looked_for_in_other_sections_too(word, said):
    (problem,) = problems(word)
    assert said in problem


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("tabel", "no reader 'tabel'; did you mean 'table'? Expected READER:PATH, READER one of phantom, table,"),
        ("studies.csv", "no reader 'studies.csv'; a table is table:studies.csv. Expected READER:PATH"),
        ("STUDIES.CSV.GZ", "a table is table:STUDIES.CSV.GZ."),
        ("scans/2024", "no reader 'scans/2024'; a folder of DICOM files is dicom:scans/2024. Expected READER:PATH"),
        ("zzz", "no reader 'zzz'. Expected READER:PATH"),
    ],
)
def test_what_is_no_reader_is_said_with_the_word_that_is(given, said):
    (problem,) = problems({"data": {"reader": given, "path": None}})
    assert problem.startswith("data.reader: ")
    assert said in problem
    assert "got" not in problem


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("target.sections=[]", "target.sections: expected at least 1 value, got none"),
        ("device=gpu", "device: expected auto|cpu|cuda[:N], got 'gpu'"),
        ("train.adapt=tail", "train.adapt: expected full|head|lora|last-N, got 'tail'"),
        ("tune.objective=loss", "tune.objective: expected val/NAME|settled/NAME, got 'loss'"),
        ("train.steps=0", "train.steps: expected at least 1, got 0"),
        ("train.lr=0", "train.lr: expected more than 0, got 0"),
        ("train.ema=1", "train.ema: expected less than 1, got 1"),
        ("data.splits.val=1.5", "data.splits.val: expected at most 1, got 1.5"),
        ("train.precision=fp16", "train.precision: expected 'auto', 'bf16' or 'fp32', got 'fp16'"),
        ("train.steps=many", "train.steps: expected a whole number, got 'many'"),
        ("train.batch_size=2.5", "train.batch_size: expected a whole number, got 2.5"),
        ("train.lr=fast", "train.lr: expected a number, got 'fast'"),
        ("tracking.enabled=perhaps", "tracking.enabled: expected true or false, got 'perhaps'"),
        ("train=3", "train: expected keys and values, got 3"),
        ("target.sections=findings", "target.sections: expected a list, got 'findings'"),
        ("data.columns=[image]", "data.columns: expected keys and values, got ['image']"),
        ("data.where=view", "data.where: expected keys and values, got 'view'"),
        ("task=3", "task: expected 'report_gen',"),
        ("tracking.uri=3", "tracking.uri: expected text, got 3"),
        ("data.phantom.volume_shape=[64,64]", "data.phantom.volume_shape.2: is not given"),
        ("data.phantom.volume_shape=[64,64,64,64]", "data.phantom.volume_shape: expected at most 3 values, got 4"),
    ],
)
def test_values_are_refused_in_words_of_the_house(word, said):
    (problem,) = problems(word)
    assert problem.startswith(said)


def test_nobody_elses_words_are_left():
    """A value of a wrong kind for every setting there is: none is refused in pydantic's own words."""
    for key, words in _every_wrong(Config):
        for said in problems(f"{key}={words}"):
            assert "input should" not in said.lower(), said
            assert "should" not in said.lower(), said


def _every_wrong(model, prefix=""):
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and hasattr(field.annotation, "model_fields"):
            yield f"{prefix}{name}", "3"
            yield from _every_wrong(field.annotation, f"{prefix}{name}.")
        elif not prefix.startswith("data.columns") and name != "where":
            yield f"{prefix}{name}", "{a: [{b: 1}]}"
