import itertools
import math
from collections import Counter

import numpy as np
import pytest

from medmm.scoring.baselines import derangement, most_frequent, nearest, thumbnail


def test_most_frequent_counts_whole_texts():
    assert most_frequent(["b", "a", "b", "c"]) == "b"


def test_ties_go_to_the_text_that_sorts_first_whatever_the_order():
    for order in itertools.permutations(["z", "z", "a", "a", "m"]):
        assert most_frequent(order) == "a"


def test_unique_texts_are_compared_after_normalising():
    reports = ["No effusion.", "no effusion", "Large mass, 12 mm.", "LARGE MASS 30 MM", "large mass 7 mm!", "Clear."]
    assert most_frequent(reports) == "LARGE MASS 30 MM"


def _mean_cosine(reports):
    """Every pair of TF-IDF vectors, one by one."""
    bags = []
    for text in reports:
        words = text.split()
        bags.append(Counter(words) + Counter(zip(words, words[1:], strict=False)))
    vocabulary = sorted({gram for bag in bags for gram in bag}, key=str)
    idf = np.array([math.log(len(bags) / sum(gram in bag for bag in bags)) for gram in vocabulary])
    matrix = np.array([[bag[gram] for gram in vocabulary] for bag in bags]) * idf
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    cosine = matrix @ matrix.T
    return (cosine.sum(axis=1) - np.diag(cosine)) / (len(reports) - 1)


def test_unique_reports_give_the_most_typical_one():
    generator = np.random.default_rng(3)
    words = [chr(97 + i) * 3 for i in range(12)]
    reports = sorted({" ".join(generator.choice(words, size=generator.integers(4, 9))) for _ in range(60)})
    expected = reports[int(np.argmax(_mean_cosine(reports)))]
    assert most_frequent(reports[::-1]) == expected


def test_no_reports_is_an_error():
    with pytest.raises(ValueError, match="no training report"):
        most_frequent([])


def test_thumbnail_averages_areas():
    image = np.random.default_rng(0).random((1, 128, 128), dtype=np.float32)
    by_hand = image[0].reshape(64, 2, 64, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(thumbnail(image).reshape(64, 64), by_hand, rtol=1e-5)


def test_thumbnail_of_a_volume_is_its_middle_slice():
    volume = np.random.default_rng(0).random((1, 5, 64, 64), dtype=np.float32)
    np.testing.assert_allclose(thumbnail(volume).reshape(64, 64), volume[0, 2], rtol=1e-6)


def test_nearest_agrees_with_every_distance_taken_by_hand():
    generator = np.random.default_rng(1)
    queries = generator.random((20, 300), dtype=np.float32)
    keys = generator.random((35, 300), dtype=np.float32)
    query_patients = [f"p{i % 7}" for i in range(20)]
    key_patients = [f"p{i % 9}" for i in range(35)]
    expected = []
    for query, patient in zip(queries, query_patients, strict=True):
        others = [j for j in range(35) if key_patients[j] != patient]
        expected.append(min(others, key=lambda j: float(((query.astype(float) - keys[j].astype(float)) ** 2).sum())))
    assert nearest(queries, keys, query_patients, key_patients).tolist() == expected


def test_nearest_takes_the_own_patient_only_where_there_is_nobody_else():
    keys = np.array([[0.0], [1.0]], dtype=np.float32)
    found = nearest(np.array([[0.9]], dtype=np.float32), keys, ["a"], ["a", "a"])
    assert found.tolist() == [1]


@pytest.mark.parametrize("sizes", [(1, 1), (1,) * 9, (3, 2, 1), (4, 4), (2, 3, 5, 1, 1), (6, 1, 1), (5,)])
@pytest.mark.parametrize("seed", range(4))
def test_derangement_leaves_no_study_and_as_few_patients_as_can_be(sizes, seed):
    patients = [f"p{i}" for i, size in enumerate(sizes) for _ in range(size)]
    np.random.default_rng(seed).shuffle(patients)
    other = derangement(patients, seed)
    assert sorted(other.tolist()) == list(range(len(patients)))
    assert all(other[i] != i for i in range(len(patients)))
    stayed = sum(patients[i] == patients[j] for i, j in enumerate(other))
    assert stayed == max(0, 2 * max(sizes) - len(patients))


def test_derangement_follows_the_seed():
    patients = [f"p{i}" for i in range(50)]
    assert derangement(patients, 1).tolist() == derangement(patients, 1).tolist()
    assert derangement(patients, 1).tolist() != derangement(patients, 2).tolist()


def test_single_study_cannot_be_swapped():
    with pytest.raises(ValueError, match="single study"):
        derangement(["p"], 0)
