"""Whether a file is whole: what a reader can prove of a download afterwards.

    complete     the file says itself that nothing is missing, and what it says is true
    incomplete   something is missing, or damaged
    unproven     nothing is missing that could be seen, but the format has no end of its own

| Format | Its end |
|---|---|
| csv, ndjson | the end mark (`end_mark=True`), and as many rows as it says |
| sse | the end mark |
| json | the bracket that closes it; with `end_mark=True` the number of rows, too |
| zip, xlsx | the directory at the end, and the checksum of each member |
| parquet | the footer, and as many rows as it says |
| arrow | the end-of-stream marker |
| gz, zst | the trailer; then what is in it |
"""

from unspool.verdict.types import Verdict
from unspool.verdict.verify import verify

__all__ = ["Verdict", "verify"]
