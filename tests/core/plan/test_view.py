from dataclasses import replace
from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessor.core.plan.view import checked, merge, request, share_lost
from lessor.errors import Invalid
from lessor.model import Network, Port, Scope, ScopeChange, Subnet, View, ViewAnswer

BLUE = Network(id="blue", name="blue")


def port(key: str, name: str = "") -> Port:
    return Port(id=key, network_id="blue", mac_address="fa:16:3e:00:00:01", name=name)


def answer(
    revision: int, change: ScopeChange, *, epoch: str = "e", left: tuple[str, ...] = ()
) -> ViewAnswer:
    return ViewAnswer(epoch=epoch, revision=revision, scopes={"blue": change}, left=left)


WHOLE = answer(5, ScopeChange(whole=True, network=BLUE, ports=(port("a"), port("b"))))


def test_a_row_replaces_the_one_of_its_id_and_the_rest_stays() -> None:
    view = merge(merge(View(), WHOLE), answer(6, ScopeChange(whole=False, ports=(port("b", "x"),))))
    assert view.scopes["blue"].ports == {"a": port("a"), "b": port("b", "x")}
    assert request(view, 30).cursors == {"blue": 6}


def test_a_row_that_went_is_forgotten() -> None:
    view = merge(merge(View(), WHOLE), answer(6, ScopeChange(whole=False, gone_ports=("a",))))
    assert list(view.scopes["blue"].ports) == ["b"]


def test_a_scope_that_was_left_is_forgotten() -> None:
    view = merge(merge(View(), WHOLE), ViewAnswer(epoch="e", revision=7, left=("blue",)))
    assert view == View(epoch="e")


def test_an_unnamed_scope_stays_the_same_object() -> None:
    view = merge(View(), WHOLE)
    assert merge(view, ViewAnswer(epoch="e", revision=9)).scopes["blue"] is view.scopes["blue"]


def test_another_epoch_replaces_everything() -> None:
    red = ScopeChange(whole=True, network=Network(id="red"))
    view = merge(merge(View(), WHOLE), ViewAnswer(epoch="f", revision=1, scopes={"red": red}))
    assert (view.epoch, list(view.scopes)) == ("f", ["red"])


def test_a_part_of_an_unknown_scope_is_not_taken_for_the_whole() -> None:
    assert merge(View(epoch="e"), answer(6, ScopeChange(whole=False, ports=(port("a"),)))) == View(
        epoch="e"
    )


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=8))
def test_an_answer_merged_twice_changes_nothing(steps: list[tuple[str, bool]]) -> None:
    view = merge(View(), WHOLE)
    for number, (key, gone) in enumerate(steps, 6):
        change = (
            ScopeChange(whole=False, gone_ports=(key,))
            if gone
            else ScopeChange(whole=False, ports=(port(key, str(number)),))
        )
        view = merge(view, answer(number, change))
        assert merge(view, answer(number, change)) == view


def test_the_share_of_lost_ports_is_counted_over_all_scopes() -> None:
    view = merge(View(), WHOLE)
    scope = Scope(revision=9, network=BLUE, ports={"a": port("a")})
    assert share_lost(view, View(epoch="f", scopes={"blue": scope})) == 0.5
    assert share_lost(View(), view) == 0.0


NET, SUBNET, PORT, TOUR = (f"{n}35e8b40-e41d-4423-b426-6774bef694bf" for n in range(4))


def named(
    network: str = NET, subnet: str = SUBNET, port: str = PORT, tour: str = TOUR
) -> ViewAnswer:
    change = ScopeChange(
        whole=True,
        network=Network(id=network),
        subnets=(Subnet(id=subnet, network_id=network, cidr=IPv4Network("10.0.0.0/24")),),
        ports=(Port(id=port, network_id=network, mac_address="fa:16:3e:00:00:01"),),
    )
    return ViewAnswer(epoch="e", revision=1, scopes={network: change}, tours={tour: NET})


def test_ids_of_a_view_that_are_uuids_are_taken() -> None:
    assert checked(named()) == named()


@pytest.mark.parametrize("noun", ["network", "subnet", "port", "tour"])
@pytest.mark.parametrize(
    "key",
    ["", "../../etc/cron.d/x", "a/b", "..", PORT.upper(), PORT + "\n", f"{{{PORT}}}", "٣" * 36],
)
def test_no_file_is_named_after_what_is_no_id(noun: str, key: str) -> None:
    with pytest.raises(Invalid, match="no id"):
        checked(named(**{noun: key}))


def test_a_scope_has_rows_of_its_network_only() -> None:
    (change,) = named().scopes.values()
    stray = replace(named(), scopes={SUBNET: change})
    with pytest.raises(Invalid, match="rows of other networks"):
        checked(stray)
