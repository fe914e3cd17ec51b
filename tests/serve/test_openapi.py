"""What the description says is true: schemathesis asks for all of it, and finds no failure of ours."""

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from serve.running import serving

from unspool.serve import create_app

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
FIXED = settings(
    max_examples=30,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def in_process(places):
    made = create_app([f"{name}={place}" for name, place in places.items()])
    return schemathesis.openapi.from_wsgi("/-/openapi.json", made)


by_wsgi = schemathesis.pytest.from_fixture("in_process")


@by_wsgi.parametrize()
@FIXED
def test_no_request_in_process_fails(case):
    case.call_and_validate(checks=CHECKS)


@pytest.fixture(scope="module")
def over_http(places, tmp_path_factory):
    sources = [f"{name}={places[name]}" for name in ("duckdb", "sqlite")]
    with serving(*sources, cwd=tmp_path_factory.mktemp("cwd")) as (port, _, _):
        yield schemathesis.openapi.from_url(f"http://127.0.0.1:{port}/-/openapi.json")


by_http = schemathesis.pytest.from_fixture("over_http")


@pytest.mark.live
@by_http.parametrize()
@settings(FIXED, max_examples=10)
def test_no_request_over_http_fails(case):
    case.call_and_validate(checks=CHECKS)
