"""BFD on tunnels: Open vSwitch sends a packet through each periodically and receives the peer's.

Source: RFC 5880; ovs-vswitchd.conf.db(5), bfd of Interface.
"""

INTERVAL_MS = 2000
SETTINGS = (("enable", "true"), ("min_rx", str(INTERVAL_MS)), ("min_tx", str(INTERVAL_MS)))
