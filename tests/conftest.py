import pytest

pytest.register_assert_rewrite("asgi_cases")
