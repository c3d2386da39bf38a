"""Tables as Parquet, written and read in groups of rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any

from captioner.bulk.arrow import arrow_module
from captioner.bulk.row import ALTERNATIVES, TOKENS

ROWS_OF_A_GROUP = 10_000  # which are in memory together


def check() -> None:
    """Raise `ModuleNotFoundError` if pyarrow is not installed."""
    arrow_module("pyarrow.parquet")


def write(path: Path | IO[bytes], columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> None:
    arrow, parquet = arrow_module("pyarrow"), arrow_module("pyarrow.parquet")
    schema = arrow.schema([(name, _type(arrow, name)) for name in columns])
    remaining = iter(rows)
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        while group := list(islice(remaining, ROWS_OF_A_GROUP)):
            writer.write_table(arrow.Table.from_pylist(group, schema))


def read(path: Path | IO[bytes]) -> Iterator[dict[str, Any]]:
    arrow, parquet = arrow_module("pyarrow"), arrow_module("pyarrow.parquet")
    try:
        with parquet.ParquetFile(path) as table:
            for batch in table.iter_batches(ROWS_OF_A_GROUP):
                yield from batch.to_pylist()
    except arrow.ArrowInvalid as error:
        raise ValueError(str(error)) from error


def _type(arrow: Any, name: str) -> Any:
    """Return the type of a column."""
    text, number = arrow.string(), arrow.float64()
    figures = [("confidence", number), ("log_prob", number)]
    if name == ALTERNATIVES:
        return arrow.list_(arrow.struct([("caption", text), *figures]))
    if name == TOKENS:
        return arrow.list_(arrow.struct([("word", text), ("log_prob", number)]))
    return dict(figures).get(name, text)
