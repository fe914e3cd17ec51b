import pytest
from formats import value_table


def test_the_table_of_values_in_the_docs_is_current():
    pytest.importorskip("pyarrow")
    assert value_table.PAGE.read_text("utf-8") == value_table.page()
