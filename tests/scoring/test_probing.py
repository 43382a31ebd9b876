"""Few shots and a search for prompts, with a run whose vectors hold the finding: bright images are edema."""

import json

import numpy as np
import pytest
import torch

from medmm.config.schema import Config, SplitConfig
from medmm.data import manifest as manifests
from medmm.errors import DataError, Reason, UsageError
from medmm.pipelines._fresh_folder import require_fresh
from medmm.scoring import labelled, probe_page, prompt_page
from medmm.scoring.drafting import adopt
from medmm.scoring.labelled import Archive
from medmm.tasks.pretraining import Pretraining
from medmm.tasks.prompts import load_prompts
from medmm.training.loaded import LoadedModel
from medmm.types import Finding, Status

CONFIG = Config.model_validate(
    {
        "task": "pretraining", "preprocess": {"size": 32}, "pretrain": {"width": 8, "masked_text": 0},
        "model": {"encoder": {"width": 16}, "text": {"layers": 1, "width": 32, "heads": 2}},
        "prompts": {"findings": ["edema", "mass", "pneumothorax"]}, "target": {"whole_text": True},
        "probe": {"shots": [1, 4], "seeds": 2, "steps": 3, "strengths": [0.1, 1.0], "blends": [0.5]},
        "evaluate": {"bootstrap": 100, "min_positives": 3}, "score": {"workers": 0}, "cache": {"limit_gb": 0},
    }
)  # fmt: skip
NUMBERS = {"train": 16, "val": 8, "test": 12}


@pytest.fixture
def archive(tmp_path, make_study):
    """Odd studies are bright and have edema; two training studies have a mass, every third test study too."""
    studies = []
    for split, number in NUMBERS.items():
        for place in range(number):
            wet, mass = place % 2 == 1, place % 3 == 0 and (split != "train" or place < 6)
            said = {"edema": wet, "mass": mass, "pneumothorax": False}
            findings = {name: Finding(Status.PRESENT if is_so else Status.ABSENT) for name, is_so in said.items()}
            text = f"There is {'' if wet else 'no '}edema. There is {'a' if mass else 'no'} mass."
            level = (180 if wet else 40) + 2 * place
            studies.append(make_study(f"{split}{place}", level, text, split=split, findings=findings, noise=place + 1))
    manifests.build(studies, tmp_path / "manifest.parquet", SplitConfig(), lambda rejection: None)
    torch.manual_seed(0)
    task = Pretraining.build(CONFIG, studies)
    model = adopt(LoadedModel(task, "cpu", {"weights_sha256": "w" * 64}), CONFIG)
    return Archive(model, manifests.Manifest.open(tmp_path / "manifest.parquet"), CONFIG, tmp_path / "out")


def test_a_probe_says_what_few_studies_teach_and_leaves_out_what_they_cannot(archive):
    broken = next(one for one in archive.manifest.studies("train") if one.study_id == "train1")
    broken.images[0].path.write_bytes(b"no image")
    found = probe_page.probe(archive)
    shots = found.metrics["shots"]
    assert {number: one["findings"] for number, one in shots.items()} == {"1": ["edema", "mass"], "4": ["edema"]}
    assert found.notes == (
        "too few studies of test or val with or without pneumothorax",
        "4 shots: too few training studies with or without mass",
    )
    four = shots["4"]["methods"]
    assert set(four) == set(probe_page._LOOKS)
    assert four["linear_probe"]["auroc_macro"] == four["linear_probe"]["auroc"]["edema"] > 0.9
    assert all(len(one["draws"]) == (1 if name == "zero_shot" else 2) for name, one in four.items())
    assert four["adapter"]["auroc_macro"] == pytest.approx(np.mean(four["adapter"]["draws"]))
    assert four["adapter"]["sd"] == pytest.approx(np.std(four["adapter"]["draws"], ddof=1))
    over = shots["4"]["differences"]["linear_probe - zero_shot"]
    assert over["difference"] == pytest.approx(four["linear_probe"]["auroc_macro"] - four["zero_shot"]["auroc_macro"])
    assert over["ci95"][0] <= over["difference"] <= over["ci95"][1]
    assert json.loads((archive.out / "metrics.json").read_text())["card"]["counts"]["test"] == 12
    assert (archive.out / "shots.png").read_bytes().startswith(b"\x89PNG")
    assert "train1" not in (archive.out / "metrics.md").read_text()
    assert {one.reason for one in archive.rejections} <= {Reason.NOT_AN_IMAGE}


def test_a_search_writes_prompts_that_a_run_can_be_asked_with(archive):
    packaged = load_prompts(None)
    found = prompt_page.search(archive, packaged, prompt_page.candidates(None))
    saved = load_prompts(archive.out / "prompts.yaml")
    ensemble = found.metrics["ensemble"]
    assert (list(saved.present), list(saved.absent)) == (ensemble["present"], ensemble["absent"])
    assert found.metrics["gain"] >= 0
    assert set(found.metrics["findings"]) == {"edema", "mass"}
    assert found.notes[0] == "too few validation studies with or without pneumothorax"
    assert "## The ensemble: present" in (archive.out / "metrics.md").read_text()


def test_without_a_validation_split_nothing_is_chosen(archive, tmp_path):
    others = [one for one in archive.manifest.studies() if one.split != "val"]
    manifests.build(others, tmp_path / "other.parquet", SplitConfig(val=0), lambda rejection: None)
    archive.manifest = manifests.Manifest.open(tmp_path / "other.parquet")
    for stage in (probe_page.probe, lambda one: prompt_page.search(one, load_prompts(None), load_prompts(None))):
        with pytest.raises(DataError, match="no study of split 'val' can be evaluated"):
            stage(archive)


def test_a_run_of_another_task_and_a_folder_in_use_are_refused(tmp_path):
    with pytest.raises(UsageError, match="only a pretrained run is asked by prompts; got a run of --task report_gen"):
        labelled.require_pretraining(Config())
    require_fresh(tmp_path / "new", ("metrics.json",), replace=False)
    (tmp_path / "metrics.json").write_text("{}")
    with pytest.raises(UsageError, match="holds files already"):
        require_fresh(tmp_path, ("metrics.json",), replace=False)
    require_fresh(tmp_path, ("metrics.json",), replace=True)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds files already"):
        require_fresh(tmp_path, ("metrics.json",), replace=True)
