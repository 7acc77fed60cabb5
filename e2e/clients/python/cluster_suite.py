"""Apache Kafka's own tools against three brokers: topics with replicas, reassignment, elections, the quorum, log
directories, features, and the verifiable clients.

cluster-tools BOOTSTRAP PREFIX; the brokers are 1, 2 and 3. Exit status 1 and a line `FAILED` where a tool does not do
what it does with Kafka.
"""
import json
import re
import sys
import tempfile
import traceback

from kafka_tools import attempt, run_tool
from plan import Failed, ensure, equal, until

BROKERS = [1, 2, 3]
VERIFIED = 5_000
# What is moved slowly: so many bytes that a move at SLOW_BYTES_S is still under way when it is cancelled.
MOVED_RECORDS, MOVED_RECORD_BYTES = 20_000, 1_000
SLOW_BYTES_S, FAST_BYTES_S = 50_000, 50_000_000


class Tools:
    """The tools, told of the cluster."""

    def __init__(self, bootstrap, prefix):
        self.bootstrap = bootstrap
        self.prefix = prefix

    def named(self, suffix):
        return f"{self.prefix}-{suffix}"

    def run(self, name, *arguments):
        return run_tool(name, "--bootstrap-server", self.bootstrap, *[str(one) for one in arguments])

    def fails(self, name, *arguments):
        """All that a tool says which has to fail."""
        done = attempt(name, "--bootstrap-server", self.bootstrap, *[str(one) for one in arguments])
        said = done.stdout + done.stderr
        ensure(done.returncode != 0, f"{name} {' '.join(map(str, arguments))} did not fail: {said}")
        return said

    def reassign(self, plan, action, *arguments):
        """kafka-reassign-partitions with a plan of {(topic, partition): replicas}."""
        partitions = [{"topic": topic, "partition": partition, "replicas": replicas}
                      for (topic, partition), replicas in plan.items()]
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump({"version": 1, "partitions": partitions}, file)
            file.flush()
            return self.run("kafka-reassign-partitions", action, "--reassignment-json-file", file.name, *arguments)


def check(tools):
    topics(tools)
    verifiable_clients(tools)
    log_dirs(tools)
    generate(tools)
    move(tools)
    cancel(tools)
    preferred_leader(tools)
    quorum(tools)
    features(tools)


# ---------------------------------------------------------------- topics

def described(tools, topic):
    """{partition: (leader, replicas, isr)}."""
    found = {}
    for line in tools.run("kafka-topics", "--describe", "--topic", topic).splitlines():
        row = re.search(r"Partition: (\d+)\s+Leader: (\S+)\s+Replicas: (\S*)\s+Isr: (\S*)", line)
        if row:
            partition, leader, replicas, isr = row.groups()
            found[int(partition)] = leader, numbers(replicas), sorted(numbers(isr))
    return found


def numbers(text):
    return [int(one) for one in text.split(",") if one]


def replicas_of(tools, topic):
    return {partition: replicas for partition, (_, replicas, _) in described(tools, topic).items()}


def create(tools, topic, *arguments):
    tools.run("kafka-topics", "--create", "--topic", topic, *arguments)
    until(f"replicas of {topic} are in sync",
          lambda: all(sorted(replicas) == isr for _, replicas, isr in described(tools, topic).values()))


def topics(tools):
    topic = tools.named("topics")
    create(tools, topic, "--partitions", 6, "--replication-factor", 3)
    found = described(tools, topic)
    equal("partitions", sorted(found), list(range(6)))
    ensure(all(sorted(replicas) == BROKERS for _, replicas, _ in found.values()), f"replicas of 6 partitions: {found}")
    equal("partitions a broker leads", sorted(leader for leader, _, _ in found.values()), list("112233"))
    for kind in ("--under-replicated-partitions", "--unavailable-partitions", "--under-min-isr-partitions"):
        equal(f"kafka-topics {kind}", tools.run("kafka-topics", "--describe", kind).strip(), "")
    tools.run("kafka-topics", "--alter", "--topic", topic, "--partitions", 9)
    until("the added partitions", lambda: len(described(tools, topic)) == 9)
    said = tools.fails("kafka-topics", "--create", "--topic", tools.named("four"), "--replication-factor", 4)
    ensure(re.search(r"replication factor.*4|4.*replica", said, re.S | re.I),
           f"a replication factor of 4 was refused with {said!r}")
    placed = tools.named("placed")
    create(tools, placed, "--replica-assignment", "3:1,2:3,1:2")
    equal("explicit assignment", replicas_of(tools, placed), {0: [3, 1], 1: [2, 3], 2: [1, 2]})
    tools.run("kafka-topics", "--delete", "--topic", placed)


def verifiable_clients(tools):
    topic = tools.named("verified")
    create(tools, topic, "--partitions", 3, "--replication-factor", 3)
    text = tools.run("kafka-verifiable-producer", "--topic", topic, "--max-messages", VERIFIED, "--acks", -1,
                     "--throughput", 5_000)
    told = [json.loads(line) for line in text.splitlines()]
    equal("acknowledged to kafka-verifiable-producer",
          sum(one["name"] == "producer_send_success" for one in told), VERIFIED)
    text = tools.run("kafka-verifiable-consumer", "--topic", topic, "--group-id", tools.named("verified"),
                     "--max-messages", VERIFIED, "--reset-policy", "earliest")
    told = [json.loads(line) for line in text.splitlines()]
    equal("records of kafka-verifiable-consumer",
          sum(one["count"] for one in told if one["name"] == "records_consumed"), VERIFIED)


def log_dirs(tools):
    topic = tools.named("verified")
    text = tools.run("kafka-log-dirs", "--describe", "--topic-list", topic)
    answer = json.loads(text[text.index("{"):])
    equal("brokers of kafka-log-dirs", sorted(one["broker"] for one in answer["brokers"]), BROKERS)
    for broker in answer["brokers"]:
        sizes = {one["partition"]: one["size"] for directory in broker["logDirs"] for one in directory["partitions"]}
        equal(f"partitions on broker {broker['broker']}", sorted(sizes), [f"{topic}-{p}" for p in range(3)])
        ensure(sum(sizes.values()) > 0, f"sizes on broker {broker['broker']}: {sizes}")


# ---------------------------------------------------------------- reassignment

def moved_topic(tools):
    return tools.named("moved")


def generate(tools):
    topic = moved_topic(tools)
    create(tools, topic, "--replica-assignment", "1:2,1:2")
    tools.run("kafka-producer-perf-test", "--topic", topic, "--num-records", MOVED_RECORDS, "--record-size",
              MOVED_RECORD_BYTES, "--throughput", -1, "--command-property", "acks=all")
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump({"version": 1, "topics": [{"topic": topic}]}, file)
        file.flush()
        text = tools.run("kafka-reassign-partitions", "--generate", "--topics-to-move-json-file", file.name,
                         "--broker-list", "1,2,3")
    current, proposed = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    equal("current assignment", [one["replicas"] for one in current["partitions"]], [[1, 2], [1, 2]])
    equal("proposed partitions", len(proposed["partitions"]), 2)


def is_complete(tools, plan):
    return "still in progress" not in tools.reassign(plan, "--verify")


def move(tools):
    topic = moved_topic(tools)
    plan = {(topic, 0): [3, 2], (topic, 1): [1, 3]}
    text = tools.reassign(plan, "--execute", "--throttle", FAST_BYTES_S)
    ensure("Successfully started partition reassignments" in text, f"--execute printed {text!r}")
    until("the move is complete", lambda: is_complete(tools, plan))
    equal("replicas after the move", replicas_of(tools, topic), {0: [3, 2], 1: [1, 3]})
    text = tools.run("kafka-configs", "--describe", "--entity-type", "topics", "--entity-name", topic)
    ensure("throttled.replicas" not in text, f"--verify left a throttle: {text}")
    until("both replicas are in sync", lambda: all(len(isr) == 2 for _, _, isr in described(tools, topic).values()))


def cancel(tools):
    topic = moved_topic(tools)
    plan = {(topic, 0): [1, 2]}
    tools.reassign(plan, "--execute", "--throttle", SLOW_BYTES_S)
    text = tools.run("kafka-reassign-partitions", "--list")
    ensure(f"{topic}-0: replicas:" in text and "adding: 1" in text, f"--list printed {text!r}")
    ensure(not is_complete(tools, plan), "a move at a slow throttle is complete at once")
    text = tools.reassign(plan, "--cancel")
    ensure("Successfully cancelled" in text, f"--cancel printed {text!r}")
    until("no move is under way",
          lambda: "No partition reassignments found" in tools.run("kafka-reassign-partitions", "--list"))
    equal("replicas after the cancellation", replicas_of(tools, topic)[0], [3, 2])


def preferred_leader(tools):
    topic = moved_topic(tools)
    plan = {(topic, 0): [2, 3]}
    tools.reassign(plan, "--execute")
    until("the new order", lambda: is_complete(tools, plan) and replicas_of(tools, topic)[0] == [2, 3])
    text = tools.run("kafka-leader-election", "--election-type", "preferred", "--topic", topic, "--partition", 0)
    ensure("Successfully completed leader election" in text or "already" in text.lower() or "Valid replica" in text,
           f"kafka-leader-election printed {text!r}")
    until("the preferred leader leads", lambda: described(tools, topic)[0][0] == "2")


# ---------------------------------------------------------------- the quorum

def quorum(tools):
    status = tools.run("kafka-metadata-quorum", "describe", "--status")
    leader = re.search(r"^LeaderId:\s+(\d+)", status, re.M)
    ensure(leader and int(leader.group(1)) in BROKERS, f"kafka-metadata-quorum --status printed {status!r}")
    ensure(re.search(r"^CurrentVoters:.*1.*2.*3", status, re.M), f"kafka-metadata-quorum --status printed {status!r}")
    text = tools.run("kafka-metadata-quorum", "describe", "--replication")
    roles = {int(row.split()[0]): row.split()[-1] for row in text.splitlines() if row[:1].isdigit()}
    equal("members of kafka-metadata-quorum --replication", sorted(roles), BROKERS)
    equal("who leads", [broker for broker, role in roles.items() if role == "Leader"], [int(leader.group(1))])


def features(tools):
    text = tools.run("kafka-features", "describe")
    ensure(re.search(r"Feature: (metadata|milena)\.version\s.*FinalizedVersionLevel: \S+", text),
           f"kafka-features describe printed {text!r}")


def main():
    bootstrap, prefix = sys.argv[1:]
    try:
        check(Tools(bootstrap, prefix))
    except Exception as error:  # noqa: BLE001, whatever it is, it is told in one line and fails the suite
        traceback.print_exc()
        print(f"FAILED {error if isinstance(error, Failed) else repr(error)}")
        sys.exit(1)


if __name__ == "__main__":
    main()
