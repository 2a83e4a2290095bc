from lessor.core.firewall.ovs_ingress import changes, devices

LISTING = """table netdev lessor {
\tchain in-tap1 {
\t\ttype filter hook ingress device "tap1" priority filter; policy drop;
\t}

\tchain in-vnet7 {
\t\ttype filter hook ingress devices = { "vnet7" } priority 0; policy drop;
\t}

\tchain open {
\t\ttype filter hook ingress device "open" priority filter; policy accept;
\t}

\tchain unbound {
\t\ttype filter hook ingress priority filter; policy drop;
\t}
}
"""


def test_only_chains_that_drop_at_a_device_count() -> None:
    assert devices(LISTING) == {"tap1", "vnet7"}
    assert devices("") == set()


def test_devices_are_added_and_removed_in_one_transaction() -> None:
    hook = "type filter hook ingress device"
    assert changes({"tap2", "a:b"}, {"tap1"}).splitlines() == [
        "add table netdev lessor",
        f'add chain netdev lessor in-a_b {{ {hook} "a:b" priority 0 ; policy drop ; }}',
        f'add chain netdev lessor in-tap2 {{ {hook} "tap2" priority 0 ; policy drop ; }}',
        "delete chain netdev lessor in-tap1",
    ]
