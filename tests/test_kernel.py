"""The row loops in C against those in Python: the same bytes, the same errors, no leak, no crash."""

import datetime
import decimal
import gc
import io
import math
import os
import random
import re
import runpy
import shutil
import struct
import subprocess
import sys
import sysconfig
import threading
import uuid
from pathlib import Path

import kernel_cases as cases
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unspool import Csv, RowError, kernel
from unspool.formats import find
from unspool.formats.html import Html
from unspool.formats.json import Json, Ndjson

LOOPS = [name for name in kernel.__all__ if name.endswith("_rows") and name != "no_rows"]

needs_kernel = pytest.mark.skipif(not kernel.ACTIVE, reason="the kernel is not built")


def test_the_kernel_is_there_where_a_compiler_is():
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    if sys.implementation.name != "cpython" or not shutil.which(compiler):
        pytest.skip("no C compiler")
    assert kernel.ACTIVE, "build it: pip install --no-deps --no-build-isolation -e ."


def test_without_the_extension_all_is_left_to_python(monkeypatch):
    monkeypatch.setitem(sys.modules, "unspool._kernel", None)
    without = runpy.run_path(kernel.__file__)
    assert without["ACTIVE"] is False
    assert {without[name]([(1,)], None, None) for name in LOOPS} == {None}


def in_python(function, *args):
    """Calls it while all row loops are those in Python."""
    with pytest.MonkeyPatch.context() as patch:
        for name in LOOPS:
            patch.setattr(kernel, name, kernel.no_rows)
        return function(*args)


def outcome(format, columns, batches):
    """All that an encoder gave, and the error that ended it."""
    encoder = format.encoder(columns)
    pieces = []
    try:
        pieces.append(encoder.begin())
        pieces += map(encoder.feed, batches)
        pieces.append(encoder.end())
    except Exception as error:
        place = (error.row, error.column) if isinstance(error, RowError) else None
        return pieces, type(error), str(error), place
    return pieces, None


def agree(format, columns, batches):
    expected = in_python(outcome, format, columns, batches)
    assert outcome(format, columns, batches) == expected
    return expected


@needs_kernel
@pytest.mark.parametrize("name", cases.FORMATS)
@given(data=st.data())
def test_kernel_and_python_agree_on_any_value(name, data):
    format = data.draw(cases.FORMATS[name])
    values = st.one_of(cases.usual, cases.usual, cases.usual, cases.odd, cases.nested)
    agree(format, *data.draw(cases.streams(values)))


@needs_kernel
@pytest.mark.parametrize("name", cases.FORMATS)
@given(data=st.data())
def test_kernel_and_python_agree_on_usual_values(name, data):
    format = data.draw(cases.FORMATS[name])
    agree(format, *data.draw(cases.streams(cases.usual)))


# What the kernel does by itself, once the tables of the encoder have the types.
OWN = (
    *("text", 'say "hi", <b>', "née", "日本", "😀", "", None, True, False, 7, -(2**63), 2**70),
    *(0.1, 1e300, -0.0, decimal.Decimal("1.10"), uuid.UUID(int=1)),
    *(datetime.date(2026, 1, 2), datetime.datetime(2026, 1, 2, 3, 4, 5, 6), datetime.time(3, 4)),
    *(datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC), datetime.timedelta(1)),
    *(cases.Colour.RED, cases.Level.LOW, cases.Text("x"), cases.Number(1), cases.Markup("<b>")),
)


@needs_kernel
@pytest.mark.parametrize("kind", cases.USUAL_ROWS)
@pytest.mark.parametrize(
    "format", [Csv(), Csv(quoting="all"), Json(), Ndjson(), Html(), find("xlsx")]
)
def test_the_kernel_leaves_to_python_only_what_it_meets_first(format, kind, monkeypatch):
    left = []
    for name in LOOPS:

        def counted(*args, loop=getattr(kernel, name)):
            data = loop(*args)
            left.append(data is None)
            return data

        monkeypatch.setattr(kernel, name, counted)
    encoder = format.encoder(None)
    for value in OWN:
        encoder.feed([cases.ROWS[kind](cases.NAMES[:2], (1, value))])
    left.clear()
    for value in OWN:
        encoder.feed([cases.ROWS[kind](cases.NAMES[:2], (1, value))])
    assert left == [False] * len(OWN)


def doubles():
    rng = random.Random(4)
    yield from (0.0, -0.0, math.inf, -math.inf, math.nan, 5e-324, sys.float_info.max)
    for exponent in range(-1074, 1024):
        power = 2.0**exponent
        yield from (power, -power, math.nextafter(power, 0), math.nextafter(power, math.inf))
    for exponent in range(-324, 309):
        for digit in range(1, 10):
            value = float(f"{digit}e{exponent}")
            yield from (value, math.nextafter(value, 0), math.nextafter(value, math.inf))
    for n in range(40_000):
        yield struct.unpack("d", rng.getrandbits(64).to_bytes(8, "little"))[0]
        yield float(f"{rng.randrange(10 ** rng.randrange(1, 18))}e{rng.randrange(-330, 310)}")
        yield rng.random() * 10 ** rng.randrange(-8, 20)
        yield round(rng.random() * 100, rng.randrange(6))
        yield n * 5e-324
        yield float(rng.randrange(2**54))


@needs_kernel
def test_doubles_have_the_digits_of_repr():
    values = list(doubles())
    lines = find("csv").encoder(None).feed([(value,) for value in values]).decode().split("\r\n")
    assert lines == [*map(repr, values), ""]


def test_the_table_of_powers_of_ten_is_right():
    """Each row is the upper 128 bits of a power of ten, rounded up."""
    source = Path(__file__).parent.parent / "src/kernel/pow10.h"
    rows = re.findall(r"\{0x(\w{16}), 0x(\w{16})\}, /\* (-?\d+) \*/", source.read_text())
    assert [int(row[2]) for row in rows] == list(range(-292, 325))
    for high, low, exponent in rows:
        numerator, denominator = 10 ** max(0, int(exponent)), 10 ** max(0, -int(exponent))
        shift = 127 - (int(exponent) * 1741647 >> 19)
        scaled = numerator << max(0, shift), denominator << max(0, -shift)
        assert int(high + low, 16) == -(-scaled[0] // scaled[1])
        assert high[0] in "89ABCDEF"


@needs_kernel
@pytest.mark.parametrize("text", ["a", "é", "日", "😀", ",", '"', "<", "_x41_", "\x01", "\ufffe"])
@pytest.mark.parametrize("name", cases.FORMATS)
def test_text_of_every_length_and_place_is_written_alike(name, text):
    """Words of machine size have edges, and so has the buffer."""
    rows = [("." * length + text + "." * rest,) for length in range(40) for rest in (0, 1, 17)]
    rows += [(text * length,) for length in (*range(70), 1000, 5000)]
    agree(find(name), None, [rows])
    agree(find(name), None, [[row] for row in rows])


BAD = [
    ("json", [[{"a": [[]]}]]),
    ("json", [[("a", float("nan"))]]),
    ("json", [[{"a": "\ud800"}]]),
    ("json", [[{"\udfff": 1}]]),
    ("csv", [[(1, "\ud800")]]),
    ("csv", [[(1, 10**5000)]]),
    ("json", [[(1, 10**5000)]]),
    ("html", [[(1, 10**5000)]]),
    ("xlsx", [[(1, 10**5000)]]),
    ("csv", [[(1, b"")]]),
    ("csv", [[(1, 2), (3,)]]),
    ("csv", [["text"]]),
    ("csv", [[(1, cases.Fails())]]),
    ("csv", [[(1, uuid.UUID.__new__(uuid.UUID))]]),
    ("json", [[(1, uuid.UUID.__new__(uuid.UUID))]]),
    ("html", [[("\0",)]]),
    ("html", [[(cases.Fails(),)]]),
    ("xlsx", [[("x" * 40000,)]]),
    ("xlsx", [[("\ud800",)]]),
]


@needs_kernel
@pytest.mark.parametrize(("name", "batches"), BAD, ids=range(len(BAD)))
def test_kernel_and_python_name_the_same_fault(name, batches):
    before = [{"a": "fine"}] if isinstance(batches[0][0], dict) else [("fine", 1)]
    for stream in (batches, [before, *batches], [[*before, *batches[0]]], [[*batches[0], *before]]):
        agree(find(name), None, stream)


def table(rows):
    """Rows whose values nobody else holds."""
    return [
        {
            "n": n + 1000,
            "text": f"text {n}, é",
            "value": n / 7,
            "day": datetime.date.fromordinal(700_000 + n),
            "said": cases.Said(f"said {n}"),
            "nested": str(n),
        }
        for n in range(rows)
    ]


@needs_kernel
@pytest.mark.parametrize("name", cases.FORMATS)
def test_the_kernel_holds_nothing_when_it_is_done(name):
    rows = table(50)
    for row in rows:
        row["nested"] = [1, {"a": row["text"]}] if name == "json" else row["nested"]
    if name == "json":
        for row in rows:
            row["said"] = cases.Colour.RED
    values = [value for row in rows for value in row.values()]
    encoder = find(name).encoder(None)
    bad = [batches for other, batches in BAD if other == name]

    def run():
        encoder.feed(rows)
        encoder.feed([tuple(row.values()) for row in rows] if name != "json" else rows)
        for batches in bad:
            outcome(find(name), None, batches)

    for _ in range(3):
        run()
    counts = [sys.getrefcount(value) for value in values]
    gc.collect()
    blocks, resident = sys.getallocatedblocks(), resident_bytes()
    for _ in range(100):
        run()
    gc.collect()
    assert [sys.getrefcount(value) for value in values] == counts
    assert sys.getallocatedblocks() - blocks < 100
    assert resident_bytes() - resident < 4 << 20


def resident_bytes():
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if statm.exists() else 0


class Meddler:
    """Does something to the rows while they are being written."""

    def __init__(self, meddle):
        self.meddle = meddle

    def __str__(self):
        self.meddle()
        return "meddled"

    __html__ = __str__


def meddled(rows, row):
    """What may become of rows while they are written."""

    def append():
        if len(rows) < 100:  # A loop in Python goes on as long as rows come.
            rows.append(row)

    yield from (row.clear, rows.clear, lambda: row.append("x" * 100), append)


@needs_kernel
@pytest.mark.parametrize("name", ["csv", "html", "xlsx"])
@pytest.mark.parametrize("which", range(4))
def test_rows_that_change_while_they_are_written_crash_nothing(name, which):
    row = [1, None, "x" * 50, 2.5, str(object())]
    rows = [row, ["y" * 50, None, 3, 4.5, str(object())]]
    rows[0][1] = Meddler(lambda: None)
    encoder = find(name).encoder(None)
    encoder.feed(rows)
    row[1] = Meddler(list(meddled(rows, row))[which])
    try:
        encoder.feed(rows)
    except (RowError, IndexError, RuntimeError, ValueError):
        pass
    encoder.feed([[1, 2, 3, 4, 5]])
    assert encoder.end() is not None


@needs_kernel
@pytest.mark.parametrize("meddle", ["clear", "grow", "swap"])
def test_dicts_that_change_while_they_are_written_crash_nothing(meddle):
    row = {f"name {n}": f"text {n}" for n in range(50)}

    class Changes(datetime.date):
        def isoformat(self):
            if meddle == "clear":
                row.clear()
            elif meddle == "grow":
                row.update({f"more {n}": n for n in range(1000)})
            else:
                row.pop("name 40", None)
                row[f"other {len(row)}"] = 1
            return "changed"

    row["name 5"] = Changes(2026, 1, 2)
    encoder = Ndjson().encoder(None)
    try:
        encoder.feed([row, row])
    except RowError:
        pass
    assert encoder.feed([{"a": 1}]) == b'{"a":1}\n'


def test_values_nested_deep_are_written_and_endless_ones_are_an_error():
    for depth in (1, 99, 100, 101, 102, 300):
        value = []
        for _ in range(depth):
            value = [value]
        agree(Ndjson(), None, [[(value,)], [{"a": value}]])
    endless = []
    endless.append(endless)
    agree(Json(), None, [[(endless,)]])


@needs_kernel
def test_what_stops_a_program_is_not_held_up():
    class Stops:
        def __str__(self):
            raise KeyboardInterrupt

    encoder = Csv().encoder(None)
    encoder.feed([(cases.Said("a"),)])
    encoder._loop.converts[Stops] = str
    with pytest.raises(KeyboardInterrupt):
        kernel.csv_rows(
            [(Stops(),)], (None, False, 1, {}), encoder._loop.dialect, encoder._loop.converts
        )


@needs_kernel
@pytest.mark.parametrize("name", LOOPS)
def test_wrong_arguments_are_refused_not_trusted(name):
    loop = getattr(kernel, name)
    shape, dialect = (("a",), False, 1, {}), (",", "\r\n", 0, "", "")
    wrong = [
        (),
        (None,) * 3,
        (None,) * 4,
        (None,) * 7,
        ([(1,)], (("a",), False, 2, {}), dialect, {}),
        ([(1,)], (["a"], False, 1, {}), {}),
        ([(1,)], shape, (",,", "\r\n", 0, "", ""), {}),
        (1, [(1,)], (None, False, 16385, {}), {}),
        ("1", [(1,)], shape, {}),
        ([(1,)], (None, False, 1, {}), {}, str, b"", b"", b""),
    ]
    for args in wrong:
        try:
            assert loop(*args) is None
        except (TypeError, ValueError):
            pass


@needs_kernel
def test_threads_share_the_kernel():
    rows = [tuple(row.values()) for row in table(200)]
    expected = Csv().encoder(None).feed(rows)
    results = []

    def run():
        encoder = Csv().encoder(None)
        results.extend(encoder.feed(rows) for _ in range(20))

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 160


INTERPRETERS = """
import os, sys
try:
    import _interpreters as interpreters
    kinds = ["isolated", "legacy"]
    create = interpreters.create
except ImportError:
    import _xxsubinterpreters as interpreters
    kinds = [True, False]
    create = lambda isolated: interpreters.create(isolated=isolated)
code = f"import sys; sys.path[:] = {sys.path!r}; " + '''
from datetime import datetime; from decimal import Decimal; from unspool import Csv
print(Csv().encoder(None).feed([(1, "a,b", datetime(2026, 1, 2), Decimal("1.5"))]), flush=True)
'''
exec(code)
for kind in kinds:
    interpreter = create(kind)
    failed = interpreters.run_string(interpreter, code)
    assert failed is None, failed
    if sys.version_info >= (3, 13):  # Before, `_decimal` is left broken by an interpreter's end.
        interpreters.destroy(interpreter)
exec(code)
sys.stdout.flush()
os._exit(0)
"""


@needs_kernel
def test_each_interpreter_has_a_kernel_of_its_own():
    code = "import sys; sys.path[:] = " + repr(sys.path) + INTERPRETERS
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    expected = repr(b'1,"a,b",2026-01-02 00:00:00,1.5\r\n') + "\n"
    assert (done.returncode, done.stderr, done.stdout) == (0, "", 4 * expected)


@needs_kernel
def test_a_piece_larger_than_any_guess_is_whole():
    """The first row is short, all others are long, and the other way round."""
    for rows in ([("a",), *[("b" * 100_000,)] * 50], [("b" * 1_000_000,), *[("a",)] * 50]):
        expected = io.StringIO()
        expected.writelines(f"{text}\r\n" for (text,) in rows)
        assert Csv().encoder(None).feed(rows) == expected.getvalue().encode()
