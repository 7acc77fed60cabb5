"""One process that is measured or driven: its CPU time and memory as /proc has them, its end within a bound."""

import os
import signal
import subprocess
import time
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
END_LIMIT_S = 60


def cpu_s(pid):
    """Seconds of CPU that the process has had so far, in user and kernel mode."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def rss_bytes(pid):
    """Resident memory now."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(f"process {pid} has ended")


def begun(pid):
    """When the process began, on the monotonic clock; to a tick (10 ms). Assumes a machine that was not suspended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return time.monotonic() - (time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / TICKS_PER_S)


def is_running(pid):
    """False too for one that has ended and is not waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def end(pid, with_signal=signal.SIGTERM):
    """Signals the process and waits until it is gone; SIGKILL after a while."""
    deadline = time.monotonic() + END_LIMIT_S
    os.kill(pid, with_signal)
    while is_running(pid):
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def run(command, limit_s, **options):
    """What the command prints; an error with all that it said unless it succeeds in time."""
    command = [str(part) for part in command]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, timeout=limit_s, check=False, **options)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"{' '.join(command)}: not done within {limit_s} s") from None
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout
