"""Reports alone, whether or not their images are there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from medmm import registry
from medmm.config.sources import DataConfig
from medmm.errors import DataError
from medmm.types import Report, Study


def read_reports(reader: str, path: str, config: DataConfig) -> Iterator[tuple[str, Report]]:
    """Yield patient key and report of every study of a source that has one.

    Args:
        reader: Name of a reader. ``openi`` gives reports without their images, others those that they pair.
        path: The source.
        config: Settings of the data; reader and path in it are not looked at.

    Raises:
        UsageError: There is no reader of that name.
        DataError: The source is unusable as a whole.
    """
    if not Path(path).expanduser().exists():
        raise DataError("there is no such file or folder", where="pretrain.texts", got=f"'{path}'")
    source = config.model_copy(update={"reader": reader, "path": Path(path)})
    if reader in registry.TEXTS:
        yield from registry.resolve("texts", reader)(source)
        return
    for item in registry.resolve("reader", reader)(source):
        if isinstance(item, Study) and item.report is not None:
            yield item.patient_key, item.report
