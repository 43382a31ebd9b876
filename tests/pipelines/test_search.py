"""``medmm embed`` and ``medmm search`` from end to end, by a stand-in that embeds a study by its grey level."""

import json
import math
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch

from medmm.config.load import to_yaml
from medmm.config.schema import Config
from medmm.errors import ExitCode
from medmm.pipelines import embed, search
from medmm.training.loaded import LoadedModel

CONFIG = Config.model_validate({"preprocess": {"size": 32}, "score": {"workers": 0}, "device": "cpu"})
ANGLES = {"dark": 0.0, "bright": math.pi / 2}


class GreyEmbedding:
    def __init__(self):
        self.config, self.model = CONFIG, torch.nn.Linear(1, 1)

    def embed_images(self, images, view_mask):
        return self._at(images[:, 0].flatten(1).mean(1) * math.pi / 2)

    def embed_texts(self, texts):
        return self._at(torch.tensor([sum(ANGLES.get(word, 0) for word in text.split()) for text in texts]))

    def unknown_words(self, text):
        return [word for word in text.split() if word not in ANGLES]

    def _at(self, angle):
        return torch.stack([angle.cos(), angle.sin()], 1)


@pytest.fixture
def provenance(monkeypatch):
    """What the loaded run says of itself; may be changed."""
    said = {"medmm": "0", "weights_sha256": "w" * 64, "preprocess_sha256": "p" * 64}
    monkeypatch.setattr("medmm.training.run.load", lambda run, device: LoadedModel(GreyEmbedding(), "cpu", said))
    return said


@pytest.fixture
def world(tmp_path, monkeypatch, provenance):
    """A run, and six pictures with a table of reports."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text(to_yaml(CONFIG))
    (tmp_path / "in").mkdir()
    rows = ["image,report,study"]
    for number in range(6):
        image = np.full((64, 64), 50 * number, np.uint8)
        assert cv2.imwrite(str(tmp_path / "in" / f"{number}.png"), image)
        rows.append(f"{number}.png,{'Cardiomegaly.' if number % 2 else 'No pleural effusion.'},s{number}")
    (tmp_path / "table.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def ended(stage, capsys, *words):
    """Exit code, and what was said on standard output and standard error."""
    with pytest.raises(SystemExit) as raised:
        stage.main([str(word) for word in words])
    said = capsys.readouterr()
    return raised.value.code, said.out, said.err


def embedded(capsys, *words):
    return ended(embed, capsys, "--run", "run", "--out", "archive", *words)


TABLE = ("--data", "table:table.csv", "data.columns={image: image, report: report, study: study}", "data.image_root=in")


def test_embed_then_search_with_words_a_picture_and_filters(world, capsys):
    code, out, err = embedded(capsys, *TABLE, "--json")
    said = json.loads(out)
    assert (code, said["studies"], said["aside"]) == (ExitCode.DONE, 6, {}), err
    assert f"6 studies embedded; wrote {said['out']}" in err
    record = json.loads((world / "archive" / "index.json").read_text())
    assert {key: record[key] for key in ("number", "width", "kind", "split")} == {
        "number": 6, "width": 2, "kind": "exact", "split": "all",
    }  # fmt: skip
    code, out, err = ended(
        search, capsys, "bright", "--index", "archive", "--run", "run", "--top", "3", "--json", "--out", "found"
    )
    said = json.loads(out)
    assert (code, said["query"], said["searched"], said["studies"]) == (0, "bright", 6, 6)
    assert [one["study_id"] for one in said["results"]] == ["s5", "s4", "s3"]
    expected = [math.sin(level / 255 * math.pi / 2) for level in (250, 200, 150)]
    np.testing.assert_allclose([one["score"] for one in said["results"]], expected, atol=1e-5)
    assert said["results"][0]["findings"] == [{"name": "cardiomegaly", "laterality": None, "severity": None}]
    assert (world / "found" / "search.html").read_text().count("<article>") == 3
    assert cv2.imread(str(world / "found" / "search.png")).shape[2] == 3
    code, out, err = ended(
        search, capsys, "--image", "in/2.png", "--index", "archive", "--run", "run", "--finding", "cardiomegaly"
    )
    assert (code, err) == (0, "")
    lines = [line for line in out.splitlines() if "study#" in line]
    assert len(lines) == 3
    assert out.splitlines()[0] == "writing in runs/search"
    assert "note: 3 of 6 studies searched: finding cardiomegaly" in out
    assert (world / "runs" / "search" / "search.png").is_file()


def test_a_folder_without_reports_and_with_a_broken_file(world, capsys):
    (world / "in" / "6.png").write_bytes(b"no image")
    code, out, _ = embedded(capsys, "--input", "in", "--json")
    said = json.loads(out)
    assert (code, said["studies"], said["aside"]) == (ExitCode.QUARANTINED, 6, {"not_an_image": 1})
    line = json.loads((world / "archive" / "quarantine.jsonl").read_text())
    assert (line["study_id"], line["reason"]) == ("6.png", "not_an_image")
    code, out, _ = ended(search, capsys, "dark", "--index", "archive", "--run", "run", "--top", "2", "--json")
    assert [(one["study_id"], one["findings"]) for one in json.loads(out)["results"]] == [
        ("0.png", None),
        ("1.png", None),
    ]


def test_an_archive_is_replaced_only_with_resume(world, capsys):
    assert embedded(capsys, "--input", "in")[0] == 0
    code, _, err = embedded(capsys, "--input", "in")
    assert (code, "the folder holds an archive" in err) == (ExitCode.USAGE, True)
    (world / "in" / "5.png").unlink()
    code, out, _ = embedded(capsys, "--input", "in", "--resume", "--json")
    assert (code, json.loads(out)["studies"]) == (0, 5)
    assert embedded(capsys, "--input", "in", "--resume", "--dry-run")[1] == "would embed 5 studies\n"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--input", "in", *TABLE[:2]), "a folder of studies is embedded as it is"),
        (("--input", "in", "--split", "val"), "a folder of studies is embedded as it is"),
        (("--input", "nowhere"), "there is no such folder"),
    ],
)
def test_what_embed_refuses(world, capsys, words, says):
    code, _, err = embedded(capsys, *words)
    assert (code, says in err) == (ExitCode.USAGE, True), err


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ((), 2, "a search is with words or with a picture; got neither"),
        (("dark", "--image", "in/1.png"), 2, "got both"),
        (("",), 2, "there is nothing to search for; got an empty text"),
        (("xqz", "zzyx"), 2, "unexpected extra argument"),
        (("xqz zzyx",), 2, "the run knows no word of the query"),
        (("--image", "table.csv"), 2, "error: "),
        (("dark", "--modality", "CT"), 2, "--modality: no study of the archive passes"),
        (("dark", "--top", "0"), 2, "--top"),
        (("dark", "train.lr=1"), 2, "unexpected extra argument"),
    ],
)
def test_what_search_refuses(world, capsys, words, code, says):
    assert embedded(capsys, "--input", "in")[0] == 0
    found, _, err = ended(search, capsys, *words, "--index", "archive", "--run", "run")
    assert (found, says in err) == (code, True), err
    assert not (world / "runs").exists()


def test_another_models_archive_is_refused(world, capsys, provenance):
    assert embedded(capsys, "--input", "in")[0] == 0
    provenance["weights_sha256"] = "v" * 64
    code, _, err = ended(search, capsys, "dark", "--index", "archive", "--run", "run")
    assert (code, "embedded by another model; got weights_sha256 vvvvvvvv; expected wwwwwwww" in err) == (4, True)


def test_words_that_are_unknown_are_named(world, capsys):
    assert embedded(capsys, "--input", "in")[0] == 0
    code, out, _ = ended(search, capsys, "xqz bright", "--index", "archive", "--run", "run")
    assert (code, "note: 50% of the words are unknown to the run and count for little: xqz" in out) == (0, True)


def test_help_of_search_imports_nothing_heavy_and_takes_no_settings():
    words = [sys.executable, "-X", "importtime", "-m", "medmm", "search", "--help"]
    run = subprocess.run(words, capture_output=True, text=True, check=True)
    imported = {line.split("|")[-1].strip() for line in run.stderr.splitlines() if "|" in line}
    assert not imported & {"torch", "monai", "mlflow", "transformers", "pandas", "pyarrow", "cv2", "numpy", "faiss"}
    assert "KEY.PATH=VALUE" not in run.stdout
    for option in ("--index", "--image", "--top", "--modality", "--view", "--finding", "--after", "--before", "--json"):
        assert option in run.stdout, option
