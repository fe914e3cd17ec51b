"""Lines to copy that read a URL of data elsewhere: curl, pandas, DuckDB, Excel."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Snippet", "snippets"]

# What stands in the lines for a token: a page must not show it.
_TOKEN = "TOKEN"  # noqa: S105


@dataclass(frozen=True)
class Snippet:
    """A line to copy, and what to do with it."""

    name: str
    text: str
    hint: str = ""


def snippets(url_of: Callable[[str], str], filename: str, *, token: bool) -> list[Snippet]:
    """The lines for the data whose URL in a format is `url_of(suffix)`.

    Args:
        url_of: gives the absolute URL for a suffix.
        filename: what curl saves as, without a suffix.
        token: whether the server wants one; a placeholder stands for it.

    >>> print(snippets(lambda suffix: f"http://h/it's.{suffix}", "it's", token=False)[0].text)
    curl -f -o 'it'"'"'s.csv' 'http://h/it'"'"'s.csv'
    """
    csv, parquet = url_of("csv"), url_of("parquet")
    excel = "Data › From Web" + (", any user name, TOKEN as password" if token else "")  # noqa: RUF001
    return [
        Snippet("curl", _curl(csv, filename + ".csv", token=token)),
        Snippet("pandas", _pandas(csv, token=token)),
        Snippet("DuckDB", _duckdb(parquet, token=token), "needs httpfs"),
        Snippet("Excel", csv, excel),
    ]


def _curl(url: str, filename: str, *, token: bool) -> str:
    header = f"-H 'Authorization: Bearer {_TOKEN}' " if token else ""
    return f"curl -f {header}-o {shlex.quote(filename)} {shlex.quote(url)}"


def _pandas(url: str, *, token: bool) -> str:
    options = f', storage_options={{"Authorization": "Bearer {_TOKEN}"}}' if token else ""
    return f"pd.read_csv({json.dumps(url)}{options})"


def _duckdb(url: str, *, token: bool) -> str:
    name = url.replace("'", "''")
    secret = f"CREATE SECRET (TYPE http, BEARER_TOKEN '{_TOKEN}'); " if token else ""
    # The answers are streams, of which no parts can be asked for.
    return f"{secret}SET force_download = true; SELECT * FROM read_parquet('{name}');"  # noqa: S608
