"""libvirt on a lab's hosts, and what else they need for `virsh migrate` by ssh.

A lab's host has this machine's files. So what libvirt, ssh and a shell keep is on disks of the
host's own in memory, root's home among it, and the hosts know each other's names.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from functools import partial

from lessor.errors import CommandError
from lessor.lab.lab import Lab
from lessor.lab.process import run

HOME = "/run/home"  # of root
LIMIT_S = 30
QEMU = """\
user = "root"
group = "root"
security_driver = "none"
cgroup_controllers = []
namespaces = []
remember_owner = 0
stdio_handler = "file"
"""
LIBVIRTD = """\
auth_unix_rw = "none"
auth_unix_ro = "none"
unix_sock_group = "root"
host_uuid = "{}"
"""
SSH = """\
IdentityFile ~/.ssh/key
StrictHostKeyChecking accept-new
"""
OWN = f"""
set -e
umask 022
for folder in /etc/libvirt /var/lib/libvirt /var/cache/libvirt /var/log/libvirt; do
    mkdir -p $folder
    mount -t tmpfs -o mode=755 tmpfs $folder
done
mkdir -p -m 700 {HOME}/.ssh
sed 's|^\\(root:.*\\):/root:|\\1:{HOME}:|' /etc/passwd >/run/passwd
cp /etc/group /run/group
# libvirtd looks for the user of the package that starts it, whichever it is told to take
getent passwd libvirt-qemu >/dev/null || echo libvirt-qemu:x:64055:64055::/:/usr/sbin/nologin >>/run/passwd
getent group libvirt-qemu >/dev/null || echo libvirt-qemu:x:64055: >>/run/group
for file in passwd group hosts; do mount --bind /run/$file /etc/$file; done
dropbearkey -t ed25519 -f /run/host-key >/dev/null 2>&1
"""


def start(lab: Lab, names: Sequence[str]) -> None:
    """Start libvirtd on these hosts, and sshd for each other's root.

    Raises:
        CommandError: a program is missing, or failed.
    """
    key = lab.folder / "key"
    run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "root", "-f", str(key)))
    addresses = "".join(f"{lab.host_state(name).address} {name}\n" for name in names)
    for name in names:
        root = lab.node(name).root
        (root / "run/hosts").write_text(f"127.0.0.1 localhost\n{addresses}")
        lab.exec(name, "sh", "-c", OWN)
        home = root / HOME[1:] / ".ssh"
        for file, text in {
            "key": key.read_text(),
            "authorized_keys": key.with_suffix(".pub").read_text(),
            "config": SSH,
        }.items():
            (home / file).touch(mode=0o600)
            (home / file).write_text(text)
        (root / "etc/libvirt/qemu.conf").write_text(QEMU)
        (root / "run/libvirtd.conf").write_text(LIBVIRTD.format(uuid.uuid4()))
        at = f"{lab.host_state(name).address}:22"
        lab.spawn(name, "sshd", "dropbear", "-F", "-E", "-s", "-r", "/run/host-key", "-p", at)
        lab.spawn(name, "libvirtd", "libvirtd", "--config", "/run/libvirtd.conf")
    for name in names:
        lab.wait_for(partial(_answers, lab, name), LIMIT_S, f"libvirtd on {name} answers")


def _answers(lab: Lab, name: str) -> bool:
    if not lab.is_running(name, "libvirtd"):
        words = lab.node(name).last_words("libvirtd")
        raise CommandError(f"libvirtd on {name} has ended: {words}")
    try:
        lab.exec(name, "virsh", "version")
    except CommandError:
        return False
    return True
