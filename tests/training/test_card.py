"""The model card: what it states after training, and the figures that an evaluation puts into it."""

import errno
import json
import os
from datetime import UTC, datetime

import pytest

from medmm.errors import UsageError
from medmm.scoring.evaluation import evaluate
from medmm.training import records
from medmm.training.card import insert_metrics
from medmm.training.run import finetune

TO_COME = "To come: `medmm evaluate --run` on this directory"
HEADINGS = ["Model", "Input and output", "Data", "Training", "Metrics", "Intended use", "Limits"]


@pytest.fixture(scope="module")
def config(small):
    changes = {"train": small.train.model_copy(update={"steps": 3, "accumulate": 1}), "seed": 5}
    return small.model_copy(update=changes | {"evaluate": small.evaluate.model_copy(update={"bootstrap": 100})})


@pytest.fixture(scope="module")
def run(config, manifest, tmp_path_factory):
    """A run of three steps."""
    out = tmp_path_factory.mktemp("card")
    records.claim(out, config, resume=False)
    finetune(config, manifest, out)
    return out


@pytest.fixture
def card(run):
    """The card as training left it; what a test does to it is undone."""
    path = run / "MODEL_CARD.md"
    before = path.read_bytes()
    yield path
    path.write_bytes(before)


def headings(text):
    return [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]


def titles(text):
    return [line.removeprefix("### ") for line in text.splitlines() if line.startswith("### ")]


def section(text, name):
    return text.split(f"## {name}\n")[1].split("\n## ")[0].strip()


def test_after_training_it_states_what_the_run_is_and_that_figures_are_to_come(card, run, manifest):
    text = card.read_text()
    record = json.loads((run / "run.json").read_text())
    assert headings(text) == HEADINGS
    assert "**Not a medical device.**" in text
    model = section(text, "Model")
    assert "Task: report_gen. Target: findings and impression" in model
    assert "2D, 32 x 32 pixels, up to 2 views a study" in model
    assert "GPT-2 of 1 layers, 32 wide, from scratch" in model
    assert "Finding head: nodule." in model
    assert "seed 5" in model
    assert "a probability for each finding of the head" in section(text, "Input and output")
    data = section(text, "Data")
    assert f"{record['train']} studies to learn from, {record['validation']} to validate" in data
    assert f"Data hash `{manifest.data_hash[:16]}`, split hash `{manifest.split_hash[:16]}`" in data
    assert "3 of 3 steps of 4 studies" in section(text, "Training")
    assert section(text, "Metrics").startswith(TO_COME)
    assert "measure on your own data first" in section(text, "Limits")


def test_an_evaluation_puts_its_figures_there_and_a_second_one_replaces_them(card, run, manifest, config, tmp_path):
    before = card.read_text()
    found = evaluate(run, manifest, config, "test", tmp_path / "one", "cpu")
    text = card.read_text()
    assert found.notes == ()
    assert [section(text, name) for name in HEADINGS if name != "Metrics"] == [
        section(before, name) for name in HEADINGS if name != "Metrics"
    ]
    said = section(text, "Metrics")
    assert TO_COME not in text
    assert titles(text) == ["Split `test`"]
    counts = found.metrics["card"]["counts"]
    assert f"test: {counts['studies']} studies of {counts['patients']} patients" in said
    assert datetime.now(UTC).date().isoformat() in said
    assert f"split hash `{manifest.split_hash[:16]}`" in said
    assert "| metric | model | 95% interval | most frequent | nearest image | swapped image |" in said
    low, high = found.metrics["ci95"]["rouge_l"]
    others = [found.metrics["baselines"][name]["rouge_l"] for name in ("most_frequent", "nearest_image")]
    row = f"| rouge_l | {found.metrics['test']['rouge_l']:.3f} | {low:.3f} to {high:.3f} | "
    assert row + " | ".join(f"{value:.3f}" for value in others) in said
    assert [sentence for sentence in found.warnings if f"- **Mind:** {sentence}" not in said] == []
    evaluate(run, manifest, config, "test", tmp_path / "two", "cpu")
    assert card.read_text() == text


def test_an_evaluation_on_another_split_stands_beside_it_under_its_name(card, run, manifest, config, tmp_path):
    for split in ("val", "test", "val"):
        evaluate(run, manifest, config, split, tmp_path / split, "cpu")
    text = card.read_text()
    assert titles(text) == ["Split `test`", "Split `val`"]
    test, val = text.split("### Split `val`\n")
    assert "### Split `test`\ntest: " in test
    assert val.startswith("val: ")
    assert headings(text) == HEADINGS


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_where_the_run_is_read_only_the_evaluation_succeeds_and_says_so(
    card, run, manifest, config, tmp_path, monkeypatch, code
):
    before, opened = card.read_bytes(), os.open

    def refusing(path, flags, *rest, **more):
        if flags & os.O_CREAT and os.fspath(path).startswith(f"{run}{os.sep}"):
            raise OSError(code, os.strerror(code))
        return opened(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", refusing)
    found = evaluate(run, manifest, config, "test", tmp_path / "out", "cpu")
    (note,) = found.notes
    assert note.startswith("the run's model card does not have these figures. MODEL_CARD.md: cannot be written; got ")
    assert str(run) not in note
    assert card.read_bytes() == before
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["test"] == found.metrics["test"]


def test_what_somebody_has_written_into_the_card_stays(tmp_path):
    card = tmp_path / "MODEL_CARD.md"
    card.write_text("# Mine\n\n## Metrics\nOur own words.\n\n### Split `all`\nold\n\n## Limits\n- none\n")
    for body in ("one", "two\n\n- three"):
        insert_metrics(card, "Split `test`", body)
    wanted = "# Mine\n\n## Metrics\n\nOur own words.\n\n### Split `all`\nold\n\n### Split `test`\ntwo\n\n- three\n\n"
    assert card.read_text() == wanted + "## Limits\n- none\n"


def test_a_card_without_the_section_gets_it_at_its_end_and_no_card_is_refused(tmp_path):
    card = tmp_path / "MODEL_CARD.md"
    card.write_text("# Mine\n")
    insert_metrics(card, "Split `test`", "one")
    insert_metrics(card, "Split `test`", "one")
    assert card.read_text() == "# Mine\n\n## Metrics\n\n### Split `test`\none\n"
    card.unlink()
    with pytest.raises(UsageError, match="the model card cannot be read"):
        insert_metrics(card, "Split `test`", "one")
    assert list(tmp_path.iterdir()) == []
