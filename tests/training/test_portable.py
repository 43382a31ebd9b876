"""What leaves a run directory holds no report, no image and no path."""

import json

import pytest

from medmm.config.load import load
from medmm.training.portable import portable
from medmm.training.records import claim, read_config
from medmm.training.served import signature


@pytest.fixture
def run(tmp_path):
    words = ["data.reader=table", "data.path=/wards/doe.csv", "data.where.name=DOE", "data.splits.seed=4", "seed=9",
             "tracking.uri=postgresql://me:hunter2@host/db", "model.decoder.source=/home/doe/tiny-gpt"]  # fmt: skip
    claim(tmp_path / "run", load(None, None, words), resume=False)
    for name in ("model/model.safetensors", "data/manifest.parquet", "cache/images.npy", "state-3/model.safetensors"):
        (tmp_path / "run" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "run" / name).write_bytes(b"x")
    (tmp_path / "run" / "run.json").write_text(json.dumps({"config_hash": "abc"}))
    return tmp_path / "run"


def test_only_weights_config_and_record_travel(run):
    with portable(run) as folder:
        names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
        assert names == ["config.yaml", "model/model.safetensors", "run.json", "signature.json"]
        assert json.loads((folder / "signature.json").read_text()) == signature("report_gen")
        text = (folder / "config.yaml").read_text()
        assert "doe" not in text.lower()
        assert "hunter2" not in text
        config = read_config(folder)
    assert (config.tracking.uri, config.model.decoder.source) == (None, "tiny-gpt")
    assert (config.seed, config.data.splits.seed, config.data.reader) == (9, 4, "phantom")
    assert not folder.exists()


def test_a_run_of_an_earlier_version_leaves_the_folder_of_its_language_model_behind(run):
    (run / "model" / "decoder").mkdir()
    settings = run / "model" / "decoder" / "config.json"
    settings.write_text(json.dumps({"_name_or_path": "/home/doe/tiny-gpt", "n_layer": 1, "step": [0.0, float("inf")]}))
    before = settings.read_bytes()
    with portable(run) as folder:
        said = json.loads((folder / "model" / "decoder" / "config.json").read_text())
    assert said == {"n_layer": 1, "step": [0.0, float("inf")]}
    assert settings.read_bytes() == before
