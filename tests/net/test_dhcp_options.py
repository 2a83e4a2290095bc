import pytest

from lessor.errors import Invalid
from lessor.net.dhcp_options import BY_NAME, BY_NUMBER, OPTIONS, Kind, find


def test_no_two_options_share_a_number_or_a_name() -> None:
    assert len(BY_NUMBER) == len(OPTIONS)
    assert len(BY_NAME) == sum(bool(option.name) for option in OPTIONS)


def test_an_option_of_a_number_has_a_size_and_others_but_any_have_none() -> None:
    sized = {Kind.NUMBER, Kind.SIGNED, Kind.FLAG, Kind.SECONDS}
    wrong = [
        one.number
        for one in OPTIONS
        if one.kind is not Kind.ANY and bool(one.size) != (one.kind in sized)
    ]
    assert wrong == []


def test_every_option_has_its_source() -> None:
    assert [option.number for option in OPTIONS if not option.source] == []


@pytest.mark.parametrize(
    ("name", "number", "kind"),
    [
        pytest.param("router", 3, Kind.ADDRESSES, id="by-name"),
        pytest.param("3", 3, Kind.ADDRESSES, id="by-number"),
        pytest.param("249", 249, Kind.ROUTES, id="without-a-name"),
        pytest.param("224", 224, Kind.ANY, id="without-a-line"),
        pytest.param("server-ip-address", 255, Kind.ADDRESSES, id="field-of-the-message"),
    ],
)
def test_an_option_is_found(name: str, number: int, kind: Kind) -> None:
    assert (find(name).number, find(name).kind) == (number, kind)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        pytest.param("0", "neither", id="pad"),
        pytest.param("255", "neither", id="end"),
        pytest.param("routers", "near it are router", id="near"),
        pytest.param("51", "exchange itself", id="lease-time"),
        pytest.param("", "neither", id="empty"),
    ],
)
def test_what_is_no_option_of_a_port_is_refused(name: str, message: str) -> None:
    with pytest.raises(Invalid, match=message):
        find(name)
