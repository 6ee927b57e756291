"""Uploads a file in a process of its own; `benchmarks.sync` starts this.

python -m benchmarks.sync_child DB URL single|bulk SECONDS

Prints one line of JSON when all is delivered or the seconds are over; 0 seconds: no end.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path

from waxlocal.settings.secret import Secret
from waxlocal.settings.upload_settings import UploadSettings
from waxlocal_daemon.log import Log
from waxlocal_daemon.uploader import Uploader


def main() -> None:
    path, url, way, seconds = Path(sys.argv[1]), sys.argv[2], sys.argv[3], float(sys.argv[4])
    os.nice(10)  # as the daemon does
    settings = UploadSettings(url, Secret("wax_sk_benchmark"))._replace(bulk=way == "bulk")
    uploader = Uploader(path, settings, log=Log())
    stop = threading.Event()
    if seconds:
        threading.Timer(seconds, stop.set).start()
    processor, began = time.process_time(), time.perf_counter()
    while not stop.is_set():
        stop.wait(min(uploader.run(stop), 0.1))
        if not seconds and not uploader.progress().pending:
            break
    took, used = time.perf_counter() - began, time.process_time() - processor
    done = uploader.progress()
    uploader.close()
    report = {"runs": done.delivered, "seconds": took, "cpu": used, "rss_mb": _peak_mb()}
    print(json.dumps({**report, "failed": sum(done.failures.values())}), flush=True)
    os._exit(0)  # a timer may still run


def _peak_mb() -> float:
    """Return the most memory that this process has used; `ru_maxrss` would count its parent's."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return float("nan")


if __name__ == "__main__":
    main()
