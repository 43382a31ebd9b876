"""Rows of a CSV, TSV or Parquet file, streamed: whatever the delimiter, the encoding or the compression."""

from __future__ import annotations

import codecs
import csv
import difflib
import gzip
import io
import re
import zlib
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

from medmm.data.readers._common import cell, word
from medmm.errors import DataError

Row = dict[str, str]
TEXT_KINDS = (".csv", ".tsv", ".txt")
PARQUET_KINDS = (".parquet", ".pq")
_DELIMITERS = ",;\t|"
_BATCH_ROWS = 2048
_BLOCK_BYTES = 1 << 20
_LONGEST_NAME = 40  # characters of a column's name
_IN_A_CELL = re.compile(  # a DICOM name, a long number (a year behind _ is none), a sentence's end, a file
    r"\^|(?<!_)\d{4}|_(?!19|20)\d{4}|\d{5}|[.:;] |\.$|\.(png|jpe?g|dcm|dicom|nii|gz|tiff?|bmp|txt|xml)$", re.IGNORECASE
)
_WHERE = "data.where."  # of whose keys the column is a part
_LONGEST_FIELD = 8 << 20  # characters; a longer one is a quote that never closes


@dataclass(frozen=True, slots=True)
class Table:
    """A table that has been looked at but not yet read.

    A column may be asked for in other capitals than its own, and without the blanks around its name.

    Attributes:
        path: The file.
        columns: Names as the header gives them, in a text file without surrounding blanks.
        key: The config key that named the file, for errors.
    """

    path: Path
    columns: tuple[str, ...]
    key: str
    _asked: dict[str, str] = field(default_factory=dict, init=False, repr=False, compare=False)

    def require(self, wanted: Mapping[str, str], optional: Iterable[str] = ()) -> None:
        """Find columns, so that rows hold their cells under the names that were asked for.

        Args:
            wanted: Config key to the column that must be there.
            optional: Columns that need not be there.

        Raises:
            DataError: A column is missing or a name fits several; all such are named, with the columns that exist.
        """
        names = {name: name for name in optional} | dict(wanted)
        found = {key: self.alike(name) for key, name in names.items()}
        self._refuse_several(names, found)
        self._refuse_missing({key: name for key, name in wanted.items() if not found[key]})
        self._asked.update({names[key]: columns[0] for key, columns in found.items() if columns})

    def alike(self, name: str) -> list[str]:
        """Columns that a name may stand for: those called just so, else those with other capitals or blanks around."""
        exact = [column for column in self.columns if column == name]
        return exact or [column for column in self.columns if _plain(column) == _plain(name)]

    def column(self, name: str) -> str:
        """What the header calls a column that was asked for."""
        return self._asked.get(name, name)

    def _refuse_several(self, wanted: Mapping[str, str], found: Mapping[str, list[str]]) -> None:
        several = [f"{key}={wanted[key]} ({', '.join(names)})" for key, names in found.items() if len(names) > 1]
        if several:
            fix = "Write the name just as it stands in the header, or give the columns names of their own."
            raise DataError("the name fits more than one column", where=self.key, got="; ".join(several), fix=fix)

    def _refuse_missing(self, missing: Mapping[str, str]) -> None:
        if not missing:
            return
        asked = ", ".join(_setting(key, name) for key, name in missing.items())
        expected = self.listed(f", none of them {asked}")
        found = {key: self._likely(key, name) for key, name in missing.items()}
        hints = [_setting(key.removesuffix(missing[key]) + near if key.startswith(_WHERE) else key, near)
                 for key, near in found.items() if near]  # fmt: skip
        what = "the table has no such column" if len(missing) == 1 else "the table has no such columns"
        fix = f"Did you mean {', '.join(hints)}?" if hints else None
        raise DataError(what, where=self.key, got=asked, expected=expected, fix=fix)

    def _likely(self, key: str, name: str) -> str | None:
        """The column called like the setting, ``image`` for ``data.columns.image``, else that of the nearest name."""
        called = [] if key.startswith(_WHERE) else self.alike(key.rpartition(".")[2])
        near = called or difflib.get_close_matches(name, self.columns, n=1)
        return near[0] if near else None

    def listed(self, lacking: str = "") -> str:
        """The columns' names, for an error.

        Args:
            lacking: What the table lacks, to be said where the names cannot be.

        Raises:
            DataError: The first line looks like a row; its cells are not shown, as they may be a patient's.
        """
        names = [name for name in self.columns if name]
        if not names or len(set(names)) < len(names) or not all(map(_names_a_column, names)):
            what, expected = "the table's first line does not look like columns' names", "a header line"
            raise DataError(what, where=self.key, got=f"{len(self.columns)} fields{lacking}", expected=expected)
        return "one of the columns " + ", ".join(names)

    def rows(
        self, columns: Sequence[str] | None = None, literal: Iterable[str] = ()
    ) -> Iterator[tuple[int, Row | None]]:
        """Yield each row's number, from 1, and its cells: column to text as :func:`_common.cell` gives it.

        A row with more fields than there are columns is None.

        Args:
            columns: The columns that are needed; a Parquet file gives no others. None: all.
            literal: Columns in which ``none`` and ``n/a`` are values as any other.

        Raises:
            DataError: The file breaks off inside a quote, or is no valid Parquet.
        """
        as_they_stand = {self.column(name) for name in literal}
        if self.path.suffix.lower() in PARQUET_KINDS:
            needed = None if columns is None else list(dict.fromkeys(map(self.column, columns)))
            found = _parquet_rows(self, needed, as_they_stand)
        else:
            found = _text_rows(self, as_they_stand)
        other = {asked: column for asked, column in self._asked.items() if asked != column}
        return _also_called(found, other) if other else found


def open_table(path: Path, key: str) -> Table:
    """Look at a table's header.

    Args:
        path: ``.csv``, ``.tsv`` or ``.txt``, also with ``.gz`` behind it, or ``.parquet``.
        key: The config key that names the file.

    Raises:
        DataError: There is no such file, it is of another kind, or it is empty or unreadable.
    """
    if not path.is_file():
        what = "is a folder, not a table" if path.is_dir() else "there is no such file"
        raise DataError(what, where=key, got=f"'{path}'", expected="a .csv, .tsv or .parquet file")
    if path.suffix.lower() in PARQUET_KINDS:
        return Table(path, _parquet_columns(path, key), key)
    if _kind(path) not in TEXT_KINDS:
        raise DataError("not a table", where=key, got=f"'{path.suffix}'", expected=".csv, .tsv, .csv.gz or .parquet")
    try:
        first = next(_records(path, key), None)
    except (OSError, EOFError, zlib.error) as error:  # the latter two: a compressed table that breaks off or is damaged
        got = getattr(error, "strerror", None) or type(error).__name__
        raise DataError("the table cannot be read", where=key, got=got) from error
    if first is None:
        raise DataError("the table is empty", where=key, expected="a line with the columns' names")
    return Table(path, tuple(name.strip() for name in first), key)


def _setting(key: str, column: str) -> str:
    """A column as it is asked for: as the value of a setting, in the setting's own name, or by the layout itself."""
    return key if key.startswith(_WHERE) or key == column else f"{key}={column}"


def _plain(name: str) -> str:
    return name.strip().casefold()


def _names_a_column(text: str) -> bool:
    """Whether a field of the first line can be a column's name, and not a file, a number, a date or a report."""
    letters = sum(character.isalpha() or character == "_" for character in text)
    is_cell = _IN_A_CELL.search(text) is not None
    is_short = len(text) <= _LONGEST_NAME and text.isprintable()
    return is_short and not is_cell and letters >= len(text) / 2


def _kind(path: Path) -> str:
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() if suffix == ".gz" else suffix


def _also_called(rows: Iterator[tuple[int, Row | None]], other: Mapping[str, str]) -> Iterator[tuple[int, Row | None]]:
    """Give cells the names that they were asked for by, beside their own."""
    for number, row in rows:
        if row is not None:
            row.update({asked: row[column] for asked, column in other.items() if column in row})
        yield number, row


def _text_rows(table: Table, literal: Container[str]) -> Iterator[tuple[int, Row | None]]:
    records = _records(table.path, table.key)
    next(records, None)
    width = len(table.columns)
    as_they_stand = [at for at, name in enumerate(table.columns) if name in literal]
    for number, fields in enumerate(records, start=1):
        texts = [cell(field) for field in fields]
        if any(texts[width:]):
            yield number, None
        else:
            texts.extend([""] * (width - len(texts)))
            for at in as_they_stand:
                texts[at] = word(fields[at]) if at < len(fields) else ""
            yield number, dict(zip(table.columns, texts, strict=False))


def _records(path: Path, key: str) -> Iterator[list[str]]:
    """Yield the fields of each line that is not blank, the header's first."""
    encoding = _encoding(path)
    csv.field_size_limit(_LONGEST_FIELD)
    with io.TextIOWrapper(_opened(path), encoding=encoding, errors="replace", newline="") as text:
        source = _Lines(text)
        reader = csv.reader(source, delimiter=_delimiter(path, encoding))
        try:
            for number, fields in enumerate(reader):
                if source.ended:
                    raise DataError("a quote is never closed", where=key, got=f"row {number}", expected='a closing "')
                if fields:
                    yield fields
        except csv.Error as error:
            what, fix = f"the table cannot be parsed at line {reader.line_num}", "Look for a quote that never closes."
            raise DataError(what, where=key, got=str(error), fix=fix) from error


class _Lines:
    """Lines of a text; ``ended`` tells a quote that runs into the end of the file from a last row."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text, self.ended = text, False

    def __iter__(self) -> Iterator[str]:
        yield from self._text
        self.ended = True


def _opened(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path, "rb")) if path.suffix.lower() == ".gz" else path.open("rb")


def _encoding(path: Path) -> str:
    """UTF-16 by its byte order mark, UTF-8 where the whole file is valid in it, else Windows' Western European."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with closing(_opened(path)) as raw:
        block = raw.read(_BLOCK_BYTES)
        if block.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return "utf-16"
        try:
            while block:
                decoder.decode(block)
                block = raw.read(_BLOCK_BYTES)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return "cp1252"
    return "utf-8-sig"


def _delimiter(path: Path, encoding: str) -> str:
    """The delimiter that occurs most often in the header, outside of quotes."""
    if _kind(path) == ".tsv":
        return "\t"
    with io.TextIOWrapper(_opened(path), encoding=encoding, errors="replace", newline="") as text:
        header = next(iter(text), "")
    outside = "".join(header.split('"')[::2])
    return max(_DELIMITERS, key=outside.count)


def _parquet_columns(path: Path, key: str) -> tuple[str, ...]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return tuple(pq.read_schema(path).names)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError("the file is no valid Parquet", where=key, got=type(error).__name__) from error


def _parquet_rows(table: Table, columns: list[str] | None, literal: Container[str]) -> Iterator[tuple[int, Row | None]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(table.path) as file:
            for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=columns):
                for values in batch.to_pylist():
                    number += 1
                    yield number, {name: (word if name in literal else cell)(value) for name, value in values.items()}
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError("the table breaks off", where=table.key, got=f"row {number + 1}") from error
