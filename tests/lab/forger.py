"""A VM whose own programs send frames that are not its port's, without pause."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from typing import Self

from lessor.lab.netns import in_netns
from lessor.lab.vm import NIC
from tests.agent.drivers.frames import arp, tagged, udp

SPOOF, MARK = "02:00:00:00:00:99", b"FORGED"


class Forger:
    """A VM's own programs that send frames which are not the port's, without pause."""

    def __init__(self, netns: Path, address: str) -> None:
        ends = (address, "255.255.255.255")
        forged = udp(SPOOF, ends, (9, 9), MARK)
        answer = udp(SPOOF, ends, (67, 68), MARK)
        # Its target is of no network: nobody answers, and its sender is known again.
        question = arp(SPOOF, address, "198.51.100.99")
        self._frames = (forged, answer, question, *(tagged(forged, vlan) for vlan in (1, 2, 3)))
        self._socket = in_netns(netns, _opened)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._send)
        self.sent = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._socket.close()

    def _send(self) -> None:
        while not self._ended.wait(0.001):
            for frame in self._frames:
                try:
                    self._socket.send(frame)
                    self.sent += 1
                except OSError:  # its link is down
                    pass


def _opened() -> socket.socket:
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    made.bind((NIC, 0))
    return made
