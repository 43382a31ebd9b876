"""Patient keys, ages, dates and splits."""

from __future__ import annotations

import hashlib
import hmac
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import date

import pytest

from medmm.data.readers import _common
from medmm.errors import ResourceError, UsageError


@pytest.fixture
def no_secret(monkeypatch, tmp_path):
    """A home without a secret."""
    monkeypatch.delenv("MEDMM_SITE_SECRET")
    monkeypatch.setenv("HOME", str(tmp_path))
    _common._secret_of.cache_clear()
    yield tmp_path / ".config" / "medmm" / "site_secret"
    _common._secret_of.cache_clear()


def test_key_is_truncated_hmac_of_the_id(monkeypatch):
    monkeypatch.setenv("MEDMM_SITE_SECRET", "s3cret")
    expected = hmac.new(b"s3cret", b"MRN 12", hashlib.sha256).hexdigest()[:32]
    assert _common.patient_key(" MRN 12 ") == expected
    assert _common.patient_key("MRN 13") != expected


def test_secret_changes_keys_but_not_those_of_public_ids(monkeypatch):
    monkeypatch.setenv("MEDMM_SITE_SECRET", "one")
    own, public = _common.patient_key("P1"), _common.patient_key("P1", public=True)
    monkeypatch.setenv("MEDMM_SITE_SECRET", "two")
    assert _common.patient_key("P1") != own
    assert _common.patient_key("P1", public=True) == public != own


def test_lone_study_is_no_patient_of_that_name():
    assert _common.lone_patient_key("7") != _common.patient_key("7")


def test_secret_is_made_once_private_and_kept(no_secret):
    key = _common.patient_key("P1")
    assert no_secret.stat().st_mode & 0o777 == 0o600
    assert len(no_secret.read_text().strip()) == 64
    assert [path.name for path in no_secret.parent.iterdir()] == ["site_secret"]
    _common._secret_of.cache_clear()
    assert _common.patient_key("P1") == key


def test_processes_that_start_together_agree_on_the_secret(no_secret):
    code = "from medmm.data.readers._common import patient_key; print(patient_key('P1'))"
    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(lambda _: subprocess.check_output([sys.executable, "-c", code], text=True), range(4)))
    assert len(set(runs)) == 1
    assert runs[0].strip() == _common.patient_key("P1")


def test_secret_that_others_can_read_is_refused(no_secret):
    _common.patient_key("P1")
    no_secret.chmod(0o644)
    _common._secret_of.cache_clear()
    with pytest.raises(UsageError, match="other users can read"):
        _common.patient_key("P1")


def test_secret_that_is_empty_is_refused(no_secret):
    no_secret.parent.mkdir(parents=True)
    no_secret.touch(mode=0o600)
    with pytest.raises(UsageError, match="empty"):
        _common.patient_key("P1")


def test_secret_that_cannot_be_made_names_the_variable(no_secret):
    no_secret.parents[1].write_text("a file where .config should be")
    with pytest.raises(ResourceError, match="MEDMM_SITE_SECRET"):
        _common.patient_key("P1")


@pytest.mark.parametrize(
    ("age", "band"),
    [
        (0, "0-9"), (9.9, "0-9"), ("65", "60-69"), ("65.0", "60-69"),
        ("064Y", "60-69"), ("018M", "0-9"), ("130M", "10-19"),
        ("003W", "0-9"), (89, "80-89"), (90, "90+"), ("104", "90+"),
        (None, None), ("", None), ("old", None), ("-3", None),
    ],
)  # fmt: skip
def test_age_band(age, band):
    assert _common.age_band(age) == band


@pytest.mark.parametrize(
    ("word", "split"),
    [
        ("train", "train"),
        ("Training", "train"),
        (" VALID ", "val"),
        ("validate", "val"),
        ("testing", "test"),
        ("holdout", None),
    ],
)
def test_split_name(word, split):
    assert _common.split_name(word) == split


@pytest.mark.parametrize(
    ("value", "text"),
    [(3.0, "3"), (2.5, "2.5"), (float("nan"), ""), (None, ""), (" x ", "x"), ("NaN", ""), (True, "True")],
)
def test_cell(value, text):
    assert _common.cell(value) == text


def test_timelines_count_from_the_patients_first_study():
    studies = [
        ("p", "c", date(2020, 3, 1)), ("p", "a", date(2020, 2, 1)), ("p", "b", date(2020, 2, 1)),
        ("p", "undated", None), ("q", "d", date(2021, 1, 1)),
    ]  # fmt: skip
    assert _common.timelines(studies) == {
        "a": (0, ()),
        "b": (0, ()),
        "c": (29, ("a", "b")),
        "undated": (None, ()),
        "d": (0, ()),
    }
