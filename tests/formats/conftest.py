import pytest

from unspool import kernel


@pytest.fixture(scope="module", params=["kernel", "python"], autouse=True)
def row_loops(request):
    """Every test of a format runs with the row loops in C, and with those in Python."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "python":
            for loop in ("csv_rows", "json_rows"):
                patch.setattr(kernel, loop, kernel.no_rows)
        yield request.param
