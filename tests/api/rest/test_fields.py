"""How values are read."""

from __future__ import annotations

import pytest

from lessor.api.rest.fields import tag_list
from lessor.errors import Invalid


class Long(list[str]):
    """A list so long that nobody goes through it once for each of its items."""

    def count(self, value: object) -> int:
        raise AssertionError(f"the list was gone through for {value!r}")


def test_tags_are_looked_through_once() -> None:
    assert tag_list(Long(["a", "b"])) == ("a", "b")
    with pytest.raises(Invalid, match="'a' is given twice"):
        tag_list(Long(["b", "a", "a"]))
