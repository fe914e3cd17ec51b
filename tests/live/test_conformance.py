"""Every server stack, with every case: see conformance.py."""

import pytest
from live.conformance import ALL_CASES, HELD, KNOWN, TARGETS, WARNED, as_known, examining, spoken


@pytest.fixture(scope="module")
def examined(request):
    """What came of each target, or will: those that tests have been selected for run already."""
    calls = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    with examining(dict.fromkeys(call["target"] for call in calls if "target" in call)) as futures:
        yield futures


@pytest.mark.parametrize("case", ALL_CASES)
@pytest.mark.parametrize("target", TARGETS)
def test_a_case_passes_or_is_known_not_to(examined, target, case):
    results, _ = examined[target].result()
    assert as_known(target, results[case]), (KNOWN.get((target, case)), results[case].detail)


@pytest.mark.parametrize("target", WARNED)
def test_a_server_that_spoils_streams_is_warned_of_in_its_log(examined, target):
    _, log = examined[target].result()
    assert WARNED[target] in spoken(log)


def test_what_is_known_is_about_targets_and_cases_that_exist():
    for target, case in KNOWN:
        assert target in TARGETS
        assert case in ALL_CASES
    for name in HELD:
        assert any(name in target for target in TARGETS)


def test_a_server_that_cannot_tell_of_a_failure_is_warned_of():
    silent = {target for target, case in KNOWN if case.startswith("late-1.1")}
    assert silent
    assert silent <= set(WARNED)
