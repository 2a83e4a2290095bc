import pytest

from lessor.core.metadata.seats import Seat, Seats
from lessor.errors import Unavailable


def filled(seats: Seats[str], network: str, ports: int, each: int) -> list[str]:
    names = [f"{network}/{port}/{one}" for one in range(each) for port in range(ports)]
    for name in names:
        _, port, _ = name.split("/")
        assert seats.take(name, Seat(network, port)) is None
    return names


def test_a_port_has_its_number() -> None:
    seats: Seats[str] = Seats(total=100, of_port=3)
    filled(seats, "blue", 1, 3)
    with pytest.raises(Unavailable, match="port 0 has 3 connections"):
        seats.take("more", Seat("blue", "0"))
    seats.leave("blue/0/0")
    assert seats.take("more", Seat("blue", "0")) is None


def test_newcomer_takes_the_oldest_of_the_port_that_has_most() -> None:
    seats: Seats[str] = Seats(total=6, of_port=4)
    filled(seats, "blue", 1, 4)
    filled(seats, "red", 2, 1)
    assert seats.take("new", Seat("red", "9")) == "blue/0/0"
    seats.leave("blue/0/0")  # its end comes later, and counts no more
    with pytest.raises(Unavailable):  # both networks have their half
        seats.take("newer", Seat("red", "8"))


def test_networks_share_before_ports() -> None:
    """Many ports of one network with few each can't keep another network out."""
    seats: Seats[str] = Seats(total=8, of_port=4)
    filled(seats, "blue", 7, 1)
    filled(seats, "red", 1, 1)
    assert str(seats.take("second", Seat("red", "0"))).startswith("blue/")
    assert str(seats.take("third", Seat("red", "0"))).startswith("blue/")
    assert str(seats.take("fourth", Seat("red", "0"))).startswith("blue/")
    with pytest.raises(Unavailable, match="port 0 has 4"):
        seats.take("fifth", Seat("red", "0"))


def test_ports_of_one_network_share_it() -> None:
    seats: Seats[str] = Seats(total=8, of_port=4)
    filled(seats, "blue", 2, 4)
    assert seats.take("new", Seat("blue", "quiet")) == "blue/0/0"


def test_equals_take_nothing_from_each_other() -> None:
    seats: Seats[str] = Seats(total=4, of_port=4)
    filled(seats, "blue", 2, 1)
    filled(seats, "red", 2, 1)
    with pytest.raises(Unavailable, match="all 4 connections are in use"):
        seats.take("new", Seat("blue", "0"))
    with pytest.raises(Unavailable, match="all 4 connections are in use"):
        seats.take("new", Seat("blue", "9"))
