"""``medmm search "small left pleural effusion" --index DIR --run RUN``: studies that words or a picture describe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medmm.errors import UsageError
from medmm.pipelines import _cli
from medmm.pipelines._console import Console, number_of

if TYPE_CHECKING:
    from medmm.scoring.archive import Hit
    from medmm.scoring.embedding import Query

_OUT = "Folder for the contact sheet; if not given a new one, runs/search, runs/search-2 and so on."
_MOST = 1000


TextArgument = Annotated[str | None, typer.Argument(metavar="[TEXT]", help="What to search for, as reports say it.")]
IndexOption = Annotated[Path, typer.Option("--index", metavar="DIR", help="Archive that embed wrote.")]
RunOption = Annotated[Path, typer.Option("--run", metavar="RUN", help="The run that embedded it.")]
ImageOption = Annotated[
    Path | None, typer.Option("--image", metavar="FILE", help="Search with a picture in place of words.")
]
TopOption = Annotated[int, typer.Option("--top", metavar="N", min=1, max=_MOST, help="Studies to show.")]
ModalityOption = Annotated[str | None, typer.Option("--modality", metavar="DX", help="Only this modality.")]
ViewOption = Annotated[str | None, typer.Option("--view", metavar="PA", help="Only studies with this view.")]
FindingOption = Annotated[
    str | None, typer.Option("--finding", metavar="NAME", help="Only studies with this finding present.")
]
AfterOption = Annotated[
    int | None, typer.Option("--after", metavar="DAYS", help="Only later than so many days after the first study.")
]
BeforeOption = Annotated[
    int | None, typer.Option("--before", metavar="DAYS", help="Only earlier than so many days after it.")
]


@partial(_cli.tool, out=_OUT)
def command(
    call: _cli.Invocation,
    index: IndexOption,
    run: RunOption,
    text: TextArgument = None,
    image: ImageOption = None,
    top: TopOption = 10,
    modality: ModalityOption = None,
    view: ViewOption = None,
    finding: FindingOption = None,
    after: AfterOption = None,
    before: BeforeOption = None,
) -> Mapping[str, Any]:
    """Search an archive: shows studies with scores and findings, and writes search.html and search.png."""
    _require_one(text, image)
    from medmm.scoring import archive, contact_sheet, embedding
    from medmm.scoring.study_filter import StudyFilter

    found = archive.Archive(index)
    model = embedding.load(run, call.given.get("device", "auto"))
    found.require_own(model.provenance)
    asked = StudyFilter(modality, view, finding, after, before)
    query = embedding.embed_picture(model, image) if image is not None else embedding.embed_text(model, text or "")
    hits, among = found.search(query.vector, top, asked)
    title = "Studies like a picture" if text is None else f"“{' '.join(text.split())}”"
    number = found.identity["number"]
    notes = _notes(query, among, number, asdict(asked))
    out = call.folder("runs/search")
    contact_sheet.write(out, title, notes, hits, image)
    _show(call.console, title, notes, hits, out)
    return {
        "query": text,
        "unknown_words": list(query.unknown),
        "unknown_share": query.unknown_share,
        "searched": among,
        "studies": number,
        "results": [_record(place, hit) for place, hit in enumerate(hits, 1)],
        "page": out / contact_sheet.PAGE,
        "picture": out / contact_sheet.PICTURE,
    }


def _require_one(text: str | None, image: Path | None) -> None:
    if (text is None) == (image is None):
        got = "neither" if text is None else "both"
        raise UsageError("a search is with words or with a picture", where="search", got=got, fix="Give one of them.")


def _notes(query: Query, among: int, number: int, asked: Mapping[str, Any]) -> list[str]:
    """What was searched, and which words count for little."""
    filters = ", ".join(f"{name} {value}" for name, value in asked.items() if value is not None)
    passed = f"{among} of {number_of(number, 'study', 'studies')} searched" + (f": {filters}" if filters else "")
    if not query.unknown:
        return [passed]
    share = f"{query.unknown_share:.0%} of the words are unknown to the run and count for little"
    return [passed, f"{share}: {', '.join(query.unknown)}"]


def _show(console: Console, title: str, notes: Sequence[str], hits: Sequence[Hit], out: Path) -> None:
    rows = [
        [f"{place}. {hit.tag}", f"{hit.score:.3f}", hit.modality or "", ", ".join(hit.views), hit.finding_words]
        for place, hit in enumerate(hits, 1)
    ]
    console.table(title, ("study", "score", "modality", "view", "findings"), rows)
    for note in notes:
        console.line(f"note: {note}")
    console.line(f"wrote {out / 'search.html'}, which names the studies, and {out / 'search.png'}")


def _record(place: int, hit: Hit) -> dict[str, Any]:
    """A study of the answer as JSON; where its files lie is not said."""
    return {
        "rank": place,
        "study_id": hit.study_id,
        "study": hit.tag,
        "score": round(hit.score, 6),
        "modality": hit.modality,
        "views": list(hit.views),
        "findings": None if hit.findings is None else [dict(one) for one in hit.findings],
        "days": hit.days,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command as a program; never returns."""
    _cli.run(command, "search", arguments)


if __name__ == "__main__":
    main()
