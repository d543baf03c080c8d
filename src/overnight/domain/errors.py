"""One tree of errors. The message says what happened; `hint` says what the reader can do next."""

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of the command line, stable for scripts."""

    DONE = 0
    FAILURE = 1
    CANCELED = 2
    NOT_VERIFIED = 3
    AUTHENTICATION = 4
    NEEDS_INPUT = 5
    USAGE = 64
    TIME_LIMIT = 124
    INTERRUPTED = 130


class OvernightError(Exception):
    """Something Overnight can explain. Printed as one line, never as a traceback."""

    exit_code: ExitCode = ExitCode.FAILURE

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(OvernightError):
    """The caller asked for something that cannot be: a wrong path, ref, option or name."""

    exit_code = ExitCode.USAGE


class NotFoundError(UsageError):
    """No task, attempt, repository or pull request answers to that name."""


class ConflictError(OvernightError):
    """The state changed underneath, or the change would overwrite somebody's work."""


class StaleLeaseError(ConflictError):
    """Another worker holds the lease by now; nothing of the old holder may be written."""


class RepositoryError(UsageError):
    """The repository cannot be used as it is (no commits, no such ref, missing objects)."""


class GitError(OvernightError):
    """A git command failed."""


class SandboxUnavailableError(OvernightError):
    """This machine cannot isolate commands as asked."""


class DiskFullError(OvernightError):
    """There is no room left where Overnight keeps its data."""


class SetupError(OvernightError):
    """The environment's setup failed."""


class SecretError(OvernightError):
    """A secret cannot be opened: another master key, or its record was changed. Nothing goes on without."""


class ModelError(OvernightError):
    """The model or its provider did not answer as it must."""


class ModelUnavailableError(ModelError):
    """The model cannot be reached for now; asking again later may work."""


class ContextOverflowError(ModelError):
    """The prompt does not fit the model's context window."""


class QuotaError(ModelError):
    """The provider's account has nothing left; waiting does not help, another provider may."""


class ReplayError(ModelError):
    """A replayed attempt asks for what its recording does not hold."""


class CredentialError(ModelError):
    """A provider's key is missing or refused."""

    exit_code = ExitCode.AUTHENTICATION


class PatchError(OvernightError):
    """A patch does not parse, does not apply, or leaves the workspace."""


class LimitError(OvernightError):
    """A named limit was reached."""

    def __init__(self, limit: str, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.limit = limit


class CanceledError(OvernightError):
    """A person canceled the attempt."""

    exit_code = ExitCode.CANCELED
