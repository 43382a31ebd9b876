"""How a stage speaks: a rich bar on a terminal, plain lines elsewhere, nothing but errors when quiet."""

from __future__ import annotations

import logging
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

_LINE_EVERY_S = 10.0  # plain progress lines stay rare enough for a log


def number_of(number: int, what: str, several: str | None = None) -> str:
    """A number of things in words: ``1 study``, ``2 studies``; most plurals are made by an s."""
    return f"{number} {what if number == 1 else several or what + 's'}"


class Console:
    """Words for people on standard output, or on standard error where standard output is for JSON.

    Args:
        json: Standard output is kept for one JSON object.
        quiet: Say errors only.
        verbose: Say details too.
    """

    def __init__(self, *, json: bool = False, quiet: bool = False, verbose: bool = False) -> None:
        self.verbose = verbose
        self.json = json
        self._quiet = quiet

    @property
    def _stream(self) -> TextIO:
        return sys.stderr if self.json else sys.stdout

    def line(self, text: str) -> None:
        """Say one line."""
        if not self._quiet:
            self._stream.write(text + "\n")
            self._stream.flush()

    def detail(self, text: str) -> None:
        """Say one line when verbose."""
        if self.verbose:
            self.line(text)

    def error(self, text: str) -> None:
        """Say an error, whatever the mode."""
        sys.stderr.write(f"error: {text}\n")
        sys.stderr.flush()

    @contextmanager
    def notes(self) -> Iterator[None]:
        """Say what medmm's own modules warn of while the block runs, each as one line."""
        handler = _Notes(self)
        logging.getLogger("medmm").addHandler(handler)
        try:
            yield
        finally:
            logging.getLogger("medmm").removeHandler(handler)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Show rows of text under a title: the first column to the left, the others to the right."""
        if self._quiet:
            return
        from rich.console import Console as RichConsole
        from rich.table import Table

        table = Table(title=title, title_justify="left")
        for number, column in enumerate(columns):
            table.add_column(column, justify="right" if number else "left")
        for row in rows:
            table.add_row(*row)
        width = None if self._stream.isatty() else 110
        RichConsole(file=self._stream, width=width).print(table)

    @contextmanager
    def progress(self, description: str) -> Iterator[Progress]:
        """Show how far a long piece of work has come."""
        bar = _Bar(description) if self._stream.isatty() and not self._quiet else _Lines(description, self)
        with bar:
            yield bar


class _Notes(logging.Handler):
    def __init__(self, console: Console) -> None:
        super().__init__(logging.WARNING)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        self._console.line(f"note: {record.getMessage()}")


class Progress(ABC):
    """Takes ``progress(done, total, note)``; a total of None means that nobody knows yet."""

    @abstractmethod
    def __call__(self, done: int, total: int | None = None, note: str = "") -> None:
        """Say that ``done`` of ``total`` is done."""

    @abstractmethod
    def __enter__(self) -> Progress:
        """Begin to show."""

    @abstractmethod
    def __exit__(self, *exception: object) -> None:
        """End what was begun."""


class _Lines(Progress):
    def __init__(self, description: str, console: Console) -> None:
        self._description, self._console = description, console
        self._start = self._last = time.monotonic()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception: object) -> None:
        self._console.detail(f"{self._description}: {time.monotonic() - self._start:.1f} s")

    def __call__(self, done: int, total: int | None = None, note: str = "") -> None:
        now = time.monotonic()
        if now - self._last < _LINE_EVERY_S and done != total:
            return
        self._last = now
        of = f" of {total}" if total else ""
        self._console.line(
            f"{self._description}: {done}{of} after {now - self._start:.0f} s{'; ' + note if note else ''}"
        )


class _Bar(Progress):
    def __init__(self, description: str) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        columns: tuple[Any, ...] = (
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[note]}"),
        )  # fmt: skip
        self._rich = RichProgress(*columns)
        self._task = self._rich.add_task(description, total=None, note="")

    def __enter__(self) -> Progress:
        self._rich.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._rich.stop()

    def __call__(self, done: int, total: int | None = None, note: str = "") -> None:
        self._rich.update(self._task, completed=done, total=total, note=note)
