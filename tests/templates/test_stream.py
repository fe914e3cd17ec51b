import io

import pytest
from jinja2 import Environment

from unspool import UsageError
from unspool.templates import TemplateStream

ENV = Environment()


def stream_of(source, **context):
    return TemplateStream(ENV.from_string(source).generate(**context))


def test_the_first_piece_comes_at_once():
    log = []

    def rows():
        for n in range(3):
            log.append(n)
            yield n

    stream = stream_of("<ul>{% for n in rows %}{{ n }}{% endfor %}</ul>", rows=rows())
    assert next(stream) == "<ul>"
    assert "".join(stream) == "012</ul>"


def test_buffering_can_be_switched_on_and_off_on_the_way():
    stream = stream_of("{% for n in range(9) %}{{ n }};{% endfor %}")
    assert not stream.buffered
    stream.enable_buffering(3)
    assert stream.buffered
    assert next(stream) == "0;1"
    stream.disable_buffering()
    assert not stream.buffered
    assert "".join(stream) == ";2;3;4;5;6;7;8;"


def test_buffering_after_a_peek_counts_the_peeked_piece():
    stream = stream_of("{% for n in range(9) %}{{ n }};{% endfor %}")
    stream.peek()
    stream.enable_buffering(2)
    assert next(stream) == "0;"


@pytest.mark.parametrize("size", [1, 0, -1])
def test_buffering_needs_two_pieces(size):
    with pytest.raises(UsageError, match=f"at least 2 pieces; got {size}"):
        stream_of("x").enable_buffering(size)


def test_dump_writes_to_paths_and_files(tmp_path):
    path = tmp_path / "a.txt"
    stream_of("é{{ 1 }}").dump(path)
    assert path.read_bytes() == "é1".encode()
    stream_of("é{{ 1 }}").dump(str(path), "latin-1")
    assert path.read_bytes() == b"\xe91"
    text, data = io.StringIO(), io.BytesIO()
    stream_of("é").dump(text)
    stream_of("é").dump(data, "utf-8")
    assert (text.getvalue(), data.getvalue()) == ("é", "é".encode())


def test_a_failing_peek_closes_and_tells():
    log = []
    pieces = ENV.from_string("{{ 1 // 0 }}").generate()
    stream = TemplateStream(pieces, on_closed=log.append)
    with pytest.raises(ZeroDivisionError):
        stream.peek()
    assert len(log) == 1
    assert list(stream) == []
