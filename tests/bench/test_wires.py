from __future__ import annotations

import socket
import struct
import threading
from ipaddress import IPv4Address

import pytest

from bench import dhcp
from bench.http1 import Connection, Reading, Refused, burst, request

ANSWER = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}"
MAC = "fa:16:3e:00:00:01"


def test_an_answer_may_come_in_pieces() -> None:
    reading = Reading()
    assert [reading.add(ANSWER[at : at + 1]) for at in range(len(ANSWER))].index(True) == (
        len(ANSWER) - 1
    )
    assert reading.body() == b"{}"


def test_a_refusal_is_never_taken_for_an_answer() -> None:
    reading = Reading()
    reading.add(b"HTTP/1.1 409 Conflict\r\nContent-Length: 4\r\n\r\nbusy")
    with pytest.raises(Refused, match=r"409 Conflict: busy"):
        reading.body()


def test_a_connection_that_ends_within_an_answer_is_an_error() -> None:
    near, far = socket.socketpair()
    with near, far:
        far.sendall(ANSWER[:-1])
        far.shutdown(socket.SHUT_WR)
        with pytest.raises(ConnectionError):
            Connection(lambda: near).call(request("GET", "/healthz"))


def test_clients_share_out_all_requests() -> None:
    asked = [request("GET", f"/{number}") for number in range(20)]
    seen: list[bytes] = []
    served: list[threading.Thread] = []

    def serve(far: socket.socket) -> None:
        with far:
            while data := far.recv(4096):
                seen.append(data)
                far.sendall(ANSWER)

    def connect() -> socket.socket:
        near, far = socket.socketpair()
        served.append(threading.Thread(target=serve, args=(far,)))
        served[-1].start()
        return near

    done = burst(connect, 3, asked)
    for thread in served:
        thread.join()
    assert sorted(seen) == sorted(asked)
    assert (len(done.each), done.bodies) == (20, [b"{}"] * 20)


def test_only_a_servers_frame_is_an_answer() -> None:
    assert dhcp.answer(dhcp.discover(MAC, 7)) is None


def test_an_offer_is_read_with_its_address() -> None:
    frame = bytearray(dhcp.discover(MAC, 7))
    bootp = 14 + 20 + 8
    frame[14 + 20 : 14 + 24] = struct.pack("!HH", 67, 68)
    frame[bootp + 16 : bootp + 20] = IPv4Address("10.0.0.2").packed
    frame[bootp + 242] = dhcp.OFFER
    assert dhcp.answer(bytes(frame)) == dhcp.Answer(dhcp.OFFER, 7, IPv4Address("10.0.0.2"))


def test_the_clients_packet_has_a_right_header_checksum() -> None:
    header = struct.unpack_from("!10H", dhcp.discover(MAC, 7), 14)
    assert sum(header) % 0xFFFF == 0
