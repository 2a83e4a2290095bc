"""What can go wrong, as a tree.

    LessorError
    ├── Invalid          what was asked can't be meant: wrong form, out of range        400
    │   └── ConfigError  a settings file or an option is wrong                          (exit 2)
    ├── Forbidden        the caller may not do this                                     403
    ├── Unauthorized     no token, or a wrong one                                       401
    ├── NotFound         no such network, port, host ...                                404
    ├── Conflict         can't be done as things are now                                409
    │   ├── InUse        something still depends on it
    │   └── Exhausted    nothing left to give: addresses
    ├── Outdated         the row has changed since the caller read it                   412
    ├── Unavailable      the store or the server can't answer now; try again            503
    ├── CommandError     a program we ran failed
    └── Pending          waits for somebody else (a tap, an interface) or for its time

A message says what was asked, what stands in the way and what would help: lower case, no full
stop, values in full, never a secret. A kind is added only when somebody catches it. `type` is the
name that OpenStack clients look for in `{"NeutronError": {"type": ...}}`; a raiser may name a
finer one with the argument `type_`.
"""


class LessorError(Exception):
    """Anything that Lessor itself says is wrong.

    Attributes:
        type: its name in the API.
        key: of a host: the thing that could not be made so, as `HostState` names it; "": not known.
    """

    type = "LessorError"
    key = ""

    def __init__(self, message: str, *, type_: str | None = None) -> None:
        super().__init__(message)
        if type_ is not None:
            self.type = type_


class Invalid(LessorError):
    """What was asked can't be meant: wrong form, out of range, contradicting itself."""

    type = "InvalidInput"


class ConfigError(Invalid):
    """A settings file or option is wrong; the message lists all that is wrong, a line each."""


class Forbidden(LessorError):
    """The caller may not do this."""

    type = "PolicyNotAuthorized"


class Unauthorized(LessorError):
    """No token, or a wrong one."""

    type = "Unauthorized"


class NotFound(LessorError):
    """There is no such thing, or the caller may not know of it."""

    type = "NotFound"


class Conflict(LessorError):
    """It can't be done as things are now."""

    type = "Conflict"


class InUse(Conflict):
    """Something still depends on it."""

    type = "InUse"


class Exhausted(Conflict):
    """Nothing is left to give."""

    type = "IpAddressGenerationFailure"


class Outdated(LessorError):
    """The row has changed since the caller read it: its revision is another than he expects."""

    type = "RevisionNumberConstraintFailed"


class Unavailable(LessorError):
    """The store or the server can't answer now; the same call may work later."""

    type = "ServiceUnavailable"


class CommandError(LessorError):
    """A program we ran failed; the message has its arguments, exit status and last words."""

    type = "CommandError"


class Pending(LessorError):
    """Not done yet, and not our failure: it waits for somebody else, or for its time.

    Args:
        message: what is waited for.
        key: the thing that waits, as `HostState` names it ("tap3f2a9c1e-5b").
        retry_s: look again after so many seconds; None: an event will tell.
    """

    type = "Pending"

    def __init__(self, message: str, *, key: str, retry_s: float | None = None) -> None:
        super().__init__(message)
        self.key = key
        self.retry_s = retry_s
