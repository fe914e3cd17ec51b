"""Every server stack, with every case: see conformance.py."""

import re

import pytest
from live.conformance import (
    ALL_CASES,
    CLIENTS,
    HELD,
    KNOWN,
    LATE,
    LEFT_OUT,
    PAGES,
    TARGETS,
    WARNED,
    as_known,
    examining,
    spoken,
)
from live.servers import serve

from unspool.testing import check_app

FAILURES = [*LATE["1.1"], *LATE["1.0"], *CLIENTS, *PAGES]


@pytest.fixture(scope="module")
def examined(request):
    """What came of each target, or will: those that tests have been selected for run already."""
    calls = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    with examining(dict.fromkeys(call["target"] for call in calls if "target" in call)) as futures:
        yield futures


@pytest.mark.parametrize(
    ("target", "case"),
    [(target, case) for target in TARGETS for case in ALL_CASES if (target, case) not in LEFT_OUT],
)
def test_a_case_passes_or_is_known_not_to(examined, target, case):
    results, _ = examined[target].result()
    assert as_known(target, results[case]), (KNOWN.get((target, case)), results[case].detail)


@pytest.mark.parametrize("target", WARNED)
def test_a_server_that_spoils_streams_is_warned_of_in_its_log(examined, target):
    _, log = examined[target].result()
    assert WARNED[target] in spoken(log)


@pytest.mark.parametrize("target", TARGETS)
def test_each_late_failure_stands_in_the_log_of_the_server(examined, target):
    _, log = examined[target].result()
    # Werkzeug loses those of HTTP/1.0: it still tries to send an error page then.
    failures = [case for case in FAILURES if not (target == "werkzeug" and "1.0" in case)]
    assert len(re.findall(r"LookupError(: |\(')boom", log)) >= len(failures)


@pytest.mark.parametrize(
    ("app", "prefix"), [("contract_flask:validated", ""), ("contract_django:validated", "/sync")]
)
def test_the_validator_of_the_standard_library_is_content(app, prefix):
    cases = ["whole-1.1", "whole-1.0", "head", "early", "late-1.1-1000", "leave-1", "leave-10"]
    with serve("gunicorn gthread", app) as server:
        report = check_app(server.url + prefix, cases=[*cases, "closed-once"])
        wrong = [result.name for result in report.failures]
        assert "closed-once" not in wrong, str(report)
        if wrong:  # Once more: the machine may have been busy.
            report = check_app(server.url + prefix, cases=wrong)
            assert report.passed, str(report)
        assert "AssertionError" not in server.log()
        assert "without being closed" not in server.log()


def test_what_is_known_is_about_targets_and_cases_that_exist():
    for target, case in (*KNOWN, *LEFT_OUT):
        assert target in TARGETS
        assert case in ALL_CASES
    for name in HELD:
        assert any(name in target for target in TARGETS)


def test_a_server_that_cannot_tell_of_a_failure_is_warned_of():
    silent = {target for target, case in KNOWN if case.startswith("late-1.1")}
    assert silent
    assert silent <= set(WARNED)
