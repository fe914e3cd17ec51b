"""What the command line calls a source, opened."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from unspool.errors import UsageError, shown
from unspool.serve.engines.base import Engine
from unspool.serve.engines.duckdb import DuckDb, Files, reader_of_file
from unspool.serve.engines.mysql import MySql
from unspool.serve.engines.postgres import Postgres
from unspool.serve.engines.sqlite import Sqlite

__all__ = ["Catalog"]

_NAMED = re.compile(r"([\w.-]+)=(.+)", re.DOTALL)

_SERVERS: dict[str, Callable[[str, str], Engine]] = {
    "postgresql": Postgres,
    "postgres": Postgres,
    "mysql": MySql,
    "mariadb": MySql,
}

# How files of a database begin: (offset, bytes).
_SQLITE = (0, b"SQLite format 3\0")
_DUCKDB = (8, b"DUCK")
_HEAD_BYTES = 16


class Catalog:
    """The sources by name.

    Args:
        sources: paths of files and folders, and URLs; each as it is or as `NAME=SOURCE`.

    Raises:
        UsageError: one that is not there, or cannot be read; two of one name; none at all.
    """

    def __init__(self, sources: Sequence[str]) -> None:
        if not sources:
            raise UsageError("there is nothing to serve. Name a file, a folder or a URL.")
        self.sources: dict[str, Engine] = {}
        try:
            for source in sources:
                self._add(source)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Closes them all."""
        for source in self.sources.values():
            source.close()

    def _add(self, source: str) -> None:
        name, place = _parted(source)
        name = name or _name_of(place)
        if name in self.sources:
            raise UsageError(
                f"two sources are called {name!r}. Name one of them: OTHER={place_shown(place)}."
            )
        if name in {"", "-", ".", ".."} or re.search(r"[/\\\x00-\x1f\x7f]", name):
            raise UsageError(
                f"a source cannot be called {name!r}, which is no part of a URL. Name it: "
                f"OTHER={place_shown(place)}."
            )
        self.sources[name] = _opened(name, place)


def _parted(source: str) -> tuple[str, str]:
    """Name and place; a file whose name has `=` in it is one all the same."""
    found = _NAMED.fullmatch(source)
    if found is None or Path(source).exists():
        return "", source
    return found[1], found[2]


def _scheme(place: str) -> str:
    scheme, there, _ = place.partition("://")
    return scheme.lower() if there else ""


def place_shown(place: str) -> str:
    """A place for a message: without its password."""
    if not _scheme(place):
        return place
    parts = urlsplit(place)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _name_of(place: str) -> str:
    if _scheme(place):
        return urlsplit(place).path.strip("/")
    path = Path(place)
    if path.is_dir():
        return path.resolve().name
    known = reader_of_file(path)
    return known[1] if known else path.stem


def _opened(name: str, place: str) -> Engine:
    scheme = _scheme(place)
    if scheme:
        if scheme not in _SERVERS:
            raise UsageError(
                f"{place_shown(place)} is none of {', '.join(f'{each}://' for each in _SERVERS)}."
            )
        return _SERVERS[scheme](name, place)
    path = Path(place)
    try:
        return _opened_path(name, path)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}.") from error


def _opened_path(name: str, path: Path) -> Engine:
    if path.is_dir():
        return Files(name, _files_of(path))
    if not path.exists():
        raise UsageError(f"{path} does not exist.")
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if _begins(head, _SQLITE):
        return Sqlite(name, path)
    if _begins(head, _DUCKDB):
        return DuckDb(name, path)
    known = reader_of_file(path)
    if known is None:
        raise UsageError(
            f"{path} is neither a database of DuckDB or SQLite nor a file such as .parquet, .csv, "
            ".tsv or .ndjson."
        )
    return Files(name, {known[1]: path})


def _begins(head: bytes, mark: tuple[int, bytes]) -> bool:
    offset, data = mark
    return head[offset : offset + len(data)] == data


def _files_of(folder: Path) -> dict[str, Path]:
    """The files of a folder that can be read, by the names of their tables."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        known = reader_of_file(path)
        if known is None or not path.is_file() or path.name.startswith("."):
            continue
        if known[1] in found:
            raise UsageError(
                f"{folder} has two files for the table {shown(known[1])}: {found[known[1]].name} "
                f"and {path.name}. Rename one of them."
            )
        found[known[1]] = path
    if not found:
        raise UsageError(f"{folder} has no files such as .parquet, .csv, .tsv or .ndjson.")
    return found
