from lessor.core.drops import Drops, answers_in_flows, joined, sentences

PRINTED = """\
 cookie=0x4c, duration=2s, table=71, n_packets=3, n_bytes=0, priority=90,udp,in_port="tap1",tp_src=67 actions=drop
 cookie=0x4c, duration=2s, table=71, n_packets=4, n_bytes=0, priority=90,udp,in_port="tap1",tp_dst=68 actions=drop
 cookie=0x4c, duration=2s, table=71, n_packets=9, n_bytes=0, priority=65,ip,in_port="tap1" actions=resubmit(,60)
 cookie=0x4c, duration=2s, table=60, n_packets=8, n_bytes=0, priority=90,udp,in_port="tap1" actions=drop
 cookie=0x4c, duration=2s, table=71, n_packets=0, n_bytes=0, priority=90,udp,in_port=vnet0,tp_src=67 actions=drop
"""
PORTS = {"tap1": "p1"}


def test_answers_are_what_the_flows_against_them_dropped() -> None:
    assert answers_in_flows(PRINTED) == {"tap1": 7, "vnet0": 0}


def test_a_port_is_said_as_long_as_it_does_more_of_it() -> None:
    once, more = Drops({"tap1": 3}, {"tap1": 5}), Drops({"tap1": 4}, {"tap1": 5})
    assert [s.split(";")[0] for s in sentences(once, Drops(), PORTS)] == [
        "port p1 (tap1) answers DHCP: 3 packets dropped",
        "port p1 (tap1) sends more than 20 DHCP requests a second: 5 dropped",
    ]
    assert len(list(sentences(more, once, PORTS))) == 1
    assert not list(sentences(more, more, PORTS))
    assert not list(sentences(more, Drops(), {})), "its port has gone"


def test_a_host_has_the_sums_of_both_modes() -> None:
    both = joined(Drops({"tap1": 3}, {"tap1": 5}), Drops({"tap2": 1}))
    assert both.counts() == {"dhcp_answers_dropped": 4, "dhcp_requests_dropped": 5}
