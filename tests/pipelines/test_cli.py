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

    assert set(_SUMMARY) == {*registry.STAGES, *registry.TOOLS}


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


EVALUATION = {"card": {"split": "test", "data_as_trained": True, "data_hash": "a" * 64}, "test": {"bleu4": 0.5}}


def test_figures_that_mlflow_cannot_take_are_shown_and_noted(tmp_path, monkeypatch):
    from types import SimpleNamespace

    from medmm.config.load import load
    from medmm.config.schema import Config
    from medmm.pipelines import _data, evaluate

    monkeypatch.setattr("medmm.training.records.read_config", lambda run, where: Config())
    manifest = SimpleNamespace(path=tmp_path / "data" / "manifest.parquet", data_hash="a" * 64)
    monkeypatch.setattr(_data, "manifest_of_run", lambda *given: manifest)
    result = SimpleNamespace(
        metrics=EVALUATION,
        out=tmp_path,
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


@pytest.mark.parametrize(
    ("reasons", "code"),
    [
        ([], 0),
        (["report_empty", "image_without_report", "report_without_image", "section_missing"], 0),
        (["label_missing", "image_without_question", "question_without_image", "image_without_mask"], 0),
        (["report_empty", "decode_failed"], 10),
        (["file_missing"], 10),
        ([Reason.REPORT_UNREADABLE], 10),
    ],
)
def test_only_what_is_broken_ends_in_10(reasons, code):
    assert _cli.exit_code(reasons) == code


def test_a_folder_chosen_by_itself_is_named_and_the_last_is_gone_on_with(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def body(call):
        """Choose a folder."""
        return {"out": call.folder("runs/x")}

    def chosen(*words):
        run = _run(body, "--json", *words)
        return run.exit_code, json.loads(run.stdout)["out"], run.stderr

    assert _run(body, "--resume").stderr == (
        "error: --resume: there is nothing to go on with; got no folder runs/x."
        " Add --out DIR, the folder of the run that was cut off, or leave --resume out.\n"
    )
    assert chosen() == (0, "runs/x", "writing in runs/x\n")
    for name in ("runs/x", "runs/x-notes", "runs/x-1", "runs/xy-7"):
        (tmp_path / name).mkdir(parents=True)
    assert chosen("--resume") == (0, "runs/x", "going on in runs/x\n")
    assert chosen() == (0, "runs/x-2", "writing in runs/x-2\n")
    for number in (2, 10):
        (tmp_path / f"runs/x-{number}").mkdir()
    assert chosen() == (0, "runs/x-11", "writing in runs/x-11\n")
    assert chosen("--resume") == (0, "runs/x-10", "going on in runs/x-10\n")
    assert chosen("--resume", "--out", "mine") == (0, "mine", "")


@pytest.mark.parametrize(
    ("name", "data", "out"),
    [
        ("finetune", "phantom studies if not given", "runs/TASK"),
        ("index", "phantom studies if not given", "runs/index"),
        ("evaluate", "those that the run was trained on", "RUN/evaluation-SPLIT"),
        ("score", "its studies lie in --input", "runs/score"),
        ("phantom", "it makes studies and reads none", "runs/phantom"),
    ],
)
def test_help_says_what_data_and_out_are_by_default(name, data, out):
    said = " ".join(medmm(name, "--help").stdout.split())
    assert data in said
    assert out in said
    assert ("phantom studies if not given" in said) == (name in ("finetune", "index"))


def test_phantom_reads_no_data(tmp_path):
    run = medmm("phantom", "--data", "table:t.csv", "--studies", "1", cwd=tmp_path)
    assert (run.returncode, "error: --data: phantom makes studies and reads none" in run.stderr) == (2, True)
    assert list(tmp_path.iterdir()) == []


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
