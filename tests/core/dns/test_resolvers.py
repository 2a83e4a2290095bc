from __future__ import annotations

from lessor.core.dns.resolvers import read_resolvers


def test_name_servers_are_read_in_order() -> None:
    text = """# nameserver 192.0.2.1
search example.org
nameserver 192.0.2.9
nameserver  2001:db8::9  # second
nameserver
nameserver nonsense
nameserver fe80::1%eth0
nameserver 192.0.2.9
options ndots:1
"""
    assert read_resolvers(text) == ("192.0.2.9", "2001:db8::9")
