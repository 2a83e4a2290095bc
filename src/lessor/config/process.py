"""Options of every process."""

from __future__ import annotations

from oslo_config import cfg

from lessor.config import types

OPTIONS = [
    cfg.Opt(
        "state_dir",
        type=types.path,
        default="/var/lib/lessor",
        help="Folder of the SQLite file, tokens, lease spool and last view. All state is here "
        "and nowhere else.",
    ),
    cfg.StrOpt(
        "state_path",
        default="$state_dir",
        help="nova's state folder, for values of a nova.conf with $state_path. Lessor stores "
        "nothing there.",
    ),
    cfg.StrOpt(
        "bindir",
        default="/usr/bin",
        help="For values of a nova.conf with $bindir.",
    ),
    cfg.BoolOpt("debug", default=False, help="Log debug events."),
]
