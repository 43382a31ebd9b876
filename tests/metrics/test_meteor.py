"""METEOR against the Java program of pycocoevalcap on the same words, and by hand."""

from __future__ import annotations

import csv
import random
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from medmm.errors import DataError, UsageError
from medmm.metrics.meteor import FUNCTION_WORDS, meteor_statistics
from medmm.metrics.tokenizers import ptb_tokens
from medmm.metrics.wordnet import find_wordnet

SAME = ("-m", "exact stem", "-w", "1.0 0.6")


def java(references, drafts, *arguments):
    """The Java program's score of the whole and of each study; ``references`` hold one or several texts a study."""
    module = pytest.importorskip("pycocoevalcap.meteor.meteor")
    if shutil.which("java") is None:
        pytest.skip("no Java to run METEOR")
    jar = Path(module.__file__).parent / module.METEOR_JAR
    command = ["java", "-Xmx1G", "-jar", str(jar), "-", "-", "-stdio", "-l", "en", *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def ask(line):
            process.stdin.write(f"{line}\n")
            process.stdin.flush()
            return process.stdout.readline().strip()

        parts = []
        for group, draft in zip(references, drafts, strict=True):
            texts = " ||| ".join(" ".join(one) for one in (group if group and isinstance(group[0], list) else [group]))
            parts.append(ask(f"SCORE ||| {texts} ||| {' '.join(draft)}"))
        each = [float(ask("EVAL ||| " + " ||| ".join(parts)))]
        each += [float(process.stdout.readline()) for _ in parts]
        process.stdin.close()
    return each[-1], np.array(each[:-1])


@pytest.fixture(scope="session")
def function_words(tmp_path_factory):
    file = tmp_path_factory.mktemp("meteor") / "function.words"
    file.write_text("\n".join(sorted(FUNCTION_WORDS)) + "\n", encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def openi(shared):
    with (shared / "openi/indiana_reports.csv").open(newline="") as handle:
        words = [ptb_tokens(f"{row['findings']} {row['impression']}") for row in csv.DictReader(handle)]
    words = [one for one in words if len(one) > 3][:800]
    return words, random.Random(0).sample(words, len(words))


@pytest.mark.shared
def test_equals_the_java_program_on_open_i(openi, function_words):
    texts, drafts = openi
    whole, each = java(texts, drafts, *SAME, "-s", str(function_words))
    found = meteor_statistics(texts, drafts)
    assert found.name == "meteor (exact, stem)"
    np.testing.assert_allclose(found.each()["meteor"], each, atol=1e-12)
    assert float(found.scores()["meteor"]) == pytest.approx(whole, abs=1e-12)


@pytest.mark.slow
@pytest.mark.shared
def test_follows_the_java_program_with_all_its_modules(openi):
    """As pycocoevalcap calls it: paraphrases, synonyms and its own function words on top."""
    texts, drafts = openi
    whole, each = java(texts, drafts, "-norm")
    found = meteor_statistics(texts, drafts)
    assert np.corrcoef(found.each()["meteor"], each)[0, 1] > 0.99
    assert float(found.scores()["meteor"]) == pytest.approx(whole, abs=0.006)


@pytest.mark.shared
def test_synonyms_follow_the_java_programs(openi):
    wordnet = find_wordnet()
    if wordnet is None:
        pytest.skip("no WordNet on this machine")
    texts, drafts = openi
    whole, each = java(texts, drafts, "-m", "exact stem synonym", "-w", "1.0 0.6 0.8")
    found = meteor_statistics(texts, drafts, wordnet)
    assert found.name == "meteor (exact, stem, synonym)"
    assert np.corrcoef(found.each()["meteor"], each)[0, 1] > 0.995
    assert float(found.scores()["meteor"]) == pytest.approx(whole, abs=0.004)


def test_several_references_equal_the_java_program(function_words):
    generator = random.Random(1)
    words = "the no effusion effusions lungs lung is clear clearing heart enlarged , and of a".split()
    drafts = [generator.choices(words, k=generator.randint(1, 20)) for _ in range(60)]
    several = [[generator.choices(words, k=generator.randint(1, 20)) for _ in range(2)] for _ in drafts]
    several = [[one[0], one[at % 2]] for at, one in enumerate(several)]
    whole, each = java(several, drafts, *SAME, "-s", str(function_words))
    found = meteor_statistics(several, drafts)
    np.testing.assert_allclose(found.each()["meteor"], each, atol=1e-12)
    assert float(found.scores()["meteor"]) == pytest.approx(whole, abs=1e-12)


def test_by_hand():
    """``lungs clear`` for ``lungs are clear``: precision 1, recall 1.5/1.75, two runs of two matched words."""
    precision, recall = 1.0, 1.5 / 1.75
    mean = precision * recall / (0.85 * precision + 0.15 * recall)
    found = meteor_statistics(["lungs are clear".split()], ["lungs clear".split()])
    assert float(found.scores()["meteor"]) == pytest.approx(mean * (1 - 0.6 * (2 / 2) ** 0.2), abs=1e-12)
    stems = meteor_statistics([["effusions"]], [["effusion"]])
    assert float(stems.scores()["meteor"]) == pytest.approx(0.6)  # one whole run: no penalty


def test_degenerate_texts_have_values():
    found = meteor_statistics([["a"], [], [], ["双肺清晰"]], [[], ["a"], [], ["双肺清晰"]])
    assert found.each()["meteor"].tolist() == [0.0, 0.0, 0.0, 1.0]
    with pytest.raises(UsageError):
        meteor_statistics([["a"]], [])


def test_wordnet_from_its_files(tmp_path):
    """Two nouns in one set, an irregular plural, and a verb that shares a spelling but no set."""
    licence = "  1 This is a licence.  \n"
    for part, lines in {
        "noun": "lung n 1 1 @ 1 0 00000001\npneumo n 2 0 2 0 00000001 00000002\nfoot n 1 0 1 0 00000003\n",
        "verb": "see v 1 0 1 0 00000001\nvisualize v 1 0 1 0 00000001\n",
        "adj": "",
        "adv": "",
    }.items():
        (tmp_path / f"index.{part}").write_text(licence + lines, encoding="utf-8")
    (tmp_path / "noun.exc").write_text("feet foot\n", encoding="utf-8")
    (tmp_path / "verb.exc").write_text("seen see\n", encoding="utf-8")
    wordnet = find_wordnet(tmp_path)
    assert wordnet is not None
    assert wordnet.synsets("lungs") & wordnet.synsets("pneumo") == {"noun00000001"}
    assert wordnet.synsets("seen") == wordnet.synsets("visualized") == {"verb00000001"}
    assert wordnet.synsets("feet") == {"noun00000003"}
    assert wordnet.synsets("xxxx") == frozenset()
    found = meteor_statistics([["lungs", "seen"]], [["pneumo", "visualized"]], wordnet)
    assert float(found.scores()["meteor"]) == pytest.approx(0.8)
    with pytest.raises(DataError):
        find_wordnet(tmp_path / "elsewhere")
