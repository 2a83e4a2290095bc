"""Rows as answers: what is a row's own, what is the same for all, what is made."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from lessor.api.rest.bodies import shown
from lessor.api.rest.fields import Field, Resource, constant, iso_time
from lessor.model import LATEST


@dataclass
class Row:
    """Two things."""

    name: str
    size: int


FIELDS = (
    Field(name="name"),
    Field(name="none", show=constant(None)),
    Field(name="twice", show=lambda row, facts: row.size * 2 + facts),
    Field(name="volume", attr="size"),
    Field(name="secret", write_only=True),
)
WHOLE = {"name": "a", "none": None, "twice": 7, "volume": 3}


@pytest.mark.parametrize(
    "only", [(), ("name",), ("volume", "name"), ("none",), ("twice", "secret"), ("colour",)]
)
def test_an_answer_has_the_fields_asked_for_in_the_resources_order(only: tuple[str, ...]) -> None:
    resource = Resource("thing", "things", FIELDS)
    [found] = shown(resource, [Row("a", 3)], 1, only)
    expected = {name: value for name, value in WHOLE.items() if not only or name in only}
    assert list(found.items()) == list(expected.items())


@pytest.mark.parametrize("fields", [FIELDS[:1], FIELDS[1:2], ()])
def test_a_resource_may_have_few_fields(fields: tuple[Field, ...]) -> None:
    found = shown(Resource("thing", "things", fields), [Row("a", 3)], 0)
    assert [list(one) for one in found] == [[field.name for field in fields]]


def test_answers_share_nothing_that_is_changed() -> None:
    first, second = shown(Resource("thing", "things", FIELDS), [Row("a", 1), Row("a", 1)], 0)
    first["none"] = "else"
    assert second["none"] is None


@pytest.mark.parametrize(
    "seconds",
    [0.0, 0.4, 0.9999994, 0.9999999, 1.5, -0.5, 1e9 + 0.9999999, LATEST, LATEST * 9, -1e18],
)
def test_a_time_is_written_as_its_date_is(seconds: float) -> None:
    date: Any = datetime.fromtimestamp(min(max(seconds, -62135596800.0), LATEST), UTC)
    assert iso_time(seconds) == date.isoformat(timespec="seconds").replace("+00:00", "Z")
