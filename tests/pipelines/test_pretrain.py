"""``medmm pretrain``: its own config, its plan."""

import json

import pytest

from medmm.pipelines import pretrain


def test_a_dry_run_says_the_plan_of_pretraining(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        pretrain.main(["--dry-run", "--json", "--device", "cpu", "train.steps=3", "data.phantom.studies=400"])
    assert ended.value.code == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["studies"], said["plan"]["steps"], said["plan"]["batch"]) == (400, 3, 64)
    assert 1 < said["plan"]["parameters_m"] < 5
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_objective_is_refused_by_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        pretrain.main(["--dry-run", "pretrain.masked_txt=1"])
    assert ended.value.code == 2
    assert "did you mean 'masked_text'" in capsys.readouterr().err
