"""Serves Keystone on SQLite: `.venv-keystone/bin/python THIS FOLDER PORT PASSWORD [HOST]`.

Runs in Keystone's own environment, so nothing of Lessor is imported here.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SETTINGS = """[database]
connection = sqlite:///{folder}/keystone.sqlite
[fernet_tokens]
key_repository = {folder}/fernet
[credential]
key_repository = {folder}/credential
"""


def main(folder: Path, port: str, password: str, host: str = "127.0.0.1") -> None:
    """Make its database and its administrator, then serve on that name or address."""
    file = folder / "keystone.conf"
    folder.mkdir(parents=True)
    file.write_text(SETTINGS.format(folder=folder))
    manage = (str(Path(sys.executable).parent / "keystone-manage"), f"--config-file={file}")
    owner = ("--keystone-user=root", "--keystone-group=root")
    url = f"http://{host}:{port}/v3"
    for command in (
        ("db_sync",),
        ("fernet_setup", *owner),
        ("credential_setup", *owner),
        (
            "bootstrap", f"--bootstrap-password={password}", f"--bootstrap-public-url={url}",
            f"--bootstrap-internal-url={url}", "--bootstrap-region-id=RegionOne",
        ),
    ):  # fmt: skip
        subprocess.run((*manage, *command), check=True)
    os.environ["OS_KEYSTONE_CONFIG_FILES"] = str(file)
    sys.argv[1:] = []  # Keystone would read them
    import waitress  # noqa: PLC0415 - only in its own environment
    from keystone.wsgi.api import application  # noqa: PLC0415 - reads the settings at once

    waitress.serve(application, listen=f"{host}:{port}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
