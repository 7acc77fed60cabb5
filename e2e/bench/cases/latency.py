"""Case 5: from producer to consumer at a fixed rate, with acks=all; and the same where each batch is synced."""

import clients
from session import end_of, measured

RATE = 5000
SECONDS = 10
# Kafka does not keep up where it syncs each batch: what is left over is waited for, so this one is short.
SECONDS_SYNCED = 5
SETTINGS = [("plain", (), SECONDS), ("synced", ("flush.messages=1",), SECONDS_SYNCED)]


def steps(session):
    return session.rounds * len(SETTINGS)


def run(session):
    """Records a second of 1 KiB; the first second of each is left out of the latencies."""
    with session.all() as running:
        for broker in running.values():
            topic = session.new_topic()
            broker.topic(topic, 1)
            clients.latency(broker, topic, RATE, max(2, SECONDS * session.scale))
        for index in range(session.rounds):
            for name, configs, seconds in SETTINGS:
                session.step(f"latency, round {index + 1} of {session.rounds}: {name}")
                for kind in session.order(index):
                    one(session, running[kind], name, configs, max(3, seconds * session.scale))


def one(session, broker, name, configs, seconds):
    results = session.results
    metric = f"latency/{name}"
    if results.figures.get(f"{metric}/p50_ms", {}).get(broker.name) == [None]:
        return  # it did not keep up, and would not another time
    topic = session.new_topic()
    broker.topic(topic, 1, configs)
    try:
        told, cpu_s = measured(broker, lambda: clients.latency(broker, topic, RATE, seconds))
    except RuntimeError as error:
        session.say(f"  {broker.name} did not keep up: {end_of(error)}")
        results.add(f"{metric}/p50_ms", broker.name, None)
        return
    for key, quantile in (("p50", "p50"), ("p99", "p99"), ("p99.9", "p999")):
        results.add(f"{metric}/{quantile}_ms", broker.name, told["latency_ms"][key])
    results.add(f"{metric}/cores", broker.name, cpu_s / told["seconds"])
    session.say(f"  {broker.name}: {told['latency_ms']}")
