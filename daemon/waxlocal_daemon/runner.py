"""The daemon: uploads the runs that are due, then waits for more, until a signal stops it."""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from waxlocal.clock import SYSTEM_CLOCK, Clock
from waxlocal.delivery.interruption import interrupt_gone
from waxlocal.delivery.target import TargetConnection
from waxlocal.errors import (
    ConfigurationError,
    FileDamaged,
    FileMissing,
    FileUnusable,
    NotADatabase,
    StorageError,
    UploaderRunning,
)
from waxlocal.maintenance.side_files import take_in_all
from waxlocal.maintenance.upkeep import index_words, keep_up
from waxlocal.settings.upload_settings import UploadSettings
from waxlocal.storage.connection import log_keeper, reader
from waxlocal.storage.paths import beside, mounted_alone, real_path
from waxlocal_daemon.error_location import location_of
from waxlocal_daemon.file_uploader import Delivery, FileUploader, Make, make_uploader
from waxlocal_daemon.lock import UploaderLock, exclusive, lock_path
from waxlocal_daemon.log import Log
from waxlocal_daemon.metrics import MetricsFile, Scrape
from waxlocal_daemon.metrics_server import MetricsServer, address_of
from waxlocal_daemon.network import check_network
from waxlocal_daemon.notify import Notifier
from waxlocal_daemon.price_updates import price_apart
from waxlocal_daemon.signals import RELOAD, Signals
from waxlocal_daemon.uploader import Progress
from waxlocal_daemon.watch import Watch

__all__ = ["Daemon", "Options", "check_options", "refuse_unusable", "run_daemon"]

COMMAND = "waxlocal daemon run"
# The most seconds before the next try after a failure on this side.
LAST_RETRY_S = 60.0
# After this long without progress in the loop, /healthz answers 503.
STALLED_S = 60.0


class Options(NamedTuple):
    """How the daemon runs.

    `metrics`: the address to serve metrics on; empty for none. `nice`: added to the nice value.
    `stop_within`: the process exits at most this many seconds after the signal, even if something
    hangs; the uploader uses at most 8 of them. `look_again`: seconds between two checks for changes
    that no commit announces: recording processes that were killed and, while the server refuses the
    key, a new key in the settings. `first_retry`: seconds before the next try after a failure on
    this side; doubled with each further one.
    """

    metrics: str = ""
    metrics_file: Path | None = None
    nice: int = 10
    stop_within: float = 9.5
    look_again: float = 30.0
    first_retry: float = 2.0


def run_daemon(
    path: Path,
    load: Callable[[], UploadSettings],
    options: Options,
    *,
    log: Log,
    make: Make = make_uploader,
    environ: Mapping[str, str] = os.environ,
) -> None:
    """Upload the runs of a file until SIGTERM or SIGINT; call it in the main thread.

    `load` reads the settings, at the start and after SIGHUP. The file need not exist yet. Raises
    `ConfigurationError`, `UploaderRunning`, `FileUnusable`.
    """
    check_options(options, path)
    settings = _usable(load)
    refuse_unusable(path)
    with ExitStack() as stack:
        lock = stack.enter_context(exclusive(path, command=COMMAND))
        if options.nice and sys.platform != "win32":
            os.nice(options.nice)
        notifier = Notifier(environ)
        stack.callback(notifier.close)
        daemon = Daemon(path, settings, load, options, lock, log=log, notifier=notifier, make=make)
        stack.enter_context(Signals(daemon.signalled))
        stack.callback(daemon.close)
        daemon.run()


def _usable(load: Callable[[], UploadSettings]) -> UploadSettings:
    """Read the settings; raises `ConfigurationError` also for certificates and proxies."""
    settings = load()
    check_network(settings)
    return settings


def check_options(options: Options, db: Path) -> None:
    """Raise `ConfigurationError` for an option that is wrong, whatever else is missing."""
    if options.metrics:
        address_of(options.metrics)
    if options.metrics_file is not None:
        _check_metrics_file(options.metrics_file, db)


def refuse_unusable(path: Path) -> None:
    """Raise `FileUnusable` before a lock file is made beside a file that is not waxlocal's."""
    try:
        with reader(path):
            pass
    except FileDamaged:
        return  # the loop says it, and goes on once the file was recovered
    except FileUnusable:
        raise
    except StorageError:
        return  # it may appear, or be unlocked: the loop waits for that


def _check_metrics_file(given: Path, db: Path) -> None:
    """Raise `ConfigurationError` if the metrics cannot be written to this path."""
    if given.is_dir():
        raise ConfigurationError(f"{given} is a directory", hint="choose a file that ends in .prom")
    ours = {lock_path(db), *(beside(db, end) for end in ("", "-wal", "-shm", "-journal"))}
    if real_path(given) in ours:
        raise ConfigurationError(
            f"{given} belongs to the database", hint="choose another --metrics-file"
        )


class Daemon:
    """One file and its uploader. Only `signalled` may be called from another thread."""

    def __init__(
        self,
        path: Path,
        settings: UploadSettings,
        load: Callable[[], UploadSettings],
        options: Options,
        lock: UploaderLock,
        *,
        log: Log,
        notifier: Notifier,
        make: Make = make_uploader,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._path = path
        self._settings = settings
        self._load = load
        self._options = options
        self._lock = lock
        self._log = log
        self._notifier = notifier
        self._clock = clock
        self._scrape = Scrape(path, settings.api_url, clock=clock)
        self._file: MetricsFile | None = None
        # Ends uploads and waits; the next two say why.
        self._interrupt = threading.Event()
        self._stopping = self._reload = False
        # A reload asks for an attempt now.
        self._at_once = False
        self._ended = threading.Event()
        self._uploader = FileUploader(path, log, make, self._on_progress)
        self._told = 0
        self._failures = 0
        self._beat_at = self._read_at = self._now()

    def close(self) -> None:
        """Close the connections to the server and the file."""
        self._ended.set()
        self._drop_uploader()

    def signalled(self, taken: int) -> None:
        """Act on a signal; called by the thread that receives them."""
        if taken == RELOAD:
            self._reload = True
        elif self._stopping and taken == signal.SIGINT:
            os._exit(130)  # Ctrl-C again: the user does not want to wait
        elif not self._stopping:
            self._stopping = True
            self._notifier.stopping()
            self._log.event("stopping", signal=signal.Signals(taken).name)
            threading.Thread(target=self._end_in_time, name="waxlocal-end", daemon=True).start()
        self._interrupt.set()

    def _end_in_time(self) -> None:
        if not self._ended.wait(self._options.stop_within):
            # Requests in flight were stored before they were sent; they are sent again next time.
            self._log.event("stop_forced", level="warning", seconds=self._options.stop_within)
            os._exit(0)

    # -- the loop -------------------------------------------------------------------------------

    def run(self) -> None:
        """Upload and wait until a signal stops it."""
        metrics, metrics_file, *_ = self._options
        with ExitStack() as stack:
            listening = None
            if metrics:
                listening = MetricsServer(address_of(metrics), self._scrape.text, self._is_alive)
                stack.callback(listening.close)
            if metrics_file is not None:
                self._file = MetricsFile(metrics_file, self._scrape.text, self._log)
            stack.callback(log_keeper(self._path).close)
            watch = stack.enter_context(
                Watch(self._path, self._interrupt, log=self._log, on_wait=self._alive)
            )
            self._say_started(listening)
            self._notifier.ready()
            while self._go_on():
                watch.poll = min(self._settings.poll, self._notifier.interval or float("inf"))
                self._sleep(watch, self._cycle())
        if self._file is not None:
            self._file.write()
        self._log.event("stopped", delivered=self._uploader.delivered)

    def _go_on(self) -> bool:
        """Act on the signals that came; return whether to continue."""
        # Clear the event before checking the reasons, so that a signal in between is not lost.
        self._interrupt.clear()
        if self._stopping:
            return False
        if self._reload:
            self._reload = False
            self._notifier.reloading()
            self._reread(asked=True)
            self._at_once = True
            self._notifier.ready()
        return True

    def _cycle(self) -> float:
        """Upload what is due; return the seconds until something may be due."""
        try:
            rest = self._deliver()
        except Exception as error:
            return self._met(error)
        self._failures = 0
        return rest

    def _met(self, error: Exception) -> float:
        """Act on an error; return the seconds until the next try. Raises what ends the daemon."""
        if isinstance(error, FileMissing):
            self._drop_uploader()
            self._log.once("waiting_for_file", "info", key=self._path, path=self._path)
            self._notifier.status(f"waiting for {self._path}")
            return self._options.look_again
        if isinstance(error, FileUnusable) and not isinstance(error, NotADatabase):
            raise error
        if isinstance(error, StorageError):
            return self._failed("file_trouble", error, reason=error, hint=error.hint)
        if isinstance(error, ConfigurationError):  # certificates that were there at the start
            return self._failed("settings_trouble", error, reason=error, hint=error.hint)
        if isinstance(error, UploaderRunning):  # a file appeared later, under another name
            return self._failed("file_taken", error, reason=error)
        if os.environ.get("WAXLOCAL_DEBUG"):
            raise error
        # A bug; the next cycle may not meet it.
        return self._failed("failed", error, error=type(error).__name__, at=location_of(error))

    def _deliver(self) -> float:
        self._drop_if_replaced()
        self._lock.follow()
        with reader(self._path):  # the uploader would create a missing file
            pass
        if self._log.over("waiting_for_file", key=self._path):
            self._log.event("file_found", path=self._path)
        self._reread_if_refused()
        keep_up(self._path)
        interrupt_gone(self._path, self._interrupt)
        price_apart(self._path)
        self._alive()
        self._drop_if_replaced()  # all this took a while
        if self._at_once:
            self._at_once = False
            with TargetConnection(self._path, self._settings.api_url) as target:
                target.forget_waits()
        uploader = self._uploader.of_file(self._settings)
        rest = uploader.run(self._interrupt)
        self._say_state(uploader)
        self._index_words()
        return min(rest, self._options.look_again) if uploader.refused else rest

    def _index_words(self) -> None:
        """Add to the search index; the upload does not fail with it."""
        try:
            index_words(self._path)
        except Exception as error:
            said = {"error": type(error).__name__, "at": location_of(error)}
            if isinstance(error, StorageError):
                said = {"reason": str(error), "hint": error.hint}
            self._log.once("not_indexed", key=type(error).__name__, **said)

    def _sleep(self, watch: Watch, rest: float) -> None:
        deadline = self._now() + rest
        while not self._interrupt.is_set() and (left := deadline - self._now()) > 0:
            if watch.wait(min(left, self._options.look_again)):
                return
            try:
                if take_in_all(self._path) or interrupt_gone(self._path, self._interrupt):
                    return
            except FileMissing:
                return  # the next cycle logs it
            except StorageError:
                continue
            except Exception as error:
                self._met(error)
                return

    def _failed(self, name: str, error: Exception, /, **fields: object) -> float:
        """Log a failure that is not the server's; return the seconds until the next try."""
        self._drop_uploader()
        self._failures += 1
        first = self._options.first_retry
        rest = min(first * 2.0 ** min(self._failures - 1, 10), LAST_RETRY_S)
        self._log.once(name, "error", key=type(error).__name__, **fields, retry_seconds=rest)
        of_file = isinstance(error, StorageError | UploaderRunning)
        self._notifier.status(f"{name}: {error if of_file else fields}")
        self._scrape.count_failure("file" if of_file else "internal")
        # `Watch.wait` returns with the next commit of any process, which would be too soon.
        self._alive()
        self._interrupt.wait(first)
        return rest

    # -- the uploader ---------------------------------------------------------------------------

    def _drop_if_replaced(self) -> None:
        if self._uploader.replaced():
            self._drop_uploader()

    def _drop_uploader(self) -> None:
        self._scrape.failures(None)
        self._uploader.drop()

    def _on_progress(self, progress: Progress) -> None:
        self._scrape.failures(progress.failures)
        self._alive()
        self._notifier.status(f"{progress.pending:,} pending, {progress.parked:,} parked")
        if self._uploader.replaced():
            self._interrupt.set()  # it would go on delivering a file that no longer has a name

    # -- settings -------------------------------------------------------------------------------

    def _reread_if_refused(self) -> None:
        """Read the settings again if the server refuses the key: there may be a new one."""
        if self._uploader.refused and self._now() - self._read_at >= self._options.look_again:
            self._reread(asked=False)

    def _reread(self, *, asked: bool) -> None:
        self._read_at = self._now()
        try:
            new = _usable(self._load)
        except ConfigurationError as error:
            # Keep the present settings: a half-written file does not stop the daemon.
            self._log.once("reload_failed", "error", reason=error, hint=error.hint)
            return
        changed = [
            name
            for name, before, after in zip(new._fields, self._settings, new, strict=True)
            if before != after
        ]
        if asked or changed:
            self._settings = new
            self._scrape.url = new.api_url
            self._drop_uploader()  # SIGHUP asks for a new attempt, even with the same settings
            self._log.event("reloaded", changed=",".join(changed) or "nothing", server=new.api_url)

    # -- telling --------------------------------------------------------------------------------

    def _say_started(self, listening: MetricsServer | None) -> None:
        self._log.event(
            "started",
            pid=os.getpid(),
            file=self._path,
            server=self._settings.api_url,
            sqlite=sqlite3.sqlite_version,
            metrics_port=listening.port if listening else None,
        )
        for note in filter(None, (mounted_alone(self._path), *self._settings.notes)):
            self._log.event("note", level="warning", text=note)

    def _say_state(self, uploader: Delivery) -> None:
        now, reason = self._uploader.progress, uploader.reason
        words = f"{now.pending:,} pending, {now.parked:,} parked"
        self._notifier.status(f"{words}; {reason or 'waiting for runs'}")
        total = self._uploader.delivered
        if (
            total > self._told
            and not now.pending
            and self._log.once(
                "up_to_date", "info", delivered=total - self._told, parked=now.parked
            )
        ):
            self._told = total

    def _alive(self) -> None:
        """Feed the watchdog and write the metrics file, each when it is due."""
        self._beat_at = self._now()
        self._notifier.alive()
        if self._file is not None:
            self._file.refresh()

    def _is_alive(self) -> bool:
        return self._now() - self._beat_at < STALLED_S

    def _now(self) -> float:
        return self._clock.monotonic_ns() / 1e9
