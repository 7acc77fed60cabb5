"""The page's rows: which metric, how it is written, and what the target is."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """A bound. `ratio` is ours by Kafka's, `value` ours, `floor` ours by the floor's."""

    of: str
    at_least: float | None = None
    at_most: float | None = None

    def is_met(self, figure):
        if self.at_least is not None:
            return figure >= self.at_least
        return figure <= self.at_most

    def text(self, write):
        sign, bound = ("≥", self.at_least) if self.at_least is not None else ("≤", self.at_most)
        if self.of == "value":
            return f"{sign} {write(bound)}"
        return f"{sign} {bound:g}x{' of the floor' if self.of == 'floor' else ''}"


@dataclass(frozen=True)
class Row:
    case: str
    label: str
    metric: str
    write: callable
    targets: tuple


def rate(figure):
    return f"{figure:,.0f}/s"


def speed(figure):
    return f"{figure / 1e6:,.0f} MB/s"


def seconds(figure):
    return f"{figure:.3f} s" if figure < 1 else f"{figure:.1f} s"


def cpu(figure):
    return f"{figure:.2f} s"


def milliseconds(figure):
    return f"{figure:.2f} ms"


def count(figure):
    return f"{figure:,.0f}"


def mebibytes(figure):
    return f"{figure / (1 << 20):,.1f} MiB"


def kibibytes(figure):
    return f"{figure / (1 << 10):,.1f} KiB"


def cores(figure):
    return f"{figure:.2f}"


def faster(ratio):
    return (Target("ratio", at_least=ratio),)


def cheaper(ratio, of_floor=None):
    further = (Target("floor", at_most=of_floor),) if of_floor else ()
    return (Target("ratio", at_most=ratio), *further)


def at_most(value):
    return (Target("value", at_most=value),)


# Of these the largest figure counts, and not the median.
WORST = {"failover/worst_s", "failover/lost"}
LOADS = [
    ("1", "classic-1p", "1,000,000 x 1,000 B, 1 partition", faster(3), ("librdkafka",)),
    ("1", "classic-6p", "1,000,000 x 1,000 B, 6 partitions", faster(3), ("librdkafka", "java")),
    ("2", "small-16k", "5,000,000 x 100 B, 6 partitions, 16 KiB batches", faster(3), ("librdkafka",)),
    ("2", "small-64k", "5,000,000 x 100 B, 6 partitions, 64 KiB batches",
     (*faster(1.6), Target("floor", at_least=0.75)), ("librdkafka",)),
]
CLIENT_NAMES = {"raw": "raw", "librdkafka": "librdkafka", "java": "Java"}


def write_rows():
    for case, load, text, targets, clients in LOADS:
        yield Row(case, f"produce {text}, acks=1: raw", f"throughput/{load}/produce/raw/records_s", rate, targets)
        for client in clients:
            yield Row(case, f"the same: {CLIENT_NAMES[client]}", f"throughput/{load}/produce/{client}/records_s", rate,
                      faster(1))


def read_rows():
    for _, load, text, _, clients in LOADS:
        yield Row("3", f"consume {text}, warm: raw", f"throughput/{load}/consume/raw/records_s", rate, faster(1.3))
        if load != "classic-6p":
            continue
        yield Row("3", "the same, cold: raw", f"throughput/{load}/consume-cold/raw/records_s", rate, faster(1.3))
        for client in clients:
            yield Row("3", f"the same, warm: {CLIENT_NAMES[client]}", f"throughput/{load}/consume/{client}/records_s",
                      rate, faster(1))


def cost_rows():
    for _, load, text, _, _ in LOADS:
        yield Row("4", f"broker's CPU a GiB, produce {text}", f"throughput/{load}/produce/raw/cpu_s_gib", cpu,
                  cheaper(0.25, 1.5))
        yield Row("4", "the same, consume", f"throughput/{load}/consume/raw/cpu_s_gib", cpu, cheaper(0.5, 1.5))


def latency_rows():
    text = "5,000/s x 1 KiB, acks=all"
    yield Row("5", f"end to end, {text}: p50", "latency/plain/p50_ms", milliseconds, at_most(0.2))
    yield Row("5", "the same: p99", "latency/plain/p99_ms", milliseconds, cheaper(0.1))
    yield Row("5", "the same: p99.9", "latency/plain/p999_ms", milliseconds, cheaper(0.1))
    yield Row("5", "the same: cores busy in the broker", "latency/plain/cores", cores, cheaper(0.2))
    yield Row("5", f"flush.messages=1, {text}: p50", "latency/synced/p50_ms", milliseconds, ())
    yield Row("5", "the same: p99", "latency/synced/p99_ms", milliseconds, ())


def memory_rows():
    mib = 1 << 20
    yield Row("6", "memory at rest", "memory/rest", mebibytes, at_most(15 * mib))
    yield Row("6", "memory after case 1 (raw, 1 partition)", "memory/produced", mebibytes, cheaper(0.1))
    yield Row("6", "memory of each of 1,000 connections", "memory/connection", kibibytes, at_most(8 << 10))
    yield Row("6", "memory with 10,000 partitions", "memory/partitions", mebibytes, cheaper(0.1))


def start_rows():
    yield Row("7", "start to first acknowledged record: fresh", "start/fresh_s", seconds, at_most(0.1))
    yield Row("7", "the same: 1,000 partitions", "start/partitions_s", seconds, at_most(0.2))
    yield Row("7", "the same: 1,000 partitions, after kill -9", "start/partitions-killed_s", seconds, at_most(0.4))
    yield Row("7", "the same: 11,000 partitions", "start/many_s", seconds, cheaper(0.1))
    yield Row("7", "the same: 11,000 partitions, after kill -9", "start/many-killed_s", seconds, cheaper(0.1))


def cluster_rows():
    text = "three brokers, kill -9 the leader at 1,000/s, acks=all"
    yield Row("8", f"{text}: gap", "failover/gap_s", seconds, at_most(0.4))
    yield Row("8", "the same: worst", "failover/worst_s", seconds, at_most(1))
    yield Row("8", "the same: records lost", "failover/lost", count, at_most(0))
    text = "three brokers, 1,000,000 x 1,000 B, 6 partitions, RF 3, acks=all"
    yield Row("9", f"produce, {text}: raw", "replication/classic/records_s", rate, faster(4))
    yield Row("9", "the same: brokers' CPU a GiB", "replication/classic/cpu_s_gib", cpu, cheaper(0.25))
    yield Row("6", "memory of three brokers at rest", "replication/memory", mebibytes, cheaper(0.1))
    yield Row("6", "the same, after case 9", "replication/memory-produced", mebibytes, cheaper(0.1))


def compaction_rows():
    for load, text in (("classic", "1,000,000 x 1,000 B of 100,000 keys"), ("small", "5,000,000 x 100 B of 500,000 keys")):
        yield Row("11", f"compact {text}", f"compaction/{load}/bytes_s", speed, faster(1))
        yield Row("11", "the same: broker's CPU a GiB", f"compaction/{load}/cpu_s_gib", cpu, ())
        yield Row("11", "the same: memory at the most", f"compaction/{load}/peak", mebibytes, ())


def compared_rows():
    """Cases 1 to 9, and 11."""
    return [*write_rows(), *read_rows(), *cost_rows(), *latency_rows(), *memory_rows(), *start_rows(), *cluster_rows(),
            *compaction_rows()]
