"""Numbers of the options that the responder itself sets or reads.

Source: RFC 2132; 80 RFC 4039, 82 RFC 3046, 108 RFC 8925, 118 RFC 3011.
"""

from __future__ import annotations

NETMASK, HOSTNAME, DOMAIN, BROADCAST = 1, 12, 15, 28
REQUESTED, LEASE_TIME, OVERLOAD, TYPE, SERVER_ID, PARAMETERS, REASON, MAX_SIZE = range(50, 58)
T1, T2, CLIENT_ID = 58, 59, 61
SNAME, FILE = 66, 67  # what the fields of that name have in other messages
RAPID_COMMIT, RELAY, ONLY_IPV6, SUBNET = 80, 82, 108, 118
