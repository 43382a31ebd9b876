"""Patients to parts: exact counts, whole patients, given splits kept."""

from __future__ import annotations

import hashlib
from collections import Counter

import pytest

from medmm.config.schema import SplitConfig
from medmm.data import splits
from medmm.data.splits import Member
from medmm.errors import DataError

PATIENTS = [f"patient {number}" for number in range(100)]


def test_order_and_cut_are_as_documented():
    ordered = sorted(PATIENTS, key=lambda key: hashlib.sha256(f"7:{key}".encode()).hexdigest())
    parts = splits.share_out(PATIENTS, SplitConfig(val=0.1, test=0.2, seed=7))
    assert [key for key in ordered if parts[key] == "test"] == ordered[:20]
    assert [key for key in ordered if parts[key] == "val"] == ordered[20:30]


@pytest.mark.parametrize(
    ("patients", "val", "test", "expected"),
    [
        (100, 0.1, 0.2, (70, 10, 20)), (10, 0.25, 0.25, (4, 3, 3)),
        (3, 0.1, 0.2, (1, 1, 1)), (7, 0.01, 0.01, (5, 1, 1)),
        (3, 0.49, 0.5, (1, 1, 1)), (10, 0, 0.3, (7, 0, 3)),
        (2, 0, 0.5, (1, 0, 1)), (5, 0, 0, (5, 0, 0)), (1, 0, 0, (1, 0, 0)),
        (10, 0.45, 0.5, (1, 5, 4)), (3, 0.05, 0.9, (1, 1, 1)),
        (2, 0.1, 0.2, (1, 1, 0)), (1, 0, 0.2, (1, 0, 0)), (1, 0.1, 0.2, (1, 0, 0)),  # looked at, though not shared out
    ],
)  # fmt: skip
def test_counts(patients, val, test, expected):
    found = Counter(splits.share_out(PATIENTS[:patients], SplitConfig(val=val, test=test)).values())
    assert (found["train"], found["val"], found["test"]) == expected


def test_in_folds_every_patient_is_tested_once_and_never_trained_on_then():
    patients = PATIENTS[:11]
    folds = [splits.share_out(patients, SplitConfig(folds=4, fold=number)) for number in range(4)]
    assert all(set(fold) == set(patients) for fold in folds)
    assert [Counter(fold[one] for fold in folds)["test"] for one in patients] == [1] * len(patients)
    assert sorted(Counter(fold.values())["test"] for fold in folds) == [2, 3, 3, 3]
    assert all(Counter(fold.values())["val"] == 1 for fold in folds)
    with pytest.raises(ValueError, match="fold 4 is none of 4 folds"):
        SplitConfig(folds=4, fold=4)


def test_order_of_patients_does_not_matter_and_the_seed_does():
    config = SplitConfig()
    assert splits.share_out(PATIENTS, config) == splits.share_out(reversed(PATIENTS), config)
    assert splits.share_out(PATIENTS, config) != splits.share_out(PATIENTS, SplitConfig(seed=1))


def test_a_new_test_share_moves_no_patient_back_and_forth():
    small = splits.share_out(PATIENTS, SplitConfig(test=0.2))
    large = splits.share_out(PATIENTS, SplitConfig(test=0.3))
    assert {key for key in PATIENTS if small[key] == "test"} < {key for key in PATIENTS if large[key] == "test"}


def test_studies_of_a_patient_stay_together():
    members = [Member(f"{patient} {number}", patient) for patient in PATIENTS for number in range(3)]
    assigned = splits.assign(members, SplitConfig())
    assert len(assigned) == 300
    assert all(len({assigned[f"{patient} {number}"] for number in range(3)}) == 1 for patient in PATIENTS)


def test_a_given_split_is_kept():
    members = [Member("a", "p", "train"), Member("b", "q", "val"), Member("c", "r", "test")]
    assert splits.assign(members, SplitConfig()) == {"a": "train", "b": "val", "c": "test"}


def test_val_is_cut_from_train_alone():
    members = [Member(f"train {key}", key, "train") for key in PATIENTS[:50]]
    members += [Member(f"test {key}", key, "test") for key in PATIENTS[40:60]]
    assigned = splits.assign(members, SplitConfig(val=0.1, test=0.2))
    moved = {study_id for study_id, split in assigned.items() if split == "val"}
    assert len(moved) == 4  # a tenth of the 40 patients who are not in test as well
    assert moved < {f"train {key}" for key in PATIENTS[:40]}
    assert sum(split == "test" for split in assigned.values()) == 20


def test_no_val_is_cut_where_its_share_is_zero():
    members = [Member("a", "p", "train"), Member("b", "q", "test")]
    assert splits.assign(members, SplitConfig(val=0)) == {"a": "train", "b": "test"}


def test_a_split_of_some_studies_is_refused():
    members = [Member("a", "p", "train"), Member("b", "q", None), Member("c", "r", None)]
    with pytest.raises(DataError, match=r"only some of the studies.*2 of 3"):
        splits.assign(members, SplitConfig())


def test_patients_on_both_sides_are_found():
    members = [
        Member("a", "p", "train"),
        Member("b", "p", "test"),
        Member("c", "q", "train"),
        Member("d", "q", "train"),
    ]
    assert splits.in_several(members) == {"p"}
    assert splits.in_several([Member("a", "p"), Member("b", "p")]) == set()


def test_hash_depends_on_pairs_not_on_their_order():
    one = splits.split_hash({"a": "train", "b": "test"})
    assert one == splits.split_hash({"b": "test", "a": "train"})
    assert one == hashlib.sha256(b"1:a=train\n1:b=test\n").hexdigest()
    assert one != splits.split_hash({"a": "test", "b": "train"})
