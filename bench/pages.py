"""A page with three slow parts (2, 0.5 and 1 s) over HTTP, for ten clients at a time.

Says when the shell, its footer, each part and the end arrive, how long after it was ready a part
does, and what it costs; beside `flask.stream_template` and `flask.render_template`. All send the
same page in the end. Then what streaming costs a page that is one long loop, beside
`Template.render`, in process.
"""

from __future__ import annotations

import re
import socket
import threading
import time
from contextlib import closing
from statistics import median

import common
import flask
import jinja2
from markupsafe import Markup

import unspool.flask
from unspool.templates import Streaming
from unspool.templates.page import Page
from unspool.templates.pieces import pieces
from unspool.templates.stream import TemplateStream

CLIENTS = 10
PARTS = {"0.5 s": b"B done", "1 s": b"C done", "2 s": b"A done"}
MARKS = {"shell": b"<h1>", "footer": b"<footer>", **PARTS}

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Page</title>
<body><h1>Page</h1>
{%- defer a %}{{ slow(2) }}<p>A done{% placeholder %}<p>…{% enddefer %}
{%- defer b %}{{ slow(0.5) }}<p>B done{% placeholder %}<p>…{% enddefer %}
{%- defer c %}{{ slow(1) }}<p>C done{% placeholder %}<p>…{% enddefer %}
<footer>Footer</footer></body></html>
"""

app = flask.Flask(__name__)
app.jinja_env.add_extension(Streaming)


def slow(seconds: float) -> Markup:
    """Takes its time; what it gives says when it was ready, by the clock of this machine."""
    time.sleep(seconds)
    return Markup(f"<!--{time.perf_counter()}-->")


@app.get("/flask.render_template")
def whole():
    return flask.render_template_string(PAGE, slow=slow)


@app.get("/flask.stream_template")
def by_piece():
    return flask.stream_template_string(PAGE, slow=slow)


@app.get("/unspool")
def with_holes():
    return unspool.flask.stream_template_string(PAGE, slow=slow)


@app.get("/unspool, in order")
def in_order():
    return unspool.flask.stream_template_string(PAGE, "inorder", slow=slow)


def arrivals(port: int, path: str) -> dict[str, float]:
    """Milliseconds to each mark of the page, to its end, and from when a part was ready."""
    target = path.replace(" ", "%20")
    with closing(socket.create_connection(("127.0.0.1", port), timeout=60)) as connection:
        started = time.perf_counter()
        connection.sendall(
            f"GET {target} HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n".encode()
        )
        seen, at = b"", {}
        while got := connection.recv(65536):
            seen += got
            for name, mark in MARKS.items():
                if name not in at and mark in seen:
                    at[name] = (time.perf_counter() - started) * 1000
        at["end"] = (time.perf_counter() - started) * 1000
    for name, mark in PARTS.items():
        # What frames a chunk may stand between.
        if ready := re.search(rb"<!--([\d.]+)-->(\r\n\w+\r\n)?<p>" + mark, seen):
            at[late(name)] = at[name] - (float(ready[1]) - started) * 1000
    if not seen.startswith(b"HTTP/1.1 200") or len(at) != len(MARKS) + 1 + len(PARTS):
        raise SystemExit(f"{path}: {seen!r}")
    return at


def late(part: str) -> str:
    return f"{part} ready"


def clients(port: int, path: str) -> list[dict[str, float]]:
    results: list[dict[str, float]] = []
    threads = [
        threading.Thread(target=lambda: results.append(arrivals(port, path)))
        for _ in range(CLIENTS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def cost_of_a_block(blocks: int = 1000) -> tuple[float, float]:
    """Microseconds of CPU, and bytes, that a block costs beside what is in it."""
    environment = jinja2.Environment(autoescape=True, extensions=[Streaming])
    template = environment.from_string(
        "{% for n in range(blocks) %}{% defer x %}{% enddefer %}{% endfor %}"
    )
    times, sizes = [], []
    for count in (1, blocks + 1) * 5:
        page, began = Page(), time.process_time()
        text = "".join(page.pieces(template.generate(blocks=count)))
        times.append(time.process_time() - began)
        sizes.append(len(text))
    return (min(times[1::2]) - min(times[::2])) / blocks * 1e6, (sizes[1] - sizes[0]) / blocks


def cost_of_streaming(rows: int = 20_000, rounds: int = 9) -> tuple[float, float]:
    """CPU and bytes of a streamed loop of 8 cells a row, as parts of those of `render`."""
    environment = jinja2.Environment(autoescape=True, extensions=[Streaming])
    template = environment.from_string(
        "<table>{% for row in rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}"
        "</tr>{% endfor %}</table>"
    )
    values = {"rows": [tuple(range(n, n + 8)) for n in range(rows)]}
    streamed, rendered, sizes = [], [], []
    for _ in range(rounds):
        began = time.process_time()
        sizes = [len(template.render(values))]
        then = time.process_time()
        sizes.append(sum(map(len, TemplateStream(pieces(template, dict(values))[0]))))
        streamed.append(time.process_time() - then)
        rendered.append(then - began)
    return median(streamed) / median(rendered), sizes[1] / sizes[0]


def main() -> None:
    command = "gunicorn -k gthread --threads 32 --no-control-socket --log-level warning -b {at}"
    head = ["way", "of ten", *MARKS, "end", *map(late, PARTS)]
    lines = []
    for way in ("flask.render_template", "flask.stream_template", "unspool, in order", "unspool"):
        with common.server(command, "pages:app") as server:
            clients(server.port, f"/{way}")
            results = clients(server.port, f"/{way}")
        for name, pick in (("median", median), ("last", max)):
            figures = [pick([result[mark] for result in results]) for mark in head[2:]]
            lines.append([way, name, *[f"{figure:.0f}" for figure in figures]])
    print("Milliseconds from the request, and from when a part was ready:")
    common.print_table(head, lines)
    cpu_us, size = cost_of_a_block()
    print(f"\nA block costs {cpu_us:.0f} µs of CPU and {size:.0f} bytes.")
    cpu, size = cost_of_streaming()
    print(f"A loop of 20,000 x 8: {cpu:.2f} times the CPU of render(), {size:.4f} the bytes.")


if __name__ == "__main__":
    main()
