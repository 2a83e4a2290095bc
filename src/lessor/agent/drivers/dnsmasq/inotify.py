"""Room for DHCP servers: each dnsmasq watches its folders by an inotify instance of root's.

The kernel allows 128 by default, too few for a host with 200 networks. The limit is raised before
it is reached, and never lowered: it belongs to the whole machine.

Source: inotify(7), /proc/sys/fs/inotify/max_user_instances.
"""

from __future__ import annotations

import resource
from pathlib import Path

from lessor.errors import LessorError

LIMIT = Path("/proc/sys/fs/inotify/max_user_instances")
SPARE = 64  # for all else that root runs
FILES = 6  # that the agent has open for each server
SPARE_FILES = 512


def make_room(servers: int, file: Path = LIMIT) -> None:
    """See that so many servers can run.

    Raises:
        LessorError: they can't, and the limit can't be raised.
    """
    limit = int(file.read_text())
    needed = servers + SPARE
    if limit >= needed:
        return
    better = 1 << needed.bit_length()
    try:
        file.write_text(f"{better}\n")
    except OSError as error:
        raise LessorError(
            f"{servers} DHCP servers need {needed} inotify instances, this host allows {limit} and "
            f"more can't be had ({error.strerror}); set fs.inotify.max_user_instances to {better}"
        ) from error


def make_room_for_files(servers: int) -> None:
    """Let this process open the files that so many servers need, as far as its hard limit goes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = min(servers * FILES + SPARE_FILES, hard)
    if resource.RLIM_INFINITY not in {soft, hard} and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
