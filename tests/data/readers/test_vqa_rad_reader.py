"""VQA-RAD: questions gathered by image, the published split, and what is set aside."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from medmm.config.schema import DataConfig
from medmm.data.indexing import index
from medmm.data.manifest import Manifest
from medmm.data.readers import vqa_rad
from medmm.errors import DataError, Reason
from medmm.pipelines import index as stage
from medmm.types import Rejection, Study


def read(config):
    items = list(vqa_rad.read(config))
    return [one for one in items if isinstance(one, Study)], [one for one in items if isinstance(one, Rejection)]


def asked(image, question, answer="Yes", phrase="freeform"):
    return {"image_name": image, "question": question, "answer": answer, "phrase_type": phrase}


@pytest.fixture
def source(layouts, tmp_path):
    """Write lists by name, beside images a.jpg, b.jpg, c.jpg: ``source({"trainset": [...]})``."""

    def _source(lists, folder="images"):
        for letter in "abc":
            layouts.write_png(tmp_path / folder / f"{letter}.jpg", ord(letter))
        for name, records in lists.items():
            (tmp_path / f"{name}.json").write_text(json.dumps(records))
        return DataConfig(reader="vqa-rad", path=tmp_path)

    return _source


@pytest.mark.shared
def test_every_real_question_is_read(shared, tmp_path):
    folder = shared / "vqa_rad"
    records = json.loads((folder / "trainset.json").read_text())
    config = DataConfig(reader="vqa-rad", path=folder)
    studies, rejected = read(config)
    assert (len(studies), sum(len(study.questions) for study in studies)) == (254, 2457)
    assert {study.study_id: len(study.questions) for study in studies} == Counter(one["image_name"] for one in records)
    assert [(one.study_id, one.reason) for one in rejected] == [("synpic35356.jpg", Reason.IMAGE_WITHOUT_QUESTION)]
    answers = Counter(answer.lower() for study in studies for _, answer in study.questions)
    assert (answers["yes"], answers["no"], answers["none"]) == (663, 707, 1)
    assert {study.split for study in studies} == {None}
    result = index(config, 0, tmp_path / "out")
    assert result.rejected == {"image_without_question": 1}
    assert (result.counts["with_questions"], result.counts["image_without_report"]) == (254, 0)
    assert list(Manifest.open(result.manifest).studies())[0].questions == studies[0].questions


def test_questions_of_an_image_are_a_study_in_the_lists_order(source, tmp_path):
    records = [asked("b.jpg", " Is it clear? "), asked("a.jpg", "How many?", 2), asked("b.jpg", "What is it?", "None"),
               asked("c.jpg", "Is it clear?"), asked("b.jpg", "Is it clear?")]  # fmt: skip
    studies, rejected = read(source({"trainset": records}))
    assert rejected == []
    assert [(study.study_id, study.questions) for study in studies] == [
        ("b.jpg", (("Is it clear?", "Yes"), ("What is it?", "None"), ("Is it clear?", "Yes"))),
        ("a.jpg", (("How many?", "2"),)),
        ("c.jpg", (("Is it clear?", "Yes"),)),
    ]
    assert studies[0].images[0].path == tmp_path / "images" / "b.jpg"
    direct = DataConfig(reader="vqa-rad", path=tmp_path / "trainset.json", image_root=tmp_path / "images")
    assert read(direct)[0] == studies


@pytest.mark.parametrize("public", [True, False])
def test_the_published_split_is_kept_and_its_leak_is_known(source, tmp_path, public):
    train, test = [asked("a.jpg", "Q1"), asked("b.jpg", "Q2")], [asked("c.jpg", "Q3"), asked("a.jpg", "Q4")]
    if public:
        marked = [one | {"phrase_type": "test_freeform"} for one in test]
        config = source({"VQA_RAD Dataset Public": train + marked, "trainset": []}, "VQA_RAD Image Folder")
    else:
        config = source({"trainset": train, "testset": test})
    studies, rejected = read(config)
    assert rejected == []
    assert {(study.study_id, study.split, study.questions[0][0]) for study in studies} == {
        ("a.jpg", "train", "Q1"), ("b.jpg", "train", "Q2"), ("c.jpg", "test", "Q3"), ("a.jpg#test", "test", "Q4"),
    }  # fmt: skip
    keys = {study.study_id: study.patient_key for study in studies}
    assert keys["a.jpg"] == keys["a.jpg#test"] != keys["b.jpg"]
    config = config.model_copy(update={"splits": config.splits.model_copy(update={"val": 0.0})})
    assert index(config, 0, tmp_path / "out").counts["patients_in_several_splits"] == 1


def test_what_is_set_aside(source, tmp_path):
    (tmp_path.parent / "outside.jpg").write_bytes(b"x")
    records = [
        asked("a.jpg", "Q"), asked("", "Q"), asked("a.jpg", ""), asked("a.jpg", "Q", None), 5,
        asked("gone.jpg", "Q"), asked("gone.jpg", "R"), asked("../outside.jpg", "Q"),
    ]  # fmt: skip
    studies, rejected = read(source({"trainset": records}))
    assert [(study.study_id, len(study.questions)) for study in studies] == [("a.jpg", 1)]
    assert [(one.study_id, one.reason) for one in rejected] == [
        ("question 2", Reason.QUESTION_WITHOUT_IMAGE), ("question 3", Reason.ROW_INVALID),
        ("question 4", Reason.ROW_INVALID), ("question 5", Reason.QUESTION_WITHOUT_IMAGE),
        ("gone.jpg", Reason.FILE_MISSING), ("../outside.jpg", Reason.PATH_OUTSIDE),
        ("b.jpg", Reason.IMAGE_WITHOUT_QUESTION), ("c.jpg", Reason.IMAGE_WITHOUT_QUESTION),
    ]  # fmt: skip
    assert rejected[4].detail == "image: there is no such file; it has 2 questions"


@pytest.mark.parametrize(
    ("text", "message"),
    [("{}", "is no list"), ("[]", "holds no question"), ("[1", "no JSON"), ('[{"image_name": "z.jpg", "question": "Q", '
     '"answer": "A"}]', r"data\.image_root")],
)  # fmt: skip
def test_lists_that_are_none(source, tmp_path, text, message):
    config = source({})
    (tmp_path / "trainset.json").write_text(text)
    with pytest.raises(DataError, match=message):
        read(config)


def test_a_clean_source_ends_well(layouts, tmp_path, capsys):
    layouts.vqa_rad(tmp_path / "in")
    with pytest.raises(SystemExit) as ended:
        stage.main(["--data", f"vqa-rad:{tmp_path / 'in'}", "--out", str(tmp_path / "out")])
    assert ended.value.code == 0
    said = capsys.readouterr().out.splitlines()
    assert "  with questions: 5 studies" in said
    assert not any("without report" in line for line in said)
    assert "Is there" in (tmp_path / "out" / "pairing.html").read_text()


def test_the_page_shows_as_many_studies_as_of_reports(source, layouts, tmp_path):
    names = [f"i{number}.jpg" for number in range(12)]
    for number, name in enumerate(names):
        layouts.write_png(tmp_path / "images" / name, number)
    config = source({"trainset": [asked(name, f"Is this <{name}>?") for name in (*names, "a.jpg", "b.jpg", "c.jpg")]})
    page = index(config, 0, tmp_path / "out").page.read_text()
    assert page.count("<article>") == 15
    assert page.count("Is this &lt;i7.jpg&gt;? — Yes") == 1
    assert "No report" not in page
