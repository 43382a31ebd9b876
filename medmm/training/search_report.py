"""What a search leaves: ``best.yaml`` to train with, ``trials.csv``, ``search.png``, and ``tune.md`` for people."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import yaml

from medmm.config.schema import Config
from medmm.config.space import accepts, shown, takes_whole_numbers, with_values
from medmm.config.tune import Range, Scalar
from medmm.io.atomic import replacing, write_text
from medmm.training.search import Outcome, Search

_BETTER = {"minimize": "lower", "maximize": "higher"}
_SHOWN = 10  # trials of the table
_END = 0.05  # share of a range that counts as its end


def write_table(search: Search, out: Path) -> None:
    """Write ``trials.csv``, a row a trial.

    Raises:
        ResourceError: The disk is full.
    """
    keys = list(search.config.tune.space)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", "repeats", "stopped", search.config.tune.objective, "validations", "minutes", *keys])
    for one in search.outcomes():
        figure = "" if one.figure is None else repr(one.figure)
        row = [one.number, one.repeats or "", one.why or "", figure, len(one.judged), f"{one.minutes:.2f}"]
        writer.writerow([*row, *("null" if one.values[key] is None else shown(one.values[key]) for key in keys)])
    write_text(out / "trials.csv", text.getvalue())


def write_best(search: Search, out: Path) -> Config:
    """Write ``best.yaml``, the whole config with the values of the best trial, and give it.

    Raises:
        ResourceError: The disk is full.
    """
    best, config = search.ranking()[0], search.config
    found = with_values(config, best.values)
    head = (
        f"# Trial {best.number}, the best of {len(search.outcomes())}: {config.tune.objective} {best.figure:.6g}.\n"
        f"# Searched: {', '.join(config.tune.space)}. Steps and train.budget_minutes are those of a trial.\n"
        f"# medmm finetune --task {config.task} --config best.yaml\n"
    )
    tree = found.model_dump(mode="json", exclude={"tune"})
    write_text(out / "best.yaml", head + yaml.safe_dump(tree, sort_keys=False, allow_unicode=True))
    return found


def draw(search: Search, path: Path) -> None:
    """Draw the figures of the trials in their order, and how much each setting matters.

    Args:
        search: A search with at least one figure.
        path: PNG to write.

    Raises:
        ResourceError: The disk is full.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    history, importance = figure.subplots(1, 2)
    finished = sorted(search.ranking(), key=lambda one: one.number)
    better = min if search.config.tune.direction == "minimize" else max
    numbers, figures = [one.number for one in finished], [one.figure for one in finished if one.figure is not None]
    history.plot(numbers, figures, "o", ms=4, label="trial")
    best = [better(figures[: k + 1]) for k in range(len(figures))]
    history.step([*numbers, len(search.outcomes())], [*best, best[-1]], where="post", lw=1.2, label="best")
    for one in search.outcomes():
        if one.figure is None:
            history.axvline(one.number, color="0.8", lw=0.8, ls="--")
    history.set(title="trials; dashed ones were stopped", xlabel="trial", ylabel=search.config.tune.objective)
    history.legend(fontsize=7)
    shares = search.importance()
    importance.barh(list(shares)[::-1], list(shares.values())[::-1])
    importance.set(title="share of the variance" if shares else "too few trials to say what matters", xlim=(0, 1))
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png", metadata={"Software": None})


def write_page(search: Search, out: Path) -> None:
    """Write ``tune.md``: what was found, what it rests on, and what to do next.

    Raises:
        ResourceError: The disk is full.
    """
    config, ranking = search.config, search.ranking()
    best, made = ranking[0], search.outcomes()
    stopped = Counter(one.why for one in made if one.why)
    repeated = sum(one.repeats is not None for one in made)
    lines = [
        f"# Search for settings of {config.task}", "",
        f"{len(made)} trials in {sum(one.minutes for one in made):.1f} min, seed {config.seed}; {len(ranking)} finished"
        + "".join(f", {number} stopped ({why})" for why, number in stopped.items())
        + (f"; {repeated} repeated earlier ones and were not trained" if repeated else "") + ".",
        f"Judged by `{config.tune.objective}`; {_BETTER[config.tune.direction]} is better.",
        "", f"**Best: trial {best.number} with {best.figure:.5g}.** {_against_own(best, made)}", "",
        *(f"- `{key}`: {in_short(value)}" for key, value in best.values.items()), "",
        *(f"- {note}" for note in notes(search)), "",
        "![trials and importance](search.png)", "", *_best_trials(config, ranking), *_importance(search),
        "## Next", "", "```console", f"medmm finetune --task {config.task} --config best.yaml",
        f"medmm evaluate --run trials/{best.number:03d}", "```", "",
    ]  # fmt: skip
    write_text(out / "tune.md", "\n".join(lines))


def notes(search: Search) -> list[str]:
    """What a reader must know before trusting the best trial, a sentence each."""
    config, ranking, space = search.config, search.ranking(), search.config.tune.space
    said = ["The figure is the best of many on the same validation studies, so it flatters; test studies took no part."]
    edges = [key for key, value in ranking[0].values.items() if _is_at_end(config, key, value)]
    if edges:
        said.append(f"At the end of its range: {', '.join(edges)}. Better values may lie beyond it.")
    if len(ranking) < 2 * len(space):
        said.append(f"Few finished trials ({len(ranking)}) for {len(space)} settings.")
    return said


def _against_own(best: Outcome, made: Sequence[Outcome]) -> str:
    """The best trial beside the config's own values, where these were tried."""
    own = next((one for one in made if one.own), None)
    if own is None:
        return "The config's own values lie outside of the space and were not tried."
    if own.figure is None:
        return f"The config's own values (trial {own.number}) were stopped: {own.why}."
    same = " which are the best" if own.number == best.number else ""
    return f"The config's own values (trial {own.number}) have {own.figure:.5g}{',' if same else ''}{same}."


def _best_trials(config: Config, ranking: Sequence[Outcome]) -> Iterator[str]:
    keys = list(config.tune.space)
    yield from ("## The best trials", "")
    yield f"| trial | {config.tune.objective} | {' | '.join(keys)} |"
    yield f"|{'---|' * (len(keys) + 2)}"
    for one in ranking[:_SHOWN]:
        yield f"| {one.number} | {one.figure:.5g} | {' | '.join(in_short(one.values[key]) for key in keys)} |"
    yield ""


def _importance(search: Search) -> Iterator[str]:
    shares: Mapping[str, float] = search.importance()
    if shares:
        yield from (
            "## What matters",
            "",
            "Share of the figure's variance among the finished trials (fANOVA); a hint.",
            "",
        )
        yield from (
            "| setting | share |",
            "|---|---|",
            *(f"| {key} | {share:.2f} |" for key, share in shares.items()),
            "",
        )


def in_short(value: Scalar) -> str:
    """A value in a few characters."""
    return "null" if value is None else f"{value:.4g}" if isinstance(value, float) else str(shown(value))


def _is_at_end(config: Config, key: str, value: Scalar) -> bool:
    """Whether a number lies at an end of its range, where the schema has something beyond."""
    choice = config.tune.space[key]
    if not isinstance(choice, Range) or isinstance(value, bool) or not isinstance(value, int | float):
        return False
    low, high = choice.low, choice.high
    near = (high / low) ** _END if choice.log else _END * (high - low)
    below, above = (low * near, high / near) if choice.log else (low + near, high - near)
    further = 1 if takes_whole_numbers(key) else (high - low) / 1000
    if choice.log and not takes_whole_numbers(key):
        further = low / 1000
    return (value <= below and accepts(config, key, low - further)) or (
        value >= above and accepts(config, key, high + further)
    )
