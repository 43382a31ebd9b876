"""Vocabulary files: what is wrong is said all at once with its line, and a user's file changes what is read."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest

from medmm.errors import ConfigError
from medmm.reports.findings import CORE_FINDINGS, FINDINGS, RuleLabeler, label_report, labeler_version
from medmm.reports.vocabulary_file import merged, parse_vocabulary, read_vocabulary
from medmm.types import Change, Status

PACKAGED = [resources.files("medmm.reports").joinpath(name).read_bytes() for name in (
    "vocabulary.yaml", "vocabulary_extended.yaml"
)]  # fmt: skip
BROKEN = """version: 1
colour: blue
macros:
  loop: ["{loop} lung"]
findings:
  Azygos:
    phrases: [azygos lobe]
  situs:
    phrase: [situs inversus]
    sized: maybe
  cervical_rib:
    phrases:
      - cervical ~99 rib
      - Cervical rib
      - "{nowhere} rib"
      - ~2 rib
      - s-shaped
      - a? the?
    implies: [rib]
cues:
  negate: [none of]
modifiers:
  change:
    fresh: [fresh]
normal:
  - phrases: [no rib]
"""


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_vocabulary(text)
    return list(caught.value.problems)


def test_the_packaged_files_are_right() -> None:
    base = parse_vocabulary(PACKAGED[0])
    both = merged(base, parse_vocabulary(PACKAGED[1], base))
    assert tuple(both["findings"]) == FINDINGS
    assert tuple(base["findings"]) == CORE_FINDINGS


def test_every_problem_is_said_with_its_line() -> None:
    said = problems(BROKEN)
    lines = {int(one.split(":")[0].removeprefix("line ")) for one in said}
    assert lines == {2, 4, 6, 9, 10, 13, 14, 15, 16, 17, 18, 19, 21, 24, 26}
    assert len(said) == 15
    assert any("'Cervical' is no word" in one for one in said)
    assert any("a macro holds itself" in one for one in said)
    assert any("no macro {nowhere}" in one for one in said)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("version: 2", "version: 1"),
        ("- a\n- b", "a vocabulary holds"),
        ("version: 1\nfindings: {a: {phrases: [b]}, a: {phrases: [c]}}", "stands twice"),
        ("version: 1\nignored: &x [a]\nmacros: {b: *x}", "anchors"),
        ("version: 1\nignored: [a", "no valid YAML"),
        ("version: 1\nignored: " + "[" * 5000, "no valid YAML"),
        ("version: 1\nignored: ['" + " ".join(["a|b|c|d|e|f"] * 9) + "']", "at most 20000"),
        ("version: 1\nfindings: 3", "must be a mapping"),
        ("version: 1\nignored: words", "must be a list"),
    ],
)
def test_refused(text: str, word: str) -> None:
    assert any(word in one for one in problems(text)), problems(text)


def test_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_vocabulary(tmp_path / "none.yaml")
    (tmp_path / "large.yaml").write_bytes(b"#" * 1_000_001)
    with pytest.raises(ConfigError, match="at most 1000000"):
        read_vocabulary(tmp_path / "large.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"version: 1\nignored: [caf\xe9]")
    with pytest.raises(ConfigError, match="no valid YAML"):
        read_vocabulary(tmp_path / "latin.yaml")


def test_a_users_file_is_merged_over_the_packaged_one(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(
        "version: 1\nfindings:\n  azygos_lobe:\n    phrases: [azygos lobe|fissure]\n"
        "  mass:\n    replace: true\n    phrases: [space occupying lesion]\n"
        "  nodule: {phrases: [coin ~1 shadow]}\n"
        "ignored: [no ~1 azygos lobe vein]\nmodifiers: {change: {new: [brand new]}}\n"
    )
    own = RuleLabeler(path)
    assert own.findings == (*FINDINGS, "azygos_lobe")
    labels = own.label("Azygos fissure. Space occupying lesion. A mass. 12 mm coin shadow. No nodule on the left.")
    assert labels["azygos_lobe"].status is Status.PRESENT
    assert labels["mass"].span is not None
    assert labels["mass"].span.end - labels["mass"].span.start == len("Space occupying lesion")
    assert labels["nodule"].size_mm == 12.0
    assert "azygos_lobe" not in label_report("Azygos fissure.")
    assert "mass" in label_report("A mass.")
    assert "mass" not in own.label("A mass.")
    assert own.label("Brand new effusion.")["pleural_effusion"].change is Change.NEW


def test_the_version_names_rules_and_vocabulary(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("version: 1\nignored: [no such thing]\n")
    version = labeler_version()
    assert version == RuleLabeler().version == labeler_version()
    assert version.partition("+")[0] == "3"
    assert labeler_version(path) != version
    assert len(version.partition("+")[2]) == 12


def test_a_wider_vocabulary_changes_nothing_of_the_core(tmp_path: Path) -> None:
    """A finding outside the core neither hides a mention of the core nor bounds its modifiers."""
    path = tmp_path / "own.yaml"
    findings = "  whole: {phrases: [left pleural effusion]}\n  between: {phrases: [fluid level]}\n"
    path.write_text(f"version: 1\nfindings:\n{findings}")
    text = "Left pleural effusion. Right fluid level with nodule."
    own, packaged = RuleLabeler(path).label(text), label_report(text)
    core = {name for name in CORE_FINDINGS if name in packaged} - {"no_finding"}
    assert {name: own[name] for name in core} == {name: packaged[name] for name in core}
    assert core == {"pleural_effusion", "nodule"}
    assert {"whole", "between"} <= set(own)
