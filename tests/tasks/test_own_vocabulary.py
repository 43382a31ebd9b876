"""What a user's vocabulary adds is learned, named by its hash, and lies in the run."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import medmm
from medmm.config.evaluation import LabelerConfig
from medmm.config.schema import Config, FindingHeadConfig, SplitConfig
from medmm.data import manifest as manifests
from medmm.errors import CheckpointError, ConfigError, UsageError
from medmm.reports.findings import CORE_FINDINGS, FINDINGS, RuleLabeler, labeler_version, rule_labeler
from medmm.reports.labelers import choose_labeler
from medmm.reports.parse import parse_report
from medmm.reports.vocabulary import load_vocabulary
from medmm.scoring.evaluation import evaluate
from medmm.tasks.findings import choose_findings
from medmm.tasks.report_gen import ReportGeneration
from medmm.training import records
from medmm.training.run import finetune
from medmm.types import Finding, ImageRef, Status, Study

VOCABULARY = """
version: 1
findings:
  azygos_lobe:
    phrases: [azygos lobe|fissure]   # Mrs Zyxwv has one
  nodule:
    replace: true
    phrases: [pearl]
"""
PRESENT = Finding(Status.PRESENT)


def study(number, folder=Path("images")):
    text = "FINDINGS: Left azygos fissure. A nodule." if number % 2 else "FINDINGS: No azygos lobe. A pearl."
    return Study(f"s{number}", f"p{number}", (ImageRef(folder / f"{number}.png"),), parse_report(text))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(VOCABULARY)
    return path


@pytest.fixture
def config(small, file):
    return small.model_copy(update={"labeler": LabelerConfig(vocabulary=file)})


def build(config):
    torch.manual_seed(0)
    return ReportGeneration.build(config, [study(number) for number in range(8)])


def test_the_head_learns_what_the_users_file_adds(config, file):
    task = build(config)
    assert task.findings == {"nodule": 0.5, "azygos_lobe": 0.5}
    encoded = task.encode([study(0), study(1)])
    assert [sample.targets["present"].tolist() for sample in encoded.samples] == [[1, 0], [0, 1]]
    digest = labeler_version(file).partition("+")[2]
    assert digest != labeler_version().partition("+")[2]
    assert any(digest in note for note in encoded.notes)


def test_the_run_says_which_vocabulary_and_holds_it(config, file, tmp_path):
    task = build(config)
    file.unlink()
    task.save(tmp_path / "model")
    said = json.loads((tmp_path / "model" / "task.json").read_text())
    version = RuleLabeler(tmp_path / "model" / said["vocabulary"]).version
    assert f"{said['labeler_version']}+{said['vocabulary_hash']}" == version == task.labeler.version
    assert "Zyxwv" not in (tmp_path / "model" / said["vocabulary"]).read_text()
    again = ReportGeneration.load(tmp_path / "model", config)
    assert again.findings == task.findings
    assert again.labeler.label("Azygos fissure. Nodule.").keys() == {"azygos_lobe", "no_finding"}
    targets = [one.encode([study(1)]).samples[0].targets["present"].tolist() for one in (task, again)]
    assert targets[0] == targets[1] == [0, 1]


@pytest.mark.parametrize("broken", [None, "version: 1\nfindings: [", ""])
def test_a_run_that_lost_its_vocabulary_is_refused(config, tmp_path, broken):
    build(config).save(tmp_path / "model")
    path = tmp_path / "model" / "vocabulary.yaml"
    path.unlink() if broken is None else path.write_text(broken)
    with pytest.raises(CheckpointError, match="vocabulary"):
        ReportGeneration.load(tmp_path / "model", config)


def test_without_a_file_nothing_is_added_and_earlier_runs_load(small, tmp_path):
    task = build(small)
    task.save(tmp_path)
    said = json.loads((tmp_path / "task.json").read_text())
    assert (said["vocabulary"], f"{said['labeler_version']}+{said['vocabulary_hash']}") == (None, labeler_version())
    assert not (tmp_path / "vocabulary.yaml").exists()
    assert list(task.encode([study(0)]).notes) == []
    earlier = {**{key: value for key, value in said.items() if not key.startswith("vocabulary")}, "labeler": "2"}
    (tmp_path / "task.json").write_text(json.dumps(earlier))
    assert ReportGeneration.load(tmp_path, small).labeler.version == labeler_version()


def test_a_missing_file_is_named_before_training(small, tmp_path):
    config = small.model_copy(update={"labeler": LabelerConfig(vocabulary=tmp_path / "gone.yaml")})
    with pytest.raises(ConfigError, match="vocabulary"):
        build(config)


def test_names_outside_the_core_are_chosen_only_where_the_user_added_them():
    known = (*FINDINGS, "azygos_lobe")
    wide = next(name for name in FINDINGS if name not in CORE_FINDINGS)
    labels = [{wide: PRESENT, "azygos_lobe": PRESENT, "edema": PRESENT}]
    assert choose_findings(labels, FindingHeadConfig(minimum=1), known)[0] == ("edema", "azygos_lobe")
    assert choose_findings(labels, FindingHeadConfig(names=("azygos_lobe",)), known)[0] == ("azygos_lobe",)
    with pytest.raises(UsageError, match="Did you mean 'azygos_lobe'"):
        choose_findings(labels, FindingHeadConfig(names=("azygos_lobes",)), known)


def test_a_trained_run_drafts_and_is_evaluated_without_the_users_file(config, file, tmp_path):
    for number in range(24):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((32, 32), 9 * number, np.uint8))
    studies = [study(number, tmp_path) for number in range(24)]
    manifests.build(studies, tmp_path / "m.parquet", SplitConfig(), lambda rejection: None)
    train = config.train.model_copy(update={"steps": 2, "accumulate": 1})
    config = config.model_copy(update={"train": train})
    records.claim(tmp_path / "run", config, resume=False)
    finetune(config, manifests.Manifest.open(tmp_path / "m.parquet"), tmp_path / "run")
    file.unlink()
    for cached in (load_vocabulary, rule_labeler, choose_labeler):
        cached.cache_clear()
    model = medmm.load(tmp_path / "run", device="cpu")
    found = model.predict(tmp_path / "1.png").findings
    assert 0 <= found["azygos_lobe"].probability <= 1
    assert model.task.labeler.version.partition("+")[2] in (tmp_path / "run" / "MODEL_CARD.md").read_text()
    settings = {"bootstrap": 0, "baselines": False, "min_positives": 1}
    base = records.read_config(tmp_path / "run").model_dump(mode="json")
    config = Config.model_validate({**base, "evaluate": {**base["evaluate"], **settings}})
    manifest = manifests.Manifest.open(tmp_path / "m.parquet")
    card = evaluate(tmp_path / "run", manifest, config, "test", tmp_path / "out", "cpu").metrics["card"]
    assert card["trained_labeler"] == f"{card['labeler_version']}+{card['vocabulary_hash']}" != labeler_version()
