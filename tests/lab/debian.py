"""A Debian guest with cloud-init: made by debootstrap, booted from its own kernel.

Its disk is read-only, and what a VM writes is in its memory. So any number of VMs have the same
disk, and move between hosts without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

from lessor.lab.process import run

SUITE, USER = "bookworm", "debian"  # cloud-init's default user there
PACKAGES = (  # debootstrap doesn't know what provides python3-cryptography's python3-cffi-backend-api-min
    *("cloud-init", "dbus", "initramfs-tools", "iproute2", "kmod", "linux-image-cloud-amd64"),
    *(
        "netbase",
        "openssh-server",
        "python3-cffi-backend",
        "systemd-resolved",
        "systemd-sysv",
        "udev",
    ),
)
MAKE_TIMEOUT_S = 900
DISK_TIMEOUT_S = 300
DISK_SIZE = "3G"  # of a file with holes
INIT = "/usr/local/sbin/init-in-memory"
ARGUMENTS = (
    f"root=/dev/vda ro init={INIT} console=ttyS0 quiet systemd.show_status=false"
    " random.trust_cpu=on tsc=reliable"
)
FILES = {
    INIT: """\
        #!/bin/sh
        set -e
        modprobe overlay
        mount -t tmpfs -o mode=755 tmpfs /mnt
        mkdir /mnt/written /mnt/work /mnt/root
        mount -t overlay -o lowerdir=/,upperdir=/mnt/written,workdir=/mnt/work overlay /mnt/root
        for folder in dev proc run sys; do mount -n --move "/$folder" "/mnt/root/$folder"; done
        cd /mnt/root
        pivot_root . mnt
        exec chroot . /sbin/init <dev/console >dev/console 2>&1
        """,
    "/etc/systemd/network/99-default.network": """\
        [Match]
        Name=en*
        [Network]
        DHCP=ipv4
        """,
    # an emulated processor takes long for other keys, and nobody asks for them
    "/etc/cloud/cloud.cfg.d/90-own.cfg": "ssh_genkeytypes: [ed25519]\nlocale: false\n",
    "/etc/fstab": "",
    "/etc/hostname": "localhost\n",
    "/etc/machine-id": "",  # each VM makes its own
}
LATER = "apt-daily.timer", "apt-daily-upgrade.timer", "e2scrub_all.timer", "dpkg-db-backup.timer"


@dataclass(frozen=True, slots=True)
class Guest:
    """What a VM boots from."""

    kernel: Path
    initrd: Path
    disk: Path


def build(folder: Path) -> Guest:
    """Make the guest's files in a folder; its size there is about a gigabyte.

    Raises:
        CommandError: debootstrap failed, for want of a network or of Debian's keys, say.
    """
    root, disk = folder / "root", folder / "disk"
    options = ("--variant=minbase", f"--include={','.join(PACKAGES)}")
    run(("debootstrap", *options, SUITE, str(root)), timeout_s=MAKE_TIMEOUT_S)
    for path, text in FILES.items():
        file = root / path[1:]
        file.write_text(dedent(text))
        file.chmod(0o755 if path == INIT else 0o644)
    units = root / "etc/systemd/system"
    for unit in LATER:
        (units / unit).symlink_to("/dev/null")
    resolver = root / "etc/resolv.conf"
    resolver.unlink(missing_ok=True)
    resolver.symlink_to("../run/systemd/resolve/stub-resolv.conf")
    run(("chroot", str(root), "systemctl", "enable", "systemd-networkd"))
    run(("chroot", str(root), "apt-get", "clean"))
    kind = ("-q", "-F", "-t", "ext4", "-O", "^has_journal")
    run(("mke2fs", *kind, "-d", str(root), str(disk), DISK_SIZE), timeout_s=DISK_TIMEOUT_S)
    boot = root / "boot"
    (kernel,), (initrd,) = boot.glob("vmlinuz-*"), boot.glob("initrd.img-*")
    return Guest(kernel, initrd, disk)
