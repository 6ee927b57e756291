"""Every error that waxlocal raises, in one tree.

* ObserveError
  x ConfigurationError          a setting that cannot be used
  x PolicyViolationError        a policy said no (the recorded program raises or catches it)
  x PromptNotFoundError         no prompt of that name; there is no server to ask
  x PromptGuardError            a prompt was refused
  x UnknownUsage                a provider's usage object that cannot be read; a TypeError, too
  x NotOffered                  a part of `waxell_observe` that needs the vendor's servers
  x StorageError                the file cannot be read or written now
    + FileMissing               there is no file yet
    + FileLocked                another process holds it
      - LocksMissing            its file system has no locks
    + FileReadOnly              the file or its directory may not be written
    + DiskFull                  no space left for the next row
    + FileUnusable              nothing can be done with this file as it is
      - NotADatabase            not SQLite at all, or without its beginning
        FileDamaged             parts of it cannot be read; a NotADatabase
      - ForeignDatabase         SQLite, but another program's
      - NewerSchema             written by a later version of waxlocal
  x RunsStillOpen               runs were not deleted: their programs still record into them
  x QueryError                  a question that has no answer
    + InvalidQuery              unknown ordering, bad date, bad limit
    + NotFound                  no such session or run
    + AmbiguousId               the prefix fits several
  x DeliveryError               runs cannot be delivered, or not now
    + UploaderRunning           another process delivers the runs of this file
    + ServerUnreachable         no answer, or none that a Waxell server gives
    + ServerRefused             the server does not accept the key

Recording raises none of the `StorageError`s into the program: what cannot be written is kept in
memory, tried again and, if it is lost after all, reported once at exit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from waxlocal.sdk.types import PolicyCheckResult, PromptGuardResult

__all__ = [
    "AmbiguousId",
    "ConfigurationError",
    "DeliveryError",
    "DiskFull",
    "FileDamaged",
    "FileLocked",
    "FileMissing",
    "FileReadOnly",
    "FileUnusable",
    "ForeignDatabase",
    "InvalidQuery",
    "LocksMissing",
    "NewerSchema",
    "NotADatabase",
    "NotFound",
    "NotOffered",
    "ObserveError",
    "OutputFull",
    "PolicyViolationError",
    "PromptGuardError",
    "PromptNotFoundError",
    "QueryError",
    "RunsStillOpen",
    "ServerRefused",
    "ServerUnreachable",
    "StorageError",
    "UnknownUsage",
    "UploaderRunning",
]


class ObserveError(Exception):
    """The root of the tree; `hint` says what to do next, `exit_code` what a command exits with."""

    exit_code = 1
    default_hint = ""

    def __init__(self, *args: object, hint: str = "") -> None:
        super().__init__(*args)
        self.hint = hint or self.default_hint


class ConfigurationError(ObserveError):
    """A setting is missing or cannot be used."""

    exit_code = 2


class PolicyViolationError(ObserveError):
    """A policy refused the run; `policy_result` holds the answer that said so."""

    def __init__(self, message: str, policy_result: PolicyCheckResult | None = None) -> None:
        super().__init__(message)
        self.policy_result = policy_result


class PromptNotFoundError(ObserveError):
    """No prompt of that name, label or version is known."""

    exit_code = 5

    def __init__(
        self,
        name: str,
        label: str = "",
        version: int = 0,
        status_code: int | None = None,
        detail: str = "",
    ) -> None:
        wanted = f"label {label!r}" if label else f"version {version}" if version else ""
        text = f"prompt {name!r}" + (f" ({wanted})" if wanted else "") + " was not found"
        super().__init__(
            f"{text}: {detail}" if detail else text,
            hint="keep a default prompt in the program: waxlocal has no prompt server",
        )
        self.name = name
        self.label = label
        self.version = version
        self.status_code = status_code
        self.detail = detail


class PromptGuardError(ObserveError):
    """A prompt was refused by a guard; `result` holds what it found."""

    def __init__(self, result: PromptGuardResult) -> None:
        super().__init__("prompt refused: " + "; ".join(map(str, result.violations)))
        self.result = result


class UnknownUsage(ObserveError, TypeError):
    """A provider's usage has no token counts that are known, or one that is not a number."""

    default_hint = "pass the usage object of the provider's response as it is, or a dict like it"


class NotOffered(ObserveError):
    """A part of `waxell_observe` was used that has no meaning without the vendor's servers."""


class StorageError(ObserveError):
    """The file cannot be read or written at the moment.

    `path` is that of the file, which the message names; empty where nobody has set it.
    """

    path = ""
    default_hint = "look at the path with: waxlocal path"
    # Whether FILE in the default hint stands for the file itself.
    hint_names_file = False

    def name_file(self, path: str) -> None:
        """Say which file it is, the first time; also in what the hint proposes to type."""
        if not self.path:
            self.path = path
            if self.hint_names_file:
                self.propose(self.hint)

    def propose(self, hint: str) -> None:
        """Set the hint; FILE in it stands for the file."""
        self.hint = hint.replace("FILE", _quoted(self.path))

    @property
    def hint_without_path(self) -> str:
        """The hint for somebody who may not know where the file lies."""
        named = self.hint_names_file and self.path
        return self.hint.replace(_quoted(self.path), "FILE") if named else self.hint

    @property
    def without_path(self) -> str:
        """The message for somebody who may not know where the file lies."""
        said = str(self)
        if not self.path:
            return said
        return said.removeprefix(f"{self.path}: ").replace(self.path, "the file")


def _quoted(path: str) -> str:
    """Return a path as a shell takes it.

    As `shlex.quote` does, which cannot be imported where the error is that no more files can be
    opened.
    """
    if path.isascii() and all(one.isalnum() or one in "/._-+:@%" for one in path):
        return path
    return "'" + path.replace("'", "'\"'\"'") + "'"


class FileMissing(StorageError):
    """There is no file at that path yet."""

    exit_code = 5
    default_hint = "record a run first: waxlocal run app.py; or see samples: waxlocal demo"


class FileLocked(StorageError):
    """Another process held the file for longer than the allowed wait."""

    exit_code = 3
    default_hint = "try again; if it stays locked, see which process has it open: fuser FILE"
    hint_names_file = True


class LocksMissing(FileLocked):
    """The file system has no locks, or its lock service does not run: nobody may write safely."""

    exit_code = 6
    default_hint = (
        "use a local disk: WAXLOCAL_DB=/some/where/waxlocal.db; or have it mounted with locks "
        "(NFS: without rpc.statd there are none)"
    )
    hint_names_file = False


class FileReadOnly(StorageError):
    """The file or its directory may not be written."""

    exit_code = 6
    default_hint = "choose a writable place: WAXLOCAL_DB=/some/where/waxlocal.db"


class DiskFull(StorageError):
    """There is no space for the next row; what is in the file stays readable."""

    exit_code = 6
    default_hint = "free some space; recording resumes by itself"


class OutputFull(ObserveError):
    """What a command prints goes to a place without space for it."""

    exit_code = 6
    default_hint = "free some space there, or send the output to another place"


class FileUnusable(StorageError):
    """Nothing can be done with this file as it is; it is left untouched."""

    exit_code = 4
    default_hint = "choose another file with --db FILE or WAXLOCAL_DB"


class NotADatabase(FileUnusable):
    """The file is not a SQLite database, or its beginning is damaged."""


class FileDamaged(NotADatabase):
    """The file is waxlocal's, and parts of it cannot be read. What is recorded goes beside it."""

    default_hint = "save what can be read: waxlocal --db FILE recover"
    hint_names_file = True


class ForeignDatabase(FileUnusable):
    """A SQLite database, but not one of waxlocal's."""


class NewerSchema(FileUnusable):
    """The file was written by a later version of waxlocal."""

    default_hint = "upgrade: pip install --upgrade waxlocal"


class RunsStillOpen(ObserveError):
    """Some runs were not deleted, because their programs still record into them."""

    exit_code = 3
    default_hint = "run the same command again when they have ended"


class QueryError(ObserveError):
    """A question that cannot be answered."""

    exit_code = 2


class InvalidQuery(QueryError):
    """An unknown ordering, a date that is not valid, a limit out of range."""


class NotFound(QueryError):
    """No session or run has that id."""

    exit_code = 5
    default_hint = "list what there is with: waxlocal sessions"


class AmbiguousId(QueryError):
    """The prefix fits more than one session or run."""

    default_hint = "give a few more characters of the id"


class DeliveryError(ObserveError):
    """Runs cannot be delivered to the server, or not now; they stay in the file."""

    exit_code = 7


class UploaderRunning(DeliveryError):
    """Another process delivers the runs of this file."""

    exit_code = 3
    default_hint = "see what it does with: waxlocal sync status"


class ServerUnreachable(DeliveryError):
    """No answer came, or none that a Waxell server gives."""

    default_hint = "check the address and the network; nothing is lost, try again later"


class ServerRefused(DeliveryError):
    """The server does not accept the key, or does not allow what was asked."""

    default_hint = "check the key: it must belong to this server"
