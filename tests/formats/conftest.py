import pytest

from unspool import kernel


def pytest_generate_tests(metafunc):
    """Every test of a format runs with the row loops in C, and with those in Python.

    Foreign readers read back the bytes of the one; test_kernel.py holds the other equal.
    """
    once = "readers" in metafunc.module.__name__ or "read_back" in metafunc.function.__name__
    loops = ["kernel"] if once else ["kernel", "python"]
    metafunc.parametrize("row_loops", loops, indirect=True, scope="module")


@pytest.fixture(autouse=True, scope="module")
def row_loops(request):
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "python":
            for name in kernel.__all__:
                if name.endswith("_rows"):
                    patch.setattr(kernel, name, kernel.no_rows)
        yield request.param
