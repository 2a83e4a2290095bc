from lessor.core.diff import Changes, Unsound, as_read, diff
from lessor.core.state import OvsBridge

INT, TUN = OvsBridge("br-int", "system"), OvsBridge("br-tun", "system")
BROKEN: OvsBridge | Unsound[OvsBridge] = Unsound(
    INT, "bridge br-int: fail_mode is 'standalone', not 'secure'"
)


def test_what_differs_is_created_replaced_or_deleted() -> None:
    other = OvsBridge("br-int", "netdev")
    changes = diff({"br-int": INT, "br-tun": TUN}, {"br-int": other, "br-old": TUN})
    assert changes == Changes(create=(TUN,), replace=(INT,), delete=(TUN,))


def test_equal_objects_need_no_change() -> None:
    assert not diff({"br-int": INT}, {"br-int": OvsBridge("br-int", "system")})


def test_a_broken_object_is_replaced_although_its_values_are_as_desired() -> None:
    assert diff({"br-int": INT}, {"br-int": BROKEN}) == Changes(replace=(INT,))


def test_a_broken_object_that_is_not_desired_is_deleted_as_it_was_read() -> None:
    desired: dict[str, OvsBridge] = {}
    assert diff(desired, {"br-int": BROKEN}) == Changes(delete=(INT,))


def test_an_object_is_had_as_it_was_read_sound_or_not() -> None:
    assert as_read(BROKEN) is as_read(INT) is INT
