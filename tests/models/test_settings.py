"""No folder that a language model was loaded from is written beside the weights."""

import json

import pytest

from medmm.config.schema import Config
from medmm.models.decoder import pretrained_decoder, small_decoder
from medmm.models.settings import forget_places
from medmm.models.tokenizer import learn_tokenizer, load_tokenizer
from medmm.reports.parse import parse_report
from medmm.tasks.report_gen import ReportGeneration
from medmm.types import Study

TEXTS = ["FINDINGS: The lungs are clear. IMPRESSION: Normal chest."] * 8
OWNER = "quixzandor"


def test_places_go_at_any_depth_and_the_rest_stays(tmp_path):
    kept = {"n_layer": 2, "limit": float("inf"), "text_config": {"width": 3}, "parts": [{"a": "/"}]}
    said = {**kept, "_name_or_path": "/x", "text_config": {"width": 3, "_name_or_path": "/x"},
            "parts": [{"a": "/", "special_tokens_map_file": "/x"}]}  # fmt: skip
    (tmp_path / "deep").mkdir()
    for path in (tmp_path / "config.json", tmp_path / "deep" / "tokenizer_config.json"):
        path.write_text(json.dumps(said))
    (tmp_path / "other.json").write_text(json.dumps(said))
    (tmp_path / "plain_config.json").write_text('{"n_layer":2}')
    forget_places(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text()) == kept
    assert json.loads((tmp_path / "deep" / "tokenizer_config.json").read_text()) == kept
    assert json.loads((tmp_path / "other.json").read_text()) == said
    assert (tmp_path / "plain_config.json").read_text() == '{"n_layer":2}'


@pytest.fixture
def source(tmp_path):
    """A tiny GPT-2 in the folder of somebody, whose settings name the folder that they were saved from before."""
    folder = tmp_path / OWNER / "tiny-gpt"
    tokenizer = learn_tokenizer(TEXTS, 300)
    tokenizer.save(folder)
    wanted = Config.model_validate({"model": {"decoder": {"layers": 1, "width": 32, "heads": 2}}}).model.decoder
    small_decoder(wanted, tokenizer, 64).model.save_pretrained(str(folder))
    for name in ("config.json", "tokenizer_config.json"):
        said = json.loads((folder / name).read_text())
        places = {"_name_or_path": f"/home/{OWNER}", "special_tokens_map_file": f"/home/{OWNER}/map.json"}
        (folder / name).write_text(json.dumps(said | places))
    return folder


def test_a_saved_task_does_not_name_the_folder_of_its_language_model(source, tmp_path):
    assert OWNER in pretrained_decoder(str(source), load_tokenizer(source)).model.config._name_or_path
    settings = {"preprocess": {"size": 32}, "model": {"encoder": {"width": 32}, "decoder": {"source": str(source)}}}
    studies = [Study(str(n), str(n), report=parse_report(text)) for n, text in enumerate(TEXTS)]
    config = Config.model_validate(settings)
    task = ReportGeneration.build(config, studies)
    task.save(tmp_path / "model")
    files = [path for path in (tmp_path / "model").rglob("*") if path.is_file()]
    assert {"config.json", "tokenizer.json", "tokenizer_config.json", "task.json"} <= {path.name for path in files}
    assert [path.name for path in files if OWNER.encode() in path.read_bytes()] == []
    again = ReportGeneration.load(tmp_path / "model", config)
    assert again.tokenizer.encode(TEXTS[0], 40)[0].tolist() == task.tokenizer.encode(TEXTS[0], 40)[0].tolist()
    assert again.model.state_dict().keys() == task.model.state_dict().keys()
