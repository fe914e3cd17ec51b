import pytest
from hypothesis import settings

pytest.register_assert_rewrite("asgi_cases")

# A busy machine is no bug: tests here never assert how long an example takes.
settings.register_profile("unspool", deadline=None)
settings.load_profile("unspool")
