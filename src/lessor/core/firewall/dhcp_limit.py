"""How often a VM may ask for its address: a healthy client asks a few times in its life.

One that floods would keep its network's DHCP server from answering others, and on a flat host those
of all networks. Requests beyond the limit are dropped on the VM's own host, and counted.

Source: RFC 2131 section 4.1: a client waits 4 s before it asks again.
"""

from __future__ import annotations

RATE = 20  # DHCP requests a second that one port may send; a boot's whole exchange is 2
BURST = 40  # at once
