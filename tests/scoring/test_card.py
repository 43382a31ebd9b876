import pytest

from medmm.config.schema import Config, SplitConfig
from medmm.data.manifest import Manifest, build
from medmm.reports.findings import RuleLabeler, labeler_version
from medmm.scoring import card, doubts
from medmm.scoring.samples import gather
from medmm.scoring.scores import Scores

GOOD = {"clinical_f1_macro": 0.7, "clinical_f1_micro": 0.7, "rouge_l": 0.5}


def _card(**more):
    drafts = card.describe_drafts(["a", "b", "c", "d"], ["a", "b", "c", "d"])
    counts = {"studies": 4, "patients": 100, "left_out": {}}
    same = {"split": "test", "split_as_trained": True, "data_as_trained": True}
    return {"drafts": drafts, "counts": counts, **same, **more}


def _baselines(swapped=0.3, nearest=0.4, frequent=0.1, key="clinical_f1_macro"):
    values = {"swapped_image": swapped, "nearest_image": nearest, "most_frequent": frequent}
    return {name: Scores({key: value}) for name, value in values.items()}


def test_a_sound_evaluation_gives_no_warning():
    assert doubts.warnings(_card(), Scores(GOOD), _baselines()) == ()


@pytest.mark.parametrize(
    ("card_", "scores", "baselines", "words"),
    [
        ({"split_as_trained": False}, GOOD, {}, "may have been trained on"),
        ({"split_as_trained": False, "data_as_trained": False}, GOOD, {}, "no patient is in both"),
        ({"split": "all"}, GOOD, {}, "holds studies that the model was trained on"),
        ({"split": "val"}, GOOD, {}, "chose the weights and the thresholds"),
        ({}, GOOD, {"swapped": 0.66}, "with another study's images"),
        ({}, GOOD, {"nearest": 0.7}, "no better than that of the nearest training image's report (0.700)"),
        ({}, GOOD, {"frequent": 0.71}, "no better than that of the most frequent training report (0.710)"),
        ({}, {"rouge_l": 0.3}, {"key": "rouge_l", "swapped": 0.29, "nearest": 0.2}, "about as well (rouge-l 0.290"),
        ({"counts": {"studies": 4, "patients": 29, "left_out": {}}}, GOOD, {}, "only 29 patients"),
        ({"counts": {"studies": 4, "patients": 4, "left_out": {}}}, GOOD, {}, "no intervals and no p-values"),
        ({"counts": {"studies": 4, "patients": 90, "left_out": {"no_pixels": 2}}}, GOOD, {}, "2 studies of the split"),
        ({"drafts": card.describe_drafts(["a"] * 4, list("abcd"))}, GOOD, {}, "every draft is the same text"),
        ({"drafts": card.describe_drafts(list("aaab"), list("abcd"))}, GOOD, {}, "75% of the drafts are one text (25%"),
        ({"drafts": card.describe_drafts(["", "b", "c", "d"], list("abcd"))}, GOOD, {}, "1 of 4 drafts are empty"),
        ({"drafts": card.describe_drafts(list("abcde") * 12, [*map(str, range(60))])}, GOOD, {}, "5 different drafts"),
        ({"drafts": card.describe_drafts(list("abcd"), ["a b c", "b", "c d", "e f g"])}, GOOD, {}, "drafts are short"),
        ({"drafts": card.describe_drafts(["a b", "b c d", "c d", "d e"], list("abcd"))}, GOOD, {}, "drafts are long"),
        (
            {"drafts": card.describe_drafts(["Unchanged effusion.", "b", "c", "d"], ["a b", "b", "c", "d"])},
            GOOD,
            {},
            "25% of the drafts compare with an earlier study, which the model has not seen; 0% of the references do",
        ),
    ],
)
def test_each_doubt_is_one_sentence(card_, scores, baselines, words):
    (sentence,) = doubts.warnings(_card(**card_), Scores(scores), _baselines(**baselines))
    assert words in sentence.lower()
    assert sentence.endswith(".")


def test_repetition_is_fair_where_the_references_repeat_too():
    drafts = card.describe_drafts(list("aaab"), list("aabc"))
    assert drafts["identical_share"] == 0.75
    assert drafts["identical_share_references"] == 0.5
    assert doubts.warnings(_card(drafts=drafts), Scores(GOOD), _baselines()) == ()


def test_drafts_are_counted():
    found = card.describe_drafts(["one two", "", "one two"], ["one", "one two three", "x y"])
    assert (found["distinct"], found["empty"]) == (2, 1)
    assert found["words"] == pytest.approx(4 / 3)
    assert found["words_references"] == 2.0


def test_targets_longer_than_the_model_can_write_are_counted():
    class Tokenizer:
        def encode(self, text, longest):
            return text.split(), len(text.split()) > longest - 1

    class Model:
        class task:  # noqa: N801
            tokenizer = Tokenizer()

    assert card.targets_cut(Model(), ["a b c", "a b", "a b c d"], 4) == 1
    assert card.targets_cut(object(), ["a"], 4) is None


def test_the_labeler_of_the_training_is_named():
    class Model:
        class task:  # noqa: N801
            labeler = RuleLabeler()

    assert card.trained_labeler(Model()) == labeler_version()
    assert card.trained_labeler(object()) is None


def test_training_studies_are_thinned_the_same_way_every_time(tmp_path, make_study):
    studies = [make_study(f"r{i}", 0, f"FINDINGS: Text {i}.", split="train") for i in range(20)]
    build(studies, tmp_path / "manifest.parquet", SplitConfig(val=0), lambda rejection: None)
    manifest = Manifest.open(tmp_path / "manifest.parquet")
    few = [sample.study_id for sample in gather(manifest, "train", Config(), 5).samples]
    assert len(few) == 5
    assert few == [sample.study_id for sample in gather(manifest, "train", Config(), 5).samples]
    assert few != [sample.study_id for sample in gather(manifest, "train", Config(seed=1), 5).samples]
    assert set(few) < {sample.study_id for sample in gather(manifest, "train", Config(), 6).samples}
    assert len(gather(manifest, "train", Config(), 20).samples) == 20
