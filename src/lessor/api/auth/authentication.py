"""How callers are known, by the settings: nobody is asked, or passwords, or Keystone's tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lessor.api.auth.caller import Authenticator
from lessor.errors import ConfigError
from lessor.settings import ServerSettings

if TYPE_CHECKING:
    from lessor.api.auth.rules import Rules


def authentication(settings: ServerSettings) -> tuple[Rules | None, Authenticator | None]:
    """Return the rules and who finds out who calls; neither with noauth.

    What they need is imported here: oslo.policy takes half a second to load, keystonemiddleware
    another one, and a server without authentication needs neither.

    Raises:
        ConfigError: a file of rules or users can't be read or understood, or a setting is missing.
    """
    if settings.auth_strategy == "noauth":
        return None, None
    from lessor.api.auth.rules import Rules, read_changes  # noqa: PLC0415 - see above

    rules = Rules(read_changes(settings.policy_file) if settings.policy_file else None)
    if settings.auth_strategy == "keystone":
        from lessor.api.auth.keystone import Keystone  # noqa: PLC0415 - see above

        authenticate = Keystone(settings.keystone_authtoken, rules.known, settings.auth_cache_time)
        return rules, authenticate
    if settings.http_basic_auth_user_file is None:
        raise ConfigError("auth_strategy=http_basic needs http_basic_auth_user_file")
    from lessor.api.auth.http_basic import HttpBasic  # noqa: PLC0415 - see above

    return rules, HttpBasic(
        settings.http_basic_auth_user_file,
        settings.http_basic_auth_roles_file,
        rules.known,
        settings.auth_cache_time,
    )
