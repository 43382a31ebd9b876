"""Runs of --task pretraining: evaluated by prompts and by searching, scored, taken over by another task, stopped."""

import json
import math

import numpy as np
import pytest
import torch

from medmm.config.schema import Config, EvaluateConfig
from medmm.errors import TrainingError, UsageError
from medmm.models.transfer import take_over
from medmm.scoring.engine import score_folder
from medmm.scoring.evaluation import Others, evaluate
from medmm.tasks.classification import Classification
from medmm.tasks.statements import target_sentences
from medmm.training import records
from medmm.training.checkpoint import POINTER
from medmm.training.loaded import load
from medmm.training.run import finetune


@pytest.fixture(scope="module")
def config(small):
    train = small.train.model_copy(update={"steps": 3, "accumulate": 1, "batch_size": 8, "save_every": 1})
    evaluation = EvaluateConfig(bootstrap=100, min_positives=2)
    return small.model_copy(update={"task": "pretraining", "train": train, "evaluate": evaluation})


@pytest.fixture(scope="module")
def pretrained(manifest, config, tmp_path_factory):
    out = tmp_path_factory.mktemp("pretrained")
    records.claim(out, config, resume=False)
    finetune(config, manifest, out)
    return out


def test_an_evaluation_asks_by_prompts_and_searches_both_ways(pretrained, manifest, config, tmp_path):
    found = evaluate(pretrained, manifest, config, "all", tmp_path, "cpu")
    assert json.loads((tmp_path / "metrics.json").read_text()) == found.metrics
    test, permuted = found.metrics["test"], found.metrics["baselines"]["permuted"]
    model, studies = load(pretrained, "cpu"), list(manifest.studies("all"))
    there = torch.ones(1, 1, dtype=torch.bool)
    views = [torch.from_numpy(model.prepare(one.images[0].path))[None] for one in studies]
    images = np.concatenate([model.task.embed_images(one, there) for one in views])
    sentences = [" ".join(text for _, text in target_sentences(one.report, config.target)) for one in studies]
    assert not any("FINDINGS" in text for text in sentences)
    likeness = model.task.embed_texts(sentences).numpy() @ images.T
    side = np.array([int(one.study_id.split()[1]) % 3 for one in studies])  # the three kinds of studies there are
    right = side[:, None] == side[None]
    for k in (1, 5, 10):
        ways = {"text_to_image": likeness, "image_to_text": likeness.T}
        recalls = {}
        for way, rows in ways.items():
            first = np.argsort(-rows, axis=1)[:, :k]
            recalls[way] = np.take_along_axis(right, first, 1).any(1).mean()
            assert test[f"{way}_recall_at_{k}"] == pytest.approx(recalls[way], abs=0.03)  # vectors of a batch round
        assert test[f"recall_at_{k}"] == pytest.approx(
            (test[f"text_to_image_recall_at_{k}"] + test[f"image_to_text_recall_at_{k}"]) / 2
        )
        assert permuted[f"recall_at_{k}"] == pytest.approx(1 - math.comb(24, k) / math.comb(36, k))
        low, high = found.metrics["ci95"][f"recall_at_{k}"]
        assert low <= test[f"recall_at_{k}"] <= high
    assert 0 <= test["auroc_macro"] <= 1
    assert "nodule" in found.metrics["card"]["classes"]
    assert "There is {finding}." in found.metrics["card"]["prompts"]["present"]
    assert "recall_at_1" in (tmp_path / "metrics.md").read_text()
    with pytest.raises(UsageError, match="--against"):
        evaluate(pretrained, manifest, config, "all", tmp_path / "again", "cpu", others=Others(against=pretrained))


def test_findings_are_told_with_probabilities(pretrained, manifest, tmp_path):
    study = next(iter(manifest.studies("test")))
    told = load(pretrained, "cpu").predict(study)
    assert 0 <= told.findings["nodule"].probability <= 1
    summary = score_folder(study.images[0].path, pretrained, tmp_path / "scores", device="cpu")
    assert summary.scored == 1
    (line,) = (tmp_path / "scores" / "predictions.jsonl").read_text().splitlines()
    assert json.loads(line)["findings"]["nodule"]["probability"] == pytest.approx(told.findings["nodule"].probability)


def test_another_task_takes_the_whole_image_encoder(pretrained, manifest, small):
    other = Config.model_validate(small.model_dump() | {"task": "classification"})
    torch.manual_seed(9)
    task = Classification.build(other, list(manifest.studies("train")))
    taken, of = take_over(task.model, pretrained)
    assert taken == of
    theirs = load(pretrained, "cpu").task.model.encoder.state_dict()
    for name, tensor in task.model.encoder.state_dict().items():
        torch.testing.assert_close(tensor, theirs[name], atol=0, rtol=0)


def test_a_loss_that_is_no_number_stops_with_tags_and_keeps_the_last_state(manifest, config, tmp_path):
    wild = config.model_copy(update={"train": config.train.model_copy(update={"lr": 1e30, "warmup": 0.0, "steps": 6})})
    records.claim(tmp_path / "run", wild, resume=False)
    with pytest.raises(TrainingError, match=r"step \d: the loss is no finite number; got nan on ") as caught:
        finetune(wild, manifest, tmp_path / "run")
    assert "study " not in str(caught.value)
    state = tmp_path / "run" / (tmp_path / "run" / POINTER).read_text().strip()
    failed = int(str(caught.value).partition("step ")[2].partition(":")[0])
    assert json.loads((state / "state.json").read_text())["step"] == failed - 1


def test_where_no_finding_is_asked_for_searching_is_still_judged(manifest, config, tmp_path):
    prompts = config.prompts.model_copy(update={"minimum": 1000})
    train = config.train.model_copy(update={"steps": 1})
    silent = config.model_copy(update={"prompts": prompts, "train": train})
    records.claim(tmp_path / "run", silent, resume=False)
    finetune(silent, manifest, tmp_path / "run")
    found = evaluate(tmp_path / "run", manifest, silent, "all", tmp_path / "evaluation", "cpu")
    assert found.metrics["card"]["classes"] == []
    assert "recall_at_5" in found.metrics["test"]
    assert "auroc_macro" not in found.metrics["test"]
