"""The command line as scripts see it: exit codes, streams, what is imported."""

import json
import logging
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from medmm import registry
from medmm.errors import ExitCode, Reason, ResourceError, StudyError
from medmm.pipelines import _cli


def medmm(*words, cwd=None):
    return subprocess.run([sys.executable, "-m", "medmm", *words], capture_output=True, text=True, cwd=cwd, check=False)


@pytest.mark.parametrize("name", registry.names("stage"))
def test_help_imports_nothing_heavy(name):
    words = [sys.executable, "-X", "importtime", "-m", f"medmm.pipelines.{name}", "--help"]
    run = subprocess.run(words, capture_output=True, text=True, check=True)
    imported = {line.split("|")[-1].strip() for line in run.stderr.splitlines() if "|" in line}
    assert not imported & {"torch", "monai", "mlflow", "transformers", "pandas", "pyarrow", "cv2", "numpy"}
    for option in (
        "--config",
        "--data",
        "--out",
        "--device",
        "--seed",
        "--resume",
        "--dry-run",
        "--json",
        "--quiet",
        "--verbose",
    ):
        assert option in run.stdout, option


def test_both_doors_print_the_same_config():
    one = medmm("finetune", "--task", "report_gen", "--print-config", "train.steps=3")
    words = [
        sys.executable,
        "-m",
        "medmm.pipelines.finetune",
        "--task",
        "report_gen",
        "--print-config",
        "train.steps=3",
    ]
    two = subprocess.run(words, capture_output=True, text=True, check=True)
    assert one.returncode == 0
    assert one.stdout == two.stdout
    assert "steps: 3" in one.stdout


def test_the_config_as_one_json_object():
    run = medmm("finetune", "--print-config", "--json", "train.steps=3")
    printed = json.loads(run.stdout)
    assert (run.returncode, printed["train"]["steps"], printed["task"]) == (0, 3, "report_gen")


def test_misspelt_stage_and_key_name_the_nearest():
    stage = medmm("finetun")
    assert (stage.returncode, "Did you mean 'finetune'?" in stage.stderr) == (ExitCode.USAGE, True)
    key = medmm("finetune", "trian.lr=1e-4")
    assert (key.returncode, "did you mean 'train'?" in key.stderr) == (ExitCode.USAGE, True)


def test_stage_names_and_summaries_agree():
    from medmm.__main__ import _SUMMARY

    assert set(_SUMMARY) == set(registry.STAGES)


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (ResourceError("the disk is full", fix="Free some."), ExitCode.RESOURCE, "the disk is full. Free some."),
        (StudyError(Reason.REPORT_EMPTY, "no text"), ExitCode.USAGE, "no text"),
        (KeyboardInterrupt(), ExitCode.INTERRUPTED, "--resume"),
        (MemoryError(), ExitCode.RESOURCE, "out of memory"),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA"), ExitCode.RESOURCE, "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"), ExitCode.RESOURCE, "out of memory"),
        (RuntimeError("DefaultCPUAllocator: not enough memory"), ExitCode.RESOURCE, "out of memory"),
        (OSError(12, "Cannot allocate memory"), ExitCode.RESOURCE, "out of memory"),
        (RuntimeError("shapes differ"), ExitCode.BUG, "a bug"),
        (OSError(28, "No space left on device"), ExitCode.RESOURCE, "disk is full"),
    ],
)
def test_errors_become_exit_codes(error, code, says):
    run = _invoke(error)
    assert run.exit_code == code
    assert says in run.stderr


def test_a_bug_shows_frames_but_not_the_message_that_may_hold_patient_data():
    run = _invoke(ValueError("DOE^JOHN"))
    assert run.exit_code == ExitCode.BUG
    assert "ValueError" in run.stderr
    assert "DOE^JOHN" not in run.stderr
    assert "DOE^JOHN" in _invoke(ValueError("DOE^JOHN"), "--verbose").stderr


def test_json_leaves_standard_output_to_one_object():
    def body(call):
        """Say something and return something."""
        call.console.line("words")
        return {"a": 1, "exit_code": ExitCode.QUARANTINED}

    run = _run(body, "--json")
    assert json.loads(run.stdout) == {"a": 1}
    assert run.stderr == "words\n"
    assert run.exit_code == ExitCode.QUARANTINED


@pytest.mark.parametrize(("words", "said"), [((), "note: it is late\n"), (("--quiet",), "")])
def test_what_the_package_warns_of_is_one_line(words, said):
    def body(call):
        """Warn."""
        logging.getLogger("medmm.tracking").warning("it is %s", "late")

    run = _run(body, *words)
    assert (run.stdout, run.stderr) == (said, "")
    assert logging.getLogger("medmm").handlers == []


EVALUATION = {"card": {"data_as_trained": True, "data_hash": "a" * 64}, "test": {"bleu4": 0.5}}


def test_figures_that_mlflow_cannot_take_are_shown_and_noted(tmp_path, monkeypatch):
    from types import SimpleNamespace

    from medmm.config.load import load
    from medmm.config.schema import Config
    from medmm.pipelines import _data, evaluate

    monkeypatch.setattr("medmm.training.records.read_config", lambda run: Config())
    monkeypatch.setattr(_data, "manifest_of_run", lambda *given: None)
    result = SimpleNamespace(
        metrics=EVALUATION,
        warnings=[],
        notes=(),
        broken=0,
        shown=[("figures", ["metric", "model"], [["bleu4", "0.500"]])],
    )
    monkeypatch.setattr("medmm.scoring.evaluation.evaluate", lambda *given, **named: result)
    monkeypatch.setattr("medmm.pipelines._cli.load", lambda *given, **named: load(None, None, given[2]))
    import typer

    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(evaluate.command)
    run = CliRunner().invoke(app, ["--run", str(tmp_path), f"tracking.uri=file://{tmp_path}/old"])
    assert run.exit_code == ExitCode.DONE
    lines = run.stdout.splitlines()
    assert any("0.500" in line for line in lines)
    assert lines[-1].startswith("note: MLflow does not have these figures. tracking.uri: the tracking store cannot be")


def test_quiet_says_nothing():
    def body(call):
        """Say something."""
        call.console.line("words")

    assert _run(body, "--quiet").output == ""


def _invoke(error, *words):
    def body(call):
        """Fail."""
        raise error

    return _run(body, *words)


def _run(body, *words):
    import typer

    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(_cli.stage(body))
    return CliRunner().invoke(app, list(words))
