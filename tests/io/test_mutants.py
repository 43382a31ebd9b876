"""No file brings the house down: mutants come in by every door, and each is read or set aside with a reason."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pydicom
import pytest

from medmm.config.schema import PreprocessConfig
from medmm.data.decoding import Job, ReadingProcess
from medmm.data.manifest import Manifest
from medmm.errors import Reason
from medmm.io.header import read_header

HANG_S, MEMORY = 15.0, 2_000_000_000
SLOW = {"deflate_bomb", "endless"}  # each takes the five seconds that a header may; the slow test has them
FLAT, DEEP = PreprocessConfig(size=64), PreprocessConfig(size=32, depth=8)
REASONS = {str(reason) for reason in Reason}
HERE = Path(__file__).parent


def module(name):
    spec = importlib.util.spec_from_file_location(f"medmm_test_{name}", HERE / f"{name}.py")
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = loaded
    spec.loader.exec_module(loaded)
    return loaded


mutants, doors = module("mutants"), module("doors")


@pytest.fixture(scope="module")
def corpus(shared):
    return mutants.Corpus(shared, seed=0)


@pytest.fixture(scope="module")
def secrets(corpus):
    """What the sources' headers say of patients, as text."""
    tags = ("PatientName", "PatientID", "PatientBirthDate", "AccessionNumber", "StudyDate", "InstitutionName",
            "ReferringPhysicianName", "StudyDescription", "OtherPatientIDs", "PatientComments")  # fmt: skip
    found = {"CANARY-ID"}
    for path in corpus.paths:
        dataset = pydicom.dcmread(path, force=True, stop_before_pixels=True, specific_tags=list(tags))
        found |= {str(dataset.get(tag) or "") for tag in tags}
    return {one for one in found if len(one) >= 6}


class Watch:
    """High-water marks of the memory of a process and of all that it starts."""

    def __init__(self, pid):
        self.most, self._pid, self._done = {}, pid, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._done.wait(0.05):
            self.look()

    def look(self):
        parents = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                except OSError:
                    continue
        own = {self._pid}
        while more := {pid for pid, parent in parents.items() if parent in own} - own:
            own |= more
        for pid in own:
            self.most[pid] = max(self.most.get(pid, 0), high_water(pid))

    def stop(self):
        self._done.set()
        self._thread.join()
        return max(self.most.values())


def high_water(pid):
    """Bytes; 0 where there is no such process any more."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)


def remove(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def listing(folder):
    return {(str(path), path.lstat().st_size) for path in folder.rglob("*")}


class Sandbox:
    """A root with input, output and a home; nothing but the output may change."""

    def __init__(self, root, made):
        self.root, self.made = root, made
        self.source, self.out = root / "in", root / "out"
        for name in ("in", "home", "tmp", "work"):
            (root / name).mkdir(parents=True)
        for one in made:
            place = self.source / one.name.split("-")[0]
            place.mkdir()
            one.write(place / one.name)

    def run(self, *words, allowed=(0,)):
        """Run a program; its memory in bytes. Asserts how it ends, and that it changes nothing but the output."""
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir()
        before = listing(self.root)
        surroundings = {"HOME": str(self.root / "home"), "TMPDIR": str(self.root / "tmp"), "MEDMM_SITE_SECRET": "x",
                        "MEDMM_CACHE": str(self.out / "cache"), "PYTHONPATH": str(HERE.parents[1]),
                        "PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"}  # fmt: skip
        with (self.root / "said").open("wb") as said:
            running = subprocess.Popen([sys.executable, *map(str, words)], cwd=self.root / "work", env=surroundings,
                                       stdin=subprocess.DEVNULL, stdout=said, stderr=said)  # fmt: skip
            watch = Watch(running.pid)
            code = running.wait(HANG_S * (4 + len(self.made)))
            memory = watch.stop()
        self.said = (self.root / "said").read_text(errors="replace")
        (self.root / "said").unlink()
        assert code in allowed, self.said[-3000:]
        inside = str(self.out) + os.sep
        assert {one for one in listing(self.root) if not one[0].startswith(inside) and one[0] != str(self.out)} == {
            one for one in before if one[0] != str(self.out)
        }
        return memory


def clean(text, secrets):
    assert not [one for one in secrets if one in text], "patient data are told"


def check_read(corpus, made, folder, secrets):
    """By the reading process that training, evaluation and scoring share; counts of outcomes, seconds, bytes."""
    counts, longest, largest = Counter(), 0.0, 0
    target = folder / "target"
    processes = {preprocess: ReadingProcess(preprocess) for preprocess in (FLAT, DEEP)}
    for one in made:
        preprocess = DEEP if ".nii" in one.name else FLAT
        target.write_bytes(b"\0" * 2 * 32768)
        path = folder / one.name
        one.write(path)
        process, started = processes[preprocess], time.monotonic()
        outcome = process.ask(Job(path, target, 0))
        seconds = time.monotonic() - started
        assert seconds <= HANG_S, one
        if process.child.pid is not None:
            used = high_water(process.child.pid)
            Path(f"/proc/{process.child.pid}/clear_refs").write_text("5")
            assert used <= MEMORY, one
            largest = max(largest, used)
        assert outcome.reason is None or outcome.detail, one
        clean(outcome.detail, secrets)
        longest = max(longest, seconds)
        counts[str(outcome.reason or "read")] += 1
        remove(path)
    assert len(target.read_bytes()) == 65536  # nothing was written beyond the rows
    for process in processes.values():
        process.end()
    return counts, longest, largest


def check_index(sandbox, secrets):
    """By ``medmm index``: every file is in the manifest or in the quarantine."""
    memory = sandbox.run("-m", "medmm.pipelines.index", "--data", f"dicom:{sandbox.source}", "--out",
                         sandbox.out / "o", "--quiet", allowed=(0, 10))  # fmt: skip
    assert memory <= MEMORY
    clean(sandbox.said, secrets)
    aside = [json.loads(line) for line in (sandbox.out / "o" / "quarantine.jsonl").read_text().splitlines()]
    for one in aside:
        clean(one["detail"], secrets)
        assert one["reason"] in REASONS
        assert one["detail"]
    manifest = Manifest.open(sandbox.out / "o" / "manifest.parquet")
    kept = {str(image.path) for study in manifest.studies() for image in study.images}
    known = kept | {one["path"] for one in aside}
    studies = {one["study_id"] for one in aside}
    for path in doors.files_in(sandbox.source):
        if str(path) not in known:  # a study that is set aside as a whole
            header = read_header(path)
            assert {header.study_uid, header.series_uid, str(path.relative_to(sandbox.source)),
                    str(path.parent.relative_to(sandbox.source))} & studies, path.name  # fmt: skip
    return memory, Counter(one["reason"] for one in aside) + Counter(read=len(kept))


def check_told(sandbox, door, secrets):
    """By a door that reads in the caller's own process."""
    memory = sandbox.run(HERE / "doors.py", door, sandbox.source, sandbox.out)
    assert memory <= MEMORY
    clean(sandbox.said, secrets)
    told = [json.loads(line) for line in (sandbox.out / "told.jsonl").read_text().splitlines()]
    for path, reason, detail, seconds in told:
        assert seconds <= HANG_S, path
        assert reason in REASONS | {"read", "no_data"}
        clean(detail, secrets)
    return memory, max(one[3] for one in told), Counter(one[1] for one in told)


def check_score(sandbox, secrets):
    """By the scoring engine, unattended."""
    memory = sandbox.run(HERE / "doors.py", "score", sandbox.source, sandbox.out)
    assert memory <= MEMORY
    clean(sandbox.said, secrets)
    aside = [json.loads(line) for line in (sandbox.out / "scored" / "quarantine.jsonl").read_text().splitlines()]
    for one in aside:
        clean(one["detail"], secrets)
        assert one["reason"] in REASONS
    counts = json.loads((sandbox.out / "scored" / "manifest.json").read_text())["counts"]
    assert counts["scored"] > 0
    return memory, counts


@pytest.mark.shared
def test_a_sample_of_mutants_comes_in_by_every_door(corpus, secrets, tmp_path):
    made = [corpus.mutant(number) for number in range(2 * len(mutants.FAMILIES))]
    made = [one for one in made if one.family not in SLOW]
    assert len(made) > 100
    counts, longest, largest = check_read(corpus, made, tmp_path, secrets)
    assert counts.total() == len(made)
    assert counts["read"] > 20
    assert counts.keys() <= REASONS | {"read"}
    sandbox = Sandbox(tmp_path / "sandbox", [one for one in made if one.name.endswith(".dcm")])
    check_index(sandbox, secrets)
    check_score(sandbox, secrets)


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_thousand_mutants_come_in_by_every_door(corpus, secrets, tmp_path):
    number, part = int(os.environ.get("MEDMM_TEST_MUTANTS", "2280")), 228
    said, longest, largest = {}, Counter(), Counter()
    for start in range(0, number, part):
        made = [corpus.mutant(one) for one in range(start, min(start + part, number))]
        found, seconds, memory = check_read(corpus, made, tmp_path, secrets)
        said.setdefault("read", Counter()).update(found)
        longest["read"], largest["read"] = max(longest["read"], seconds), max(largest["read"], memory)
        sandbox = Sandbox(tmp_path / "sandbox", [one for one in made if one.name.endswith(".dcm")])
        memory, found = check_index(sandbox, secrets)
        said.setdefault("index", Counter()).update(found)
        largest["index"] = max(largest["index"], memory)
        memory, found = check_score(sandbox, secrets)
        said.setdefault("score", Counter()).update({name: one for name, one in found.items() if isinstance(one, int)})
        largest["score"] = max(largest["score"], memory)
        for door in ("headers", "volumes"):
            memory, seconds, found = check_told(sandbox, door, secrets)
            said.setdefault(door, Counter()).update(found)
            longest[door], largest[door] = max(longest[door], seconds), max(largest[door], memory)
        shutil.rmtree(tmp_path / "sandbox")
    assert said["read"].total() == number
    lines = [f"{door}: {dict(told)}; longest {longest[door]:.1f} s, most {largest[door] / 1e6:,.0f} MB"
             for door, told in said.items()]  # fmt: skip
    (tmp_path / "mutants.txt").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))  # noqa: T201 - the figures are what it is run for


@pytest.mark.shared
def test_a_mutant_depends_on_seed_and_number_alone(shared, tmp_path):
    first, second = mutants.Corpus(shared, seed=3), mutants.Corpus(shared, seed=3)
    for number in (1, 16, 60, 109):
        for name, corpus in (("a", first), ("b", second)):
            corpus.mutant(number).write(tmp_path / name)
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
