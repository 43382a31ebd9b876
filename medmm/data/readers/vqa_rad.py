"""VQA-RAD: one JSON list of questions on radiology images, and a folder with the images.

``[{"qid": 1, "image_name": "synpic54610.jpg", "image_organ": "HEAD", "question": "...", "answer": "Yes",
"answer_type": "CLOSED", "question_type": "PRES", "phrase_type": "freeform"}]``, as in ``VQA_RAD Dataset Public.json``
(https://osf.io/89kps) and in the ``trainset.json`` and ``testset.json`` that are made from it; see Lau et al. 2018
(https://doi.org/10.1038/sdata.2018.251). A study is an image with its questions. The collection names no patients.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from medmm.config.schema import DataConfig
from medmm.data.readers import _listing
from medmm.data.readers._common import lone_patient_key, split_name
from medmm.data.readers._files import Presence, root_folder, source_path
from medmm.errors import DataError, Reason
from medmm.types import ImageRef, Rejection, Study

_PUBLIC = "VQA_RAD Dataset Public.json"
_FOLDERS = ("images", "VQA_RAD Image Folder")
_KINDS = (".jpg", ".jpeg", ".png")
_EXPECTED = f"{_PUBLIC}, or trainset.json, perhaps with testset.json"
_FORM = 'a list of {"image_name": ..., "question": ..., "answer": ...}'


def read(config: DataConfig) -> Iterator[Study | Rejection]:
    """Read studies from the list of questions, or from a folder with such lists and the images.

    The public list marks the questions of its test in ``phrase_type``; two lists, ``trainset.json`` and
    ``testset.json``, bring the same split. It shares out questions, not images: an image with questions on both sides
    becomes two studies of one patient, of which index warns. One list without such marks brings no split.

    An image in the folder without any question is set aside, as are questions whose image is not there.

    Raises:
        DataError: There is no such list, it is no JSON of that form, or none of the images is there.
    """
    path = source_path(config.path)
    lists = _lists(path) if path.is_dir() else {path: ""}
    if not lists:
        raise DataError("the folder holds no list of questions", where="data.path", expected=_EXPECTED)
    beside = next(iter(lists)).parent
    folder = next((beside / name for name in _FOLDERS if (beside / name).is_dir()), beside)
    root = root_folder(config.image_root, beside, "data.image_root") if config.image_root else folder
    return _Reading(lists, root, Presence("data.image_root")).items()


def _lists(folder: Path) -> dict[Path, str]:
    """Lists of questions in a folder, with the part that their names say, empty where they say none."""
    if (folder / _PUBLIC).is_file():
        return {folder / _PUBLIC: ""}
    named = {
        path: split_name(path.stem.lower().removesuffix("set")) or ""
        for path in sorted(folder.iterdir())
        if path.suffix.lower() == ".json" and not _listing.is_fork(path.name)
    }
    parts = {path: part for path, part in named.items() if part}
    return parts if len(parts) > 1 else dict.fromkeys(parts, "")


@dataclass(frozen=True, slots=True)
class _Reading:
    lists: Mapping[Path, str]
    root: Path
    presence: Presence

    def items(self) -> Iterator[Study | Rejection]:
        """Yield a study an image and part, in the order of their first question, and what had to be set aside."""
        asked: dict[tuple[str, str], list[tuple[str, str]]] = {}
        yield from self._gather(asked)
        several = len({part for _, part in asked}) > 1
        for (name, part), questions in asked.items():
            twice = part == "test" and any((name, other) in asked for other in ("train", "val"))
            yield self._study(name, f"{name}#test" if twice else name, part if several else "", questions)
        self.presence.finish()
        yield from self._unnamed({name for name, _ in asked})

    def _gather(self, asked: dict[tuple[str, str], list[tuple[str, str]]]) -> Iterator[Rejection]:
        """Put each question to its image and part; yield what is no question."""
        number = 0
        for file, listed in self.lists.items():
            records = _listing.load(file, _FORM)
            if not isinstance(records, list):
                raise DataError(f"{file.name} is no list", where="data.path", expected=_FORM)
            for record in records:
                number += 1
                image, question, answer = (_text(record, name) for name in ("image_name", "question", "answer"))
                if image and question and answer:
                    asked.setdefault((image, listed or _part(record)), []).append((question, answer))
                else:
                    reason = Reason.ROW_INVALID if image else Reason.QUESTION_WITHOUT_IMAGE
                    lacking = "a question or an answer" if image else "an image"
                    yield Rejection(f"question {number}", reason, f"question {number} lacks {lacking}")
        if number == 0:
            raise DataError("the list holds no question", where="data.path", expected=_FORM)

    def _study(self, name: str, study_id: str, part: str, questions: list[tuple[str, str]]) -> Study | Rejection:
        """The study of an image and part, or why its questions are set aside."""
        path = _listing.inside(self.root, name)
        if path is None:
            return Rejection(study_id, Reason.PATH_OUTSIDE, "the list names an image outside of its folder")
        if found := self.presence.check(path):
            return Rejection(study_id, found[0], f"image: {found[1]}; it has {len(questions)} questions", path)
        return Study(
            study_id=study_id,
            patient_key=lone_patient_key(name, public=True),
            images=(ImageRef(path=path, sop_uid=name),),
            questions=tuple(questions),
            split=part or None,
        )

    def _unnamed(self, named: set[str]) -> Iterator[Rejection]:
        for path in sorted(self.root.iterdir()):
            if path.suffix.lower() in _KINDS and path.name not in named and not _listing.is_fork(path.name):
                yield Rejection(path.name, Reason.IMAGE_WITHOUT_QUESTION, "no question names this image", path)


def _text(record: object, name: str) -> str:
    """A field's text without surrounding blanks, empty where there is none; a number and ``None`` are answers too."""
    value = record.get(name) if isinstance(record, Mapping) else None
    return str(value).strip() if isinstance(value, str | int | float) else ""


def _part(record: Mapping[str, object]) -> str:
    return "test" if str(record.get("phrase_type", "")).lower().startswith("test") else "train"
