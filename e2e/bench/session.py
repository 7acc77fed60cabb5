"""A run of cases: its folder, its brokers in turn, and what it tells a person meanwhile."""

import contextlib
import mmap
import os
import sys
import time
from pathlib import Path

import brokers
import wire

# Both JITs need about so much before they have compiled what a produce runs through.
WARM_UP_RECORDS = 300_000
# What is shown of a failed program's output.
FAILURE_LINES = 6
# Memory that is asked for and given back before each measurement; a run fills about as much of the page cache.
WARM_BYTES = 2 << 30


class Session:
    """What every case is given."""

    def __init__(self, results, folder, rounds, scale):
        self.results = results
        self.folder = Path(folder)
        self.rounds = rounds
        self.scale = scale
        self.before = 0  # rounds of the case at hand that an earlier run has measured
        self.topics = 0
        self.begun = time.monotonic()
        self.steps_done = 0
        self.steps = 0
        self.failures = 0

    def say(self, text):
        """A line of progress, with the time so far and a guess of what is left."""
        passed = time.monotonic() - self.begun
        left = ""
        if self.steps_done:
            left = f", about {passed / self.steps_done * (self.steps - self.steps_done):.0f} s left"
        print(f"[{passed:4.0f} s{left}] {text}", file=sys.stderr, flush=True)

    def step(self, text):
        self.say(text)
        self.steps_done += 1

    def fail(self, what, error):
        """Tells of a failure, which the run's exit status will tell again."""
        self.failures += 1
        self.say(f"  {what} failed: {end_of(error)}")

    def order(self, index):
        """The brokers of round `index`: A-B, then B-A, and so on."""
        kinds = brokers.compared()
        return kinds if (self.before + index) % 2 == 0 else kinds[::-1]

    def new_topic(self):
        self.topics += 1
        return f"bench-{self.topics}"

    @contextlib.contextmanager
    def one(self, kind):
        """A broker that runs alone."""
        settle()
        with kind(self.folder) as broker:
            yield broker

    @contextlib.contextmanager
    def all(self):
        """Every broker at once, each warm; only one of them is given work at a time."""
        settle()
        with contextlib.ExitStack() as stack:
            running = {kind: stack.enter_context(kind(self.folder)) for kind in brokers.compared()}
            yield running


def end_of(error):
    """The last lines of what a failed program has said; the first is its command."""
    said = [line for line in str(error).splitlines() if line.strip()][-FAILURE_LINES:]
    return "\n    ".join(said)


def attempt(session, broker, metric, work):
    """Runs a client and keeps what it tells under the metric; one that fails is told, and leaves no figure."""
    try:
        told, cpu_s = measured(broker, work)
    except RuntimeError as error:
        session.fail(f"{broker.name}, {metric}", error)
        return
    session.results.add_run(metric, broker.name, told, cpu_s)
    session.say(f"  {broker.name}, {metric}: {told['records_s']:,.0f}/s")


def settle():
    """What was written or deleted before goes to disk now, and not during the next measurement."""
    os.sync()


def warm_memory():
    """A virtual machine's host takes back what lies free, and a page that it has to give again costs four times as
    much: whoever is measured after a pause would pay for it.
    """
    populate = getattr(mmap, "MAP_POPULATE", 0)
    free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    mmap.mmap(-1, min(WARM_BYTES, free // 2), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | populate).close()


def measured(broker, work):
    """What the work tells, and the CPU seconds that the broker had for it."""
    settle()
    warm_memory()
    before = broker.cpu_s()
    told = work()
    return told, broker.cpu_s() - before


@contextlib.contextmanager
def connections(broker, count):
    """So many open connections; each has been answered once."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(wire.Connection(broker.bootstrap)).api_versions()
        yield
