"""Apache Kafka's own tools move a replica of a topic's only partition between the log directories of one broker.

log-dirs BOOTSTRAP TOPIC fill                        writes RECORDS records
                         move BROKER DIR RATE        asks for the move, RATE bytes a second
                         moving BROKER DIR           it is under way
                         moved BROKER DIR            waits until it is done, and looks that nothing is left of it
                         read                        reads all records
Exit status 1 and a line `FAILED` where a tool does not do what it does with Kafka.
"""
import json
import re
import sys
import tempfile
import traceback

from kafka_tools import run_tool
from plan import Failed, ensure, equal, until

RECORDS, RECORD_BYTES = 12_000, 1_000
RATE = "replica.alter.log.dirs.io.max.bytes.per.second"


class Tools:
    """The tools, told of the cluster and the topic."""

    def __init__(self, bootstrap, topic):
        self.bootstrap = bootstrap
        self.topic = topic

    def run(self, name, *arguments):
        return run_tool(name, "--bootstrap-server", self.bootstrap, *[str(one) for one in arguments])

    def reassign(self, broker, path, action, *arguments):
        """kafka-reassign-partitions with all replicas where they are, one of them in a directory of its own."""
        text = self.run("kafka-topics", "--describe", "--topic", self.topic)
        replicas = [int(one) for one in re.search(r"Replicas: (\S+)", text).group(1).split(",")]
        plan = {"topic": self.topic, "partition": 0, "replicas": replicas,
                "log_dirs": [path if one == broker else "any" for one in replicas]}
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump({"version": 1, "partitions": [plan]}, file)
            file.flush()
            return self.run("kafka-reassign-partitions", action, "--reassignment-json-file", file.name, *arguments)

    def places(self, broker):
        """{directory: (whether it is on its way there, offsets that it lacks)} of a broker's replica."""
        text = self.run("kafka-log-dirs", "--describe", "--topic-list", self.topic, "--broker-list", broker)
        answer = json.loads(text[text.index("{"):])
        directories = [directory for one in answer["brokers"] for directory in one["logDirs"]]
        ensure(all(directory["error"] is None for directory in directories), f"errors of directories: {directories}")
        return {directory["logDir"]: (one["isFuture"], one["offsetLag"])
                for directory in directories for one in directory["partitions"]}


def fill(tools):
    tools.run("kafka-producer-perf-test", "--topic", tools.topic, "--num-records", RECORDS, "--record-size",
              RECORD_BYTES, "--throughput", -1, "--command-property", "acks=all")


def move(tools, broker, path, rate):
    text = tools.reassign(int(broker), path, "--execute", "--replica-alter-log-dirs-throttle", rate)
    ensure(f"Successfully started moving log directory to {path}" in text, f"--execute printed {text!r}")


def moving(tools, broker, path):
    places = until("the future replica is shown", lambda: shown(tools, broker, path))
    equal("replicas on the broker", len(places), 2)
    is_future, lag = places[path]
    ensure(is_future and lag > 0, f"the future replica is told as {places}")
    text = tools.reassign(int(broker), path, "--verify")
    ensure("is still in progress" in text, f"--verify printed {text!r} of a move under way")


def shown(tools, broker, path):
    places = tools.places(broker)
    return places if path in places else None


def moved(tools, broker, path):
    done = until("the move is complete", lambda: completed(tools, broker, path))
    ensure("completed successfully" in done, f"--verify printed {done!r}")
    equal("where the replica is", list(tools.places(broker)), [path])
    text = tools.run("kafka-configs", "--describe", "--entity-type", "brokers", "--entity-name", broker)
    ensure(RATE not in text, f"--verify left a throttle: {text}")


def completed(tools, broker, path):
    text = tools.reassign(int(broker), path, "--verify")
    return None if "still in progress" in text else text


def read(tools):
    text = tools.run("kafka-verifiable-consumer", "--topic", tools.topic, "--group-id", f"{tools.topic}-readers",
                     "--max-messages", RECORDS, "--reset-policy", "earliest")
    told = [json.loads(line) for line in text.splitlines()]
    equal("records that are read", sum(one["count"] for one in told if one["name"] == "records_consumed"), RECORDS)


PHASES = {"fill": fill, "move": move, "moving": moving, "moved": moved, "read": read}


def main():
    bootstrap, topic, phase, *arguments = sys.argv[1:]
    try:
        PHASES[phase](Tools(bootstrap, topic), *arguments)
    except Exception as error:  # noqa: BLE001, whatever it is, it is told in one line and fails the suite
        traceback.print_exc()
        print(f"FAILED {error if isinstance(error, Failed) else repr(error)}")
        sys.exit(1)


if __name__ == "__main__":
    main()
