"""``--dry-run`` of evaluate and score speaks of what the run does, and counts what it can be judged by."""

import json

import pytest

from medmm.config.load import to_yaml
from medmm.config.schema import Config, SplitConfig
from medmm.data import manifest as manifests
from medmm.pipelines import _dry_run, evaluate
from medmm.pipelines._console import Console
from medmm.reports.parse import parse_report
from medmm.types import Finding, ImageRef, Status, Study

TASKS = {
    "report_gen": ("draft reports on 2 studies", 2),
    "classification": ("classify 3 studies", 3),
    "segmentation": ("outline 1 study", 1),
    "vqa": ("answer questions on 1 study", 1),
}


def studies(folder):
    """Five studies of the test split: two with a report, one labelled, one with a mask, one with a question."""
    report = parse_report("FINDINGS: There is a nodule.")
    parts = (
        {"report": report}, {"report": report}, {"findings": {"nodule": Finding(Status.PRESENT)}},
        {"masks": {"lung": folder / "m.png"}}, {"questions": (("Is there a nodule?", "yes"),)},
    )  # fmt: skip
    return [
        Study(f"s{number}", f"p{number}", (ImageRef(folder / f"{number}.png"),), split="test", **part)
        for number, part in enumerate(parts)
    ]


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    (folder / "data").mkdir(parents=True)
    manifests.build(studies(tmp_path), folder / "data" / "manifest.parquet", SplitConfig(), lambda rejection: None)
    (folder / "run.json").write_text(json.dumps({"plan": {"memory_gb": 1.25}}))
    return folder


@pytest.mark.parametrize("task", TASKS)
def test_only_studies_that_the_task_can_be_judged_by_are_counted(task, run, capsys):
    config, (words, number) = Config.model_validate({"task": task}), TASKS[task]
    said = _dry_run.evaluation(run, config, config, "test", Console())
    assert said == {"dry_run": True, "studies": number, "memory_gb": 1.25}
    assert capsys.readouterr().out == f"would {words} of split 'test' and score that in at most 1.2 GB of memory\n"


def test_the_stage_says_the_same(run, capsys):
    (run / "config.yaml").write_text(to_yaml(Config.model_validate({"task": "segmentation"})))
    with pytest.raises(SystemExit) as ended:
        evaluate.main(["--run", str(run), "--dry-run", "--json"])
    said = capsys.readouterr()
    assert (ended.value.code, json.loads(said.out)["studies"]) == (0, 1)
    assert "would outline 1 study" in said.err


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"task": "report_gen"}, "draft reports on 3 studies"),
        ({"task": "classification", "classification": {"kind": "regression"}}, "estimate numbers on 3 studies"),
        ({"task": "vqa", "score": {"questions": ["Is it?", "Where?"]}}, "answer 2 questions on each of 3 studies"),
    ],
)
def test_a_folder_to_score_is_told_in_the_words_of_the_task(settings, words, run, capsys):
    config = Config.model_validate({**settings, "data": {"columns": {"label": "age"}}})
    said = _dry_run.scoring(run, config, {"studies": 3, "images": 5}, Console())
    assert capsys.readouterr().out == f"would {words} with 5 images in at most 1.2 GB\n"
    assert (said["studies"], said["images"], said["memory_gb"]) == (3, 5, 1.25)
