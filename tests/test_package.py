import importlib
import pkgutil
import subprocess
import sys

import pytest

import unspool
from unspool import MissingExtra
from unspool._optional import require

MODULES = [
    module.name
    for module in pkgutil.walk_packages(unspool.__path__, "unspool.")
    if module.name != "unspool._kernel"  # in C; unspool.kernel documents what it has
]


@pytest.mark.parametrize("name", ["unspool", *MODULES])
def test_every_module_exports_what_it_has_sorted(name):
    module = importlib.import_module(name)
    assert list(module.__all__) == sorted(
        module.__all__, key=lambda n: (n.lstrip("_").isupper() is False, n)
    ) or list(module.__all__) == sorted(module.__all__)
    for exported in module.__all__:
        assert hasattr(module, exported)


@pytest.mark.parametrize("name", ["unspool", *MODULES])
def test_every_exported_thing_is_documented(name):
    module = importlib.import_module(name)
    assert module.__doc__
    for exported in module.__all__:
        thing = getattr(module, exported)
        if callable(thing) and getattr(thing, "__module__", "").startswith("unspool"):
            assert thing.__doc__, exported


def test_the_core_imports_no_optional_package():
    code = (
        "import sys, unspool, unspool.drive, unspool.templates;"
        "print([m for m in ('flask', 'werkzeug', 'jinja2', 'asyncio', 'duckdb', 'sqlite3') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_who_shows_no_streams_does_not_load_the_live_view():
    code = (
        "import sys, unspool.flask, unspool.asgi, unspool.wsgi;"
        "print([m for m in ('unspool.live', 'unspool.metrics', 'prometheus_client') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_missing_package_is_named_with_its_install_command():
    with pytest.raises(MissingExtra, match=r"pip install 'unspool\[nothing\]'") as caught:
        require("no_such_package", extra="nothing")
    assert isinstance(caught.value, ImportError)


def test_a_package_that_is_there_is_given_back():
    assert require("json", extra="none").dumps(1) == "1"


def test_an_import_error_inside_an_optional_package_is_passed_on(tmp_path, monkeypatch):
    (tmp_path / "half_there.py").write_text("import no_such_package_either")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_package_either") as caught:
        require("half_there", extra="none")
    assert not isinstance(caught.value, MissingExtra)
