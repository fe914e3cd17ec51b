"""Asks for many downloads at once, and says of each how it ended: `python downloads.py PORT COUNT`.

Reads paths from stdin, one a line, and asks for each of them `COUNT` times, all at the same
time. Writes one line of JSON: for each path the SHA-256 of the contents, and how long small
requests took meanwhile, in seconds.
"""

import asyncio
import hashlib
import json
import sys
from io import BytesIO
from zipfile import BadZipFile, ZipFile


async def get(port, path, body):
    """Reads the answer to a request; `body` gets its content."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
    writer.write(request.encode())
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    if b"transfer-encoding: chunked" in head.lower():
        while size := int(await reader.readline(), 16):
            body((await reader.readexactly(size + 2))[:-2])
        assert await reader.readexactly(2) == b"\r\n"
    else:
        body(await reader.read())
    writer.close()


async def digest(port, path):
    seen = BytesIO()
    try:
        await get(port, path, seen.write)
        return hashlib.sha256(content(path, seen)).hexdigest()
    except (OSError, EOFError, ValueError, AssertionError, BadZipFile) as error:
        return repr(error)


def content(path, body):
    """The bytes that are the same each time: isal may deflate the same sheet to others."""
    if ".xlsx?" not in path:
        return body.getbuffer()
    with ZipFile(body) as book:
        return b"".join(name.encode() + book.read(name) for name in book.namelist())


async def main(port, count, paths):
    digests = await asyncio.gather(*[digest(port, path) for path in paths * count])
    print(json.dumps({path: digests[at :: len(paths)] for at, path in enumerate(paths)}))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), sys.stdin.read().split()))
