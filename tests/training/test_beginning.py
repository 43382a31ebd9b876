"""What a run begins from: published weights and low-rank additions, and what is left of them in the run."""

import importlib.util
import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel

from medmm.config.schema import Config
from medmm.errors import CheckpointError, UsageError
from medmm.models.tokenizer import learn_tokenizer
from medmm.training import records
from medmm.training.run import finetune

_SPEC = importlib.util.spec_from_file_location(
    "published_networks", Path(__file__).parents[1] / "models" / "published_networks.py"
)
networks = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(networks)
TEXTS = ["There is a left lung nodule.", "No lung nodule. The heart is normal.", "Normal chest."] * 9


def changed(config, **changes):
    said = config.model_dump(mode="json")
    for key, value in changes.items():
        *place, last = key.split("__")
        part = said
        for name in place:
            part = part[name]
        part[last] = value
    return Config.model_validate(said)


def run(config, manifest, out, resume=False):
    records.claim(out, config, resume=resume)
    finetune(config, manifest, out, resume=resume)
    return json.loads((out / "run.json").read_text()), load_file(str(out / "model" / "model.safetensors"))


@pytest.fixture(scope="module")
def language_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gpt2")
    tokenizer = learn_tokenizer(TEXTS, 300)
    tokenizer.save(folder)
    torch.manual_seed(3)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=tokenizer.size, n_embd=32, n_layer=2, n_head=2, n_positions=256))
    model.save_pretrained(folder)
    return folder


def test_published_weights_are_taken_told_and_kept_in_the_record(small, manifest, tmp_path, caplog):
    net = networks.network("resnet18")
    torch.save({"state_dict": {f"module.{name}": one for name, one in net.state_dict().items()}}, tmp_path / "w.pth")
    config = changed(small, model__encoder__name="resnet18", model__encoder__weights=str(tmp_path / "w.pth"),
                     train__adapt="head", train__steps=2)  # fmt: skip
    with caplog.at_level(logging.WARNING, "medmm"):
        record, weights = run(config, manifest, tmp_path / "run")
    said = record["weights"]
    assert (said["file"], said["prefix"], said["share"], said["missing"]) == ("w.pth", "module.", 1.0, [])
    assert f"{said['parameters']:,} of {said['whole']:,} parameters (100.0%)" in caplog.text
    torch.testing.assert_close(weights["encoder.backbone.stages.7.1.conv2.weight"], net.layer4[1].conv2.weight.detach())
    torch.testing.assert_close(
        weights["encoder.backbone.stages.0.weight"], net.conv1.weight.detach().sum(1, keepdim=True)
    )
    assert run(config, manifest, tmp_path / "run", resume=True)[0]["weights"] == said
    for name in ("MODEL_CARD.md", "run.json", "history.json"):
        assert str(tmp_path) not in (tmp_path / "run" / name).read_text()


def test_weights_of_another_network_end_the_run(small, manifest, tmp_path):
    save_file(networks.network("resnet18").state_dict(), str(tmp_path / "w.safetensors"))
    config = changed(small, model__encoder__name="densenet121", model__encoder__weights=str(tmp_path / "w.safetensors"))
    with pytest.raises(CheckpointError, match="of another network"):
        run(config, manifest, tmp_path / "run")
    with pytest.raises(ValueError, match="weights are for densenet121"):
        changed(small, model__encoder__weights="w.pth")


def test_a_run_with_low_rank_additions_is_loaded_without_peft(small, manifest, language_model, tmp_path):
    config = changed(small, model__decoder__source=str(language_model), train__adapt="lora", train__lora_rank=2)
    record, weights = run(config, manifest, tmp_path / "run")
    assert record["lora"] == {"rank": 2, "parameters": 2 * (2 * (32 + 96) + 2 * (32 + 32))}
    before = load_file(str(language_model / "model.safetensors"))
    prefix = "decoder.model."
    assert not any("lora" in name or "base_layer" in name for name in weights)
    moved = {name for name, one in before.items() if not torch.equal(weights[prefix + name], one)}
    assert moved == {f"transformer.h.{layer}.attn.{part}.weight" for layer in (0, 1) for part in ("c_attn", "c_proj")}
    difference = weights[f"{prefix}transformer.h.0.attn.c_attn.weight"] - before["transformer.h.0.attn.c_attn.weight"]
    assert torch.linalg.matrix_rank(difference, atol=1e-5) <= 2
    assert record["parameters"]["all"] - record["parameters"]["learned"] == sum(one.numel() for one in before.values())

    code = (
        "import sys; sys.modules['peft'] = None; import torch, medmm; torch.set_num_threads(1);"
        "from transformers.utils import logging; model = medmm.load(sys.argv[1], device='cpu');"
        "print(type(model.task.model.decoder.model.transformer.h[0].attn.c_attn).__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "run")], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "Conv1D", done.stderr


def test_a_run_with_low_rank_additions_goes_on_where_it_was(small, manifest, language_model, tmp_path):
    config = changed(small, model__decoder__source=str(language_model), train__adapt="lora", train__ema=0.0)
    _, whole = run(config, manifest, tmp_path / "whole")

    class Stopped(Exception):
        pass

    def stop(done, total, note):
        if done == 5 and note != "reading images":
            raise Stopped

    records.claim(tmp_path / "parts", config, resume=False)
    with pytest.raises(Stopped):
        finetune(config, manifest, tmp_path / "parts", progress=stop)
    _, parts = run(config, manifest, tmp_path / "parts", resume=True)
    assert whole.keys() == parts.keys()
    assert all(torch.equal(one, parts[name]) for name, one in whole.items())


def test_additions_need_a_language_model_that_came_with_weights(small, manifest, tmp_path):
    with pytest.raises(UsageError, match="no language model that came with weights"):
        run(changed(small, train__adapt="lora"), manifest, tmp_path / "run")
