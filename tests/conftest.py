from importlib.util import find_spec

import pytest
from hypothesis import settings

pytest.register_assert_rewrite("asgi_cases", "template_cases")

# A busy machine is no bug: tests here never assert how long an example takes.
settings.register_profile("unspool", deadline=None)
settings.register_profile("fuzz", deadline=None, max_examples=10_000)
settings.load_profile("unspool")

# Apps and scripts that other processes run: importing them here would start what they are for.
collect_ignore_glob = [
    "django_project.py",
    "sanitized.py",
    "live/aborted.py",
    "live/app.py",
    "live/bad.py",
    "live/bridged.py",
    "live/conformance.py",
    "live/contract*.py",
    "live/queries*.py",
    "live/run_*.py",
    "live/stopping.py",
    "live/table.py",
    "live/watched.py",
    "peers/*.py",
    # On the other Pythons only what the core needs is installed.
    *([] if find_spec("pyarrow") else ["test_columns.py", "test_overlap.py"]),
]


@pytest.fixture(autouse=True)
def patient_close(monkeypatch):
    """On a busy machine half a second may not be enough for a source to be closed."""
    monkeypatch.setattr("unspool.sources.rows.CLOSE_WAIT_S", 5)
    monkeypatch.setattr("unspool.sources.pooled._CLOSE_WAIT_S", 5)


def pytest_make_parametrize_id(val):
    """Long bytes by their length: some hold the time, and are others in each process."""
    return f"{len(val)}bytes" if isinstance(val, bytes) and len(val) > 20 else None
