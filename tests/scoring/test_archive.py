"""Archives of embeddings: nearest studies against numpy, filters by hand, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from medmm.errors import CheckpointError, DataError, UsageError
from medmm.scoring import archive, nearest
from medmm.scoring.archive import Archive, row_of
from medmm.scoring.study_filter import StudyFilter
from medmm.types import Finding, ImageRef, Laterality, Severity, Status, Study

NUMBER, WIDTH = 600, 16
OWN = {"weights_sha256": "w" * 64, "preprocess_sha256": "p" * 64}


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def vectors():
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(12, WIDTH))
    return unit(centres[generator.integers(0, 12, NUMBER)] + 0.5 * generator.normal(size=(NUMBER, WIDTH)))


def study(number):
    """Every second one CR and AP, every fifth with an effusion, every third without a report, days 0 to 599."""
    image = ImageRef(Path(f"/in/{number}.png"), modality=("DX", "CR")[number % 2], view=("PA", "AP")[number % 2])
    return Study(f"s{number}", "p", (image,), days=number)


def findings(number):
    if number % 3 == 0:
        return None
    effusion = Finding(
        Status.PRESENT if number % 5 == 0 else Status.ABSENT, laterality=Laterality.LEFT, severity=Severity.SMALL
    )
    return {"pleural_effusion": effusion, "no_finding": Finding(Status.PRESENT)}


def blocks(vectors, size=250):
    rows = [row_of(study(number), findings(number)) for number in range(len(vectors))]
    for start in range(0, len(rows), size):
        yield rows[start : start + size], vectors[start : start + size]


@pytest.fixture(scope="module", params=["exact", "hnsw"])
def made(request, vectors, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "hnsw":
            patch.setattr(nearest, "EXACT_UP_TO", NUMBER - 1)
        assert archive.write(folder, blocks(vectors), OWN) == NUMBER
    return folder


def test_files_say_what_they_are_and_are_private(made, vectors):
    said = json.loads((made / "index.json").read_text())
    assert said == {"format": 1, **OWN, "width": WIDTH, "number": NUMBER, "kind": made.name.rstrip("0123456789")}
    assert {path.name: path.stat().st_mode & 0o777 for path in made.iterdir()} == {
        "embeddings.parquet": 0o600, "index.faiss": 0o600, "index.json": 0o644,
    }  # fmt: skip
    table = pq.read_table(made / "embeddings.parquet")
    assert str(table.schema.field("embedding").type) == f"fixed_size_list<element: float>[{WIDTH}]"
    np.testing.assert_array_equal(np.array(table.column("embedding").to_pylist(), np.float32), vectors)
    assert table.slice(5, 1).drop(["embedding"]).to_pylist() == [
        {"study_id": "s5", "modality": "CR", "views": ["AP"], "days": 5, "path": "/in/5.png",
         "findings": [{"name": "pleural_effusion", "laterality": "left", "severity": "small"}]}
    ]  # fmt: skip
    assert table.column("findings").slice(0, 2).to_pylist() == [None, []]


def test_the_nearest_studies_are_those_of_numpy(made, vectors):
    own, generator = Archive(made), np.random.default_rng(1)
    found = wanted = 0
    for query in unit(vectors[generator.integers(0, NUMBER, 40)] + 0.1 * generator.normal(size=(40, WIDTH))):
        hits, among = own.search(query, 10)
        cosines = vectors @ query
        best = {f"s{place}" for place in np.argsort(-cosines)[:10]}
        found, wanted = found + len(best & {hit.study_id for hit in hits}), wanted + 10
        scores = [hit.score for hit in hits]
        assert scores == sorted(scores, reverse=True)
        np.testing.assert_allclose(scores, [cosines[int(hit.study_id[1:])] for hit in hits], atol=2e-3)
        assert among == NUMBER
    assert found / wanted >= (1 if own.index.kind == "exact" else 0.98)


@pytest.mark.parametrize(
    ("asked", "passes"),
    [
        (StudyFilter(modality="cr"), lambda n: n % 2 == 1),
        (StudyFilter(view="PA", after=590), lambda n: n % 2 == 0 and n > 590),
        (StudyFilter(finding="Pleural effusion"), lambda n: n % 3 and n % 5 == 0),
        (StudyFilter(after=3, before=7, modality="CR"), lambda n: n == 5),
    ],
)
def test_filters_are_answered_exactly_and_in_full(made, vectors, asked, passes):
    own, passing = Archive(made), [number for number in range(NUMBER) if passes(number)]
    query = vectors[0]
    hits, among = own.search(query, 30, asked)
    best = sorted(passing, key=lambda number: -(vectors[number] @ query))[:30]
    assert among == len(passing)
    assert [hit.study_id for hit in hits] == [f"s{number}" for number in best]


def test_more_are_asked_for_than_there_are(made, vectors):
    hits, _ = Archive(made).search(vectors[3], 1000)
    assert (len({hit.study_id for hit in hits}), hits[0].study_id) == (NUMBER, "s3")


def test_hits_say_their_findings_in_words(made, vectors):
    hits, _ = Archive(made).search(vectors[5], NUMBER)
    words = {hit.study_id: hit.finding_words for hit in hits}
    assert (words["s5"], words["s1"], words["s0"]) == ("small left pleural effusion", "nothing present", "")


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (StudyFilter(modality="CT"), "--modality: no study of the archive passes; got 'CT'; expected CR | DX"),
        (StudyFilter(finding="plural_effusion"), "expected pleural_effusion. Did you mean 'pleural_effusion'?"),
        (StudyFilter(after=599), "--after: no study of the archive passes; got 599; expected 0 to 599 days"),
        (StudyFilter(modality="DX", view="AP"), "got 2 filters that leave nothing together"),
    ],
)
def test_filters_that_leave_nothing_say_what_there_is(made, vectors, asked, says):
    with pytest.raises(UsageError) as raised:
        Archive(made).search(vectors[0], 5, asked)
    assert says in str(raised.value)


def test_an_archive_without_days_or_findings_says_so(vectors, tmp_path):
    rows = [row_of(Study("s", "p", (ImageRef(Path("/in/0.png")),)), None)]
    archive.write(tmp_path, [(rows, vectors[:1])], OWN)
    for asked, says in [
        (StudyFilter(before=9), "expected studies whose day is known"),
        (StudyFilter(finding="edema"), "expected an archive that says it of its studies"),
        (StudyFilter(modality="DX"), "expected an archive that says it of its studies"),
    ]:
        with pytest.raises(UsageError, match=says):
            Archive(tmp_path).search(vectors[0], 5, asked)


def test_another_models_archive_is_refused(made):
    own = Archive(made)
    own.require_own(OWN | {"medmm": "0"})
    for key in OWN:
        with pytest.raises(CheckpointError, match=f"embedded by another model; got {key} xxxxxxxx"):
            own.require_own(OWN | {key: "x" * 64})


def test_of_a_volume_in_several_files_the_middle_one_is_shown():
    slices = tuple(Path(f"/ct/{number}.dcm") for number in range(5))
    row = row_of(Study("s", "p", (ImageRef(slices[0], modality="CT", slices=slices),)), None)
    assert (row["path"], row["views"]) == ("/ct/2.dcm", [])


def test_a_broken_or_unfinished_archive_is_refused(vectors, tmp_path):
    with pytest.raises(DataError, match="there is no finished archive"):
        Archive(tmp_path)
    archive.write(tmp_path, blocks(vectors[:20]), OWN)
    said = json.loads((tmp_path / "index.json").read_text())
    for changes, says in [
        ({"format": 2}, "another format; got format 2"),
        ({"number": 21}, "20 rows, an index of 20; expected 21 of each"),
        ({"kind": "other"}, "index.json that cannot be read"),
    ]:
        (tmp_path / "index.json").write_text(json.dumps(said | changes))
        with pytest.raises(DataError, match=says):
            Archive(tmp_path)
    (tmp_path / "index.json").write_text(json.dumps(said))
    (tmp_path / "index.faiss").write_bytes(b"no index")
    with pytest.raises(DataError, match=r"index\.faiss: the index cannot be read"):
        Archive(tmp_path)
    (tmp_path / "embeddings.parquet").write_bytes(b"no Parquet")
    with pytest.raises(DataError, match=r"embeddings\.parquet that cannot be read"):
        Archive(tmp_path)


def test_an_archive_that_fails_half_way_is_none(vectors, tmp_path):
    def broken():
        yield from blocks(vectors[:20])
        raise KeyboardInterrupt

    archive.write(tmp_path, blocks(vectors[:20]), OWN)
    with pytest.raises(KeyboardInterrupt):
        archive.write(tmp_path, broken(), OWN)
    assert not (tmp_path / "index.json").exists()
    with pytest.raises(DataError, match="no study can be embedded"):
        archive.write(tmp_path / "none", [], OWN)


def test_the_same_vectors_give_the_same_graph(vectors, tmp_path, monkeypatch):
    monkeypatch.setattr(nearest, "EXACT_UP_TO", 10)
    for name in ("a", "b"):
        assert nearest.build([vectors], WIDTH, NUMBER, tmp_path / name) == "hnsw"
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_only_an_archive_is_replaced(vectors, tmp_path):
    archive.require_free(tmp_path / "new", replace=False)
    archive.write(tmp_path, blocks(vectors[:20]), OWN)
    with pytest.raises(UsageError, match="the folder holds an archive"):
        archive.require_free(tmp_path, replace=False)
    archive.require_free(tmp_path, replace=True)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="other things than an archive"):
        archive.require_free(tmp_path, replace=True)
