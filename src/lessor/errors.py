"""The exceptions of Lessor.

    LessorError
    ├── Invalid          the request is malformed or out of range                       400
    │   └── ConfigError  a settings file or an option is wrong                          (exit 2)
    ├── Forbidden        the caller may not do this                                     403
    ├── Unauthorized     no token, or a wrong one                                       401
    ├── NotFound         no such network, port, host ...                                404
    ├── Conflict         the present state does not allow it                            409
    │   ├── InUse        something still depends on the object
    │   └── Exhausted    no address is free
    ├── Outdated         the row has changed since the caller read it                   412
    ├── Unavailable      the store or the server can't answer now; try again            503
    ├── CommandError     a program we ran failed
    └── Pending          waits for something external (a tap, an interface) or for a time

A message has the request, the obstacle and the remedy: lower case, no full stop, full values,
never a secret. A class is added only when some code catches it. `type` is the name that OpenStack
clients read in `{"NeutronError": {"type": ...}}`; the argument `type_` sets a more specific one.
"""


class LessorError(Exception):
    """The base of all errors that Lessor raises on purpose.

    Attributes:
        type: its name in the API.
        key: the object on a host that could not be changed, by its key in `HostState`; "": unknown.
    """

    type = "LessorError"
    key = ""

    def __init__(self, message: str, *, type_: str | None = None) -> None:
        super().__init__(message)
        if type_ is not None:
            self.type = type_


class Invalid(LessorError):
    """The request is malformed, out of range, or contradicts itself."""

    type = "InvalidInput"


class ConfigError(Invalid):
    """Settings files or options are wrong; the message has one line for each error."""


class Forbidden(LessorError):
    """The caller may not do this."""

    type = "PolicyNotAuthorized"


class Unauthorized(LessorError):
    """No token, or a wrong one."""

    type = "Unauthorized"


class NotFound(LessorError):
    """The object does not exist, or the caller may not see it."""

    type = "NotFound"


class Conflict(LessorError):
    """The present state does not allow the request."""

    type = "Conflict"


class InUse(Conflict):
    """Something still depends on the object."""

    type = "InUse"


class Exhausted(Conflict):
    """No address is free."""

    type = "IpAddressGenerationFailure"


class Outdated(LessorError):
    """The row has changed since the caller read it: its revision is not the expected one."""

    type = "RevisionNumberConstraintFailed"


class Unavailable(LessorError):
    """The store or the server can't answer now; the same call may work later."""

    type = "ServiceUnavailable"


class CommandError(LessorError):
    """A program we ran failed; the message has its arguments, exit status and last output."""

    type = "CommandError"


class Pending(LessorError):
    """Not done yet, and not a failure: waits for something external, or for a time.

    Args:
        message: what it waits for.
        key: the object that waits, by its key in `HostState` ("tap3f2a9c1e-5b").
        retry_s: seconds until the next attempt; None: an event triggers it.
    """

    type = "Pending"

    def __init__(self, message: str, *, key: str, retry_s: float | None = None) -> None:
        super().__init__(message)
        self.key = key
        self.retry_s = retry_s
