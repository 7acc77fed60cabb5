"""kcat: -L, -P with every acks and codec, -C by partition from every kind of offset, -G balanced, -Q by time.

It has no admin client: topics appear by producing to them. All records of one call have the same headers.
"""
import json
import re
import subprocess
import threading

from plan import LIMIT_S, PARTITIONS, ROUND, Lines, Seen, ensure, equal, halves, live, run, until

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
ACKS = ["0", "1", "all"]
HALF = len(CODECS) * ROUND  # the records of the first acks
HEADER = "suite=kcat"


def before(plan):
    produce(plan, ACKS[0], CODECS)
    list_topics(plan)
    read_by_group(plan, 0)
    for acks in ACKS[1:]:
        produce(plan, acks, CODECS)
    produce(plan, "all", ["lz4"], "enable.idempotence=true")
    read_by_partition(plan)
    read_from_offsets(plan)
    for strategy in ("range", "roundrobin"):
        pair(plan, strategy)


def during(plan):
    """The kcat that reads for a group lives on; one that sends keeps small records to itself until its input ends.
    With -E an outage is told, and no reason to exit.
    """
    reader = Lines(["kcat", "-b", plan.bootstrap, "-E", "-q", "-u", "-X", "auto.offset.reset=earliest", *FORMAT,
                    "-G", plan.group, plan.topic])

    def take(seen):
        for partition, offset, key, value, _ in records("".join(reader.take())):
            seen.add(partition, offset, value, key)

    try:
        live(plan, lambda: produce(plan, "all", ["lz4"]), take)
    finally:
        reader.stop()


def after(plan):
    plan.sent = ends(plan)[0]
    read_by_group(plan, HALF)
    resumed = plan.sent
    produce(plan, "all", ["zstd"])
    read_by_group(plan, resumed)


def kcat(plan, *arguments, text=None):
    done = subprocess.run(["kcat", "-b", plan.bootstrap, "-q", *arguments], input=text, capture_output=True,
                          timeout=LIMIT_S, check=False)
    ensure(done.returncode == 0, f"kcat {' '.join(arguments)}: exit status {done.returncode}: {done.stderr.decode()}")
    return done.stdout.decode()


def produce(plan, acks, codecs, *settings):
    for codec in codecs:
        places = plan.round()
        for partition in range(PARTITIONS):
            lines = [b"%s|%s" % (plan.key(p, i), plan.value(p, i)) for p, i in places if p == partition]
            options = [option for setting in settings for option in ("-X", setting)]
            kcat(plan, "-P", "-t", plan.topic, "-p", str(partition), "-K", "|", "-z", codec, "-H", HEADER,
                 "-X", f"acks={acks}", *options, text=b"\n".join(lines) + b"\n")
        # acks=0 tells nothing, and the next kcat has another connection: wait until all are in the log
        until(f"{plan.sent} records in each partition", lambda: ends(plan) == [plan.sent] * PARTITIONS)


def query(plan, time):
    """Offsets at a time, or at -1 for the end and -2 for the beginning."""
    asked = [option for p in range(PARTITIONS) for option in ("-t", f"{plan.topic}:{p}:{time}")]
    lines = kcat(plan, "-Q", *asked).splitlines()
    return [int(line.split()[-1]) for line in sorted(lines)]


def ends(plan):
    return query(plan, -1)


def list_topics(plan):
    found = json.loads(kcat(plan, "-L", "-J"))
    equal("brokers", [broker["name"] for broker in found["brokers"]], [plan.bootstrap])
    topics = {topic["topic"]: topic["partitions"] for topic in found["topics"]}
    equal("partitions of the topic", sorted(one["partition"] for one in topics[plan.topic]), list(range(PARTITIONS)))
    text = kcat(plan, "-L", "-t", plan.topic)
    ensure(f'topic "{plan.topic}" with {PARTITIONS} partitions' in text, f"kcat -L answers {text!r}")


FORMAT = ("-f", "%p|%o|%k|%s|%h|%T\\n")


def records(text):
    for line in text.splitlines():
        partition, offset, key, value, headers, timestamp = line.split("|")
        equal("headers", headers, HEADER)
        yield int(partition), int(offset), key.encode(), value.encode(), int(timestamp)


def check(what, text, first, end):
    seen = Seen(what)
    for partition, offset, key, value, _ in records(text):
        seen.add(partition, offset, value, key)
    seen.check(first, end)


def read_by_group(plan, first):
    """Reads what the group has not had; on leaving, kcat commits how far it came."""
    count = (plan.sent - first) * PARTITIONS
    text = kcat(plan, *FORMAT, "-c", str(count), "-X", "auto.offset.reset=earliest",
                "-G", plan.group, plan.topic)
    check(f"read by group from {first}", text, first, plan.sent)


def read_by_partition(plan):
    check("read from the beginning",
          kcat(plan, "-C", "-t", plan.topic, "-o", "beginning", "-e", *FORMAT), 0, plan.sent)


def read_from_offsets(plan):
    def places(*options):
        found = kcat(plan, "-C", "-t", plan.topic, "-p", "1", "-e", *options, *FORMAT)
        return [(offset, timestamp) for _, offset, _, _, timestamp in records(found)]
    whole = places("-o", "beginning")
    equal("from offset 17", places("-o", "17", "-c", "5"), whole[17:22])
    equal("the last three", places("-o", "-3"), whole[-3:])
    equal("behind the end", places("-o", "end"), [])
    instant = whole[23][1]
    wanted = next(offset for offset, timestamp in whole if timestamp >= instant)
    equal("offset by time", query(plan, instant)[1], wanted)
    equal("from a time on", places("-o", f"s@{instant}"), whole[wanted:])


class Member:
    """A balanced consumer that runs; `owned` follows what it tells on stderr."""

    def __init__(self, plan, group, strategy):
        self.owned = []
        self.process = subprocess.Popen(
            ["kcat", "-b", plan.bootstrap, "-X", "auto.offset.reset=earliest", "-X", "heartbeat.interval.ms=500",
             "-X", f"partition.assignment.strategy={strategy}", "-G", group, plan.topic],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        threading.Thread(target=self.follow, daemon=True).start()

    def follow(self):
        for line in self.process.stderr:
            if "assigned: " in line:
                self.owned = [int(number) for number in re.findall(r" \[(\d+)\]", line)]
            elif "revoked: " in line:
                self.owned = []

    def stop(self):
        self.process.terminate()
        self.process.wait(LIMIT_S)


def pair(plan, strategy):
    """A second member joins, both own a part; it leaves, and the first owns all again."""
    group = plan.named(strategy)
    one = Member(plan, group, strategy)
    two = Member(plan, group, strategy)
    try:
        until(f"{strategy}: two members share the partitions", lambda: halves([one.owned, two.owned]))
        two.stop()
        until(f"{strategy}: the remaining member owns all", lambda: len(one.owned) == PARTITIONS)
    finally:
        one.stop()
        two.stop()


if __name__ == "__main__":
    run(before, during, after)
