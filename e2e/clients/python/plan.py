"""What every suite does, and how it is checked: README.md beside this folder tells it as a story.

A suite is a program `SUITE BOOTSTRAP PREFIX before|during|after`. Record `i` of partition `p` always has the same key,
value, header and timestamp, and is always sent as the `i`-th of its partition; so what comes back can be compared
offset by offset, in another process and after a restart as well.
"""
import faulthandler
import queue
import select
import subprocess
import sys
import threading
import time
import traceback

PARTITIONS = 3
ROUND = 4           # records a partition gets with each acks and codec
LIMIT_S = 60        # for one wait; a broker on localhost answers in milliseconds, a rebalance in seconds
PAUSE_S = 0.02      # between two attempts
SUITE_LIMIT_S = 280  # the harness gives 300


class Failed(Exception):
    """A promise that did not hold; the text is all that the user sees."""


def ensure(condition, message):
    if not condition:
        raise Failed(message)


def equal(what, found, wanted):
    ensure(found == wanted, f"{what}: found {found!r}, wanted {wanted!r}")


def until(what, attempt, limit_s=LIMIT_S):
    """Repeats `attempt` until it returns something true, and returns that."""
    deadline = time.monotonic() + limit_s
    while True:
        found = attempt()
        if found:
            return found
        ensure(time.monotonic() < deadline, f"{what}: not within {limit_s} s")
        time.sleep(PAUSE_S)


class Plan:
    """Names and records of one run; `sent` counts what each partition holds."""

    def __init__(self, bootstrap, prefix):
        self.bootstrap = bootstrap
        self.topic = prefix
        self.group = f"{prefix}-group"
        self.first_ms = int(time.time() * 1000)
        self.sent = 0

    def named(self, suffix):
        return f"{self.topic}-{suffix}"

    def round(self, count=ROUND):
        """The next `count` records of each partition, as (partition, index); counts them as sent."""
        first, self.sent = self.sent, self.sent + count
        return [(p, i) for i in range(first, self.sent) for p in range(PARTITIONS)]

    @staticmethod
    def key(partition, index):
        return b"k-%d-%d" % (partition, index)

    @staticmethod
    def value(partition, index):
        """Long and repetitive enough that every codec has something to do."""
        return b"v-%d-%d " % (partition, index) * 20

    def timestamp_ms(self, index):
        return self.first_ms + index

    @staticmethod
    def header(partition, index):
        return "place", b"%d/%d" % (partition, index)


class Seen:
    """Records that came back. Refuses one that is not what the plan says, or that comes twice."""

    def __init__(self, what):
        self.what = what
        self.places = set()

    def add(self, partition, offset, value, key=None, header=None):
        place = (partition, offset)
        ensure(place not in self.places, f"{self.what}: partition {partition} offset {offset} came twice")
        equal(f"{self.what}: value at partition {partition} offset {offset}", value, Plan.value(partition, offset))
        if key is not None:
            equal(f"{self.what}: key at partition {partition} offset {offset}", key, Plan.key(partition, offset))
        if header is not None:
            equal(f"{self.what}: header at partition {partition} offset {offset}", header,
                  Plan.header(partition, offset))
        self.places.add(place)

    def holds(self, first, end):
        """Whether every partition's offsets from `first` up to, not including, `end` have been seen."""
        return len(self.places) >= (end - first) * PARTITIONS

    def check(self, first, end):
        wanted = {(p, i) for p in range(PARTITIONS) for i in range(first, end)}
        missing, extra = sorted(wanted - self.places), sorted(self.places - wanted)
        ensure(not missing, f"{self.what}: {len(missing)} records missing, the first at (partition, offset) "
                            f"{missing[:1]}; saw {len(self.places)}")
        ensure(not extra, f"{self.what}: {len(extra)} records that belong elsewhere, the first at "
                          f"(partition, offset) {extra[:1]}")


class Lines:
    """A program that lives on and prints, and what it has printed since one asked last."""

    def __init__(self, arguments):
        self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.printed = queue.SimpleQueue()
        threading.Thread(target=self.follow, daemon=True).start()

    def follow(self):
        for line in self.process.stdout:
            self.printed.put(line)

    def take(self):
        while not self.printed.empty():
            yield self.printed.get()

    def stop(self):
        self.process.terminate()
        self.process.wait(LIMIT_S)


class Stream:
    """What one consumer gets while the broker restarts. A record may come again, but none before an earlier one of its
    partition has come; of an idempotent producer (`once`) each is stored once as well, at the offset of its index.
    """

    def __init__(self, once):
        self.what = "read across the restart"
        self.once = once
        self.next = [0] * PARTITIONS

    def add(self, partition, offset, value, key=None, header=None):
        index = int(value.split()[0].split(b"-")[2])
        where = f"{self.what}: partition {partition} offset {offset}"
        equal(f"{where}: value", value, Plan.value(partition, index))
        if key is not None:
            equal(f"{where}: key", key, Plan.key(partition, index))
        if header is not None:
            equal(f"{where}: header", header, Plan.header(partition, index))
        ensure(index <= self.next[partition], f"{where}: found record {index} before record {self.next[partition]}")
        ensure(offset == index or not self.once, f"{where}: found record {index}, which was sent once")
        self.next[partition] = max(self.next[partition], index + 1)

    def holds(self, end):
        return min(self.next) >= end


def live(plan, send, take, once=True):
    """The phase `during`: `send` sends a round of the plan's records, `take` adds to a Stream what there is by now.

    Both use the same client before and after the broker's restart, which the harness does when it reads `ready`; the
    end of stdin tells that it is done. Until then the consumer goes on asking, as it would in a program that knows
    nothing.
    """
    seen = Stream(once)
    for when in ("before", "after"):
        send()
        until(f"the records sent {when} the restart", lambda: take(seen) or seen.holds(plan.sent))
        if when == "before":
            print("ready", flush=True)
            while not select.select([sys.stdin], [], [], PAUSE_S)[0]:
                take(seen)


def halves(assignments):
    """Whether two members share the partitions: all of them, none twice, nobody idle."""
    one, two = assignments
    return one and two and not set(one) & set(two) and len(set(one) | set(two)) == PARTITIONS


def run(before, during, after):
    """Runs the phase that the command line asks for; one line on stderr and exit status 1 if it fails."""
    phases = {"before": before, "during": during, "after": after}
    if len(sys.argv) != 4 or sys.argv[3] not in phases:
        sys.exit(f"usage: {sys.argv[0]} BOOTSTRAP PREFIX {'|'.join(phases)}")
    faulthandler.dump_traceback_later(SUITE_LIMIT_S, exit=True)
    bootstrap, prefix, phase = sys.argv[1:]
    try:
        phases[phase](Plan(bootstrap, f"{prefix}-during" if phase == "during" else prefix))
    except Exception as error:  # whatever the client raised is the finding
        if not isinstance(error, Failed):
            traceback.print_exc()
        step = traceback.extract_tb(error.__traceback__)
        here = [frame.name for frame in step if frame.filename == sys.argv[0] or "suite" in frame.filename]
        print(f"FAILED {phase} in {' > '.join(here)}: {type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(1)
    print(f"{phase}: ok")
