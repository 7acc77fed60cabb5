"""Case 10: throughput and latency as partitions and connections become many."""

import contextlib

import clients
import load
from session import connections, measured

PARTITIONS = [1, 10, 100, 1000, 10_000]
CONNECTIONS = [1, 10, 100, 1000, 5000]
KINDS = (("partitions", PARTITIONS), ("connections", CONNECTIONS))
SHARE_MIN = 0.5  # what the far end is to have of the best throughput
WORK = load.Load(500_000, 1000, 16 << 10)
RATE = 1000
SECONDS = 4
TIMES = 3
# A run that takes longer is not repeated.
LONG_S = 60
LOADED_PARTITIONS = 6


def steps(_session):
    return len(PARTITIONS) + len(CONNECTIONS)


def run(session):
    """One round, each throughput of which is measured three times."""
    with session.all() as running:
        for count in PARTITIONS:
            session.step(f"growth: {count} partitions")
            for broker in running.values():
                by_partitions(session, broker, count)
        for count in CONNECTIONS:
            session.step(f"growth: {count} connections")
            for broker in running.values():
                by_connections(session, broker, count)


def by_partitions(session, broker, count):
    metric = f"growth/partitions/{count}"
    with made(session, metric, broker, count) as topic:
        if topic:
            throughputs(session, metric, broker, topic, 1)
            latency(session, metric, broker, topic)


def by_connections(session, broker, count):
    """The load comes over so many connections; the latencies are those of one, while the others are idle."""
    metric = f"growth/connections/{count}"
    with made(session, metric, broker, LOADED_PARTITIONS) as topic:
        if topic:
            with connections(broker, count - 1):
                latency(session, metric, broker, topic)
            throughputs(session, metric, broker, topic, count)


@contextlib.contextmanager
def made(session, metric, broker, partitions):
    """A topic for one point of a curve; `None`, and no figures, where the broker does not make it."""
    topic = session.new_topic()
    try:
        broker.topic(topic, partitions)
    except (RuntimeError, OSError) as error:
        session.fail(f"{broker.name}, {metric}", error)
        for figure in ("records_s", "p99_ms"):
            session.results.add(f"{metric}/{figure}", broker.name, None)
        yield None
        return
    yield topic
    broker.delete_topic(topic)


def throughputs(session, metric, broker, topic, connections_count):
    for _ in range(TIMES):
        seconds = throughput(session, metric, broker, topic, connections_count)
        if seconds is None or seconds > LONG_S:
            return


def throughput(session, metric, broker, topic, connections_count):
    """Its seconds; None where it failed."""
    work = WORK.scaled(session.scale)
    try:
        told, cpu_s = measured(broker, lambda: clients.raw_produce(broker, topic, work, connections_count))
    except RuntimeError as error:
        session.fail(f"{broker.name}, {metric}", error)
        session.results.add(f"{metric}/records_s", broker.name, None)
        return None
    session.results.add_run(metric, broker.name, told, cpu_s)
    session.say(f"  {broker.name}: {told['records_s']:,.0f}/s")
    return told["seconds"]


def latency(session, metric, broker, topic):
    try:
        told = clients.latency(broker, topic, RATE, max(2, SECONDS * session.scale))
    except RuntimeError as error:
        session.fail(f"{broker.name}, {metric}", error)
        session.results.add(f"{metric}/p99_ms", broker.name, None)
        return
    for key in ("p50", "p99"):
        session.results.add(f"{metric}/{key}_ms", broker.name, told["latency_ms"][key])
    session.say(f"  {broker.name}: p50 {told['latency_ms']['p50']} ms, p99 {told['latency_ms']['p99']} ms")
