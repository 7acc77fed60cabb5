"""Runs Apache Kafka's command-line tools from the jars that install.sh put into MILENA_KAFKA_JARS."""
import os
import subprocess
from pathlib import Path

from plan import ensure

LIMIT_S = 60  # a JVM on a busy machine
JARS = Path(os.environ.get("MILENA_KAFKA_JARS", ""))
LOGGING = Path(__file__).resolve().parent.parent / "java/log4j2.properties"
# A tool that lives for a second gains nothing from the optimising compiler or a concurrent collector; and half of
# that second is class loading, which the archive that install.sh leaves beside the jars saves.
JVM = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m", "-Xshare:auto", "-Xlog:disable",
       f"-XX:SharedArchiveFile={JARS}/tools.jsa", f"-Dlog4j2.configurationFile={LOGGING}"]
CLASSES = {
    "kafka-broker-api-versions": "BrokerApiVersionsCommand",
    "kafka-configs": "kafka.admin.ConfigCommand",
    "kafka-console-consumer": "consumer.ConsoleConsumer",
    "kafka-console-producer": "ConsoleProducer",
    "kafka-consumer-groups": "consumer.group.ConsumerGroupCommand",
    "kafka-consumer-perf-test": "ConsumerPerformance",
    "kafka-delete-records": "DeleteRecordsCommand",
    "kafka-dump-log": "DumpLogSegments",
    "kafka-features": "FeatureCommand",
    "kafka-get-offsets": "GetOffsetShell",
    "kafka-leader-election": "LeaderElectionCommand",
    "kafka-log-dirs": "LogDirsCommand",
    "kafka-metadata-quorum": "MetadataQuorumCommand",
    "kafka-producer-perf-test": "ProducerPerformance",
    "kafka-reassign-partitions": "reassign.ReassignPartitionsCommand",
    "kafka-topics": "TopicCommand",
    "kafka-verifiable-consumer": "VerifiableConsumer",
    "kafka-verifiable-producer": "VerifiableProducer",
}


def command(tool, *arguments):
    main = CLASSES[tool]
    if not main.startswith("kafka."):
        main = f"org.apache.kafka.tools.{main}"
    return ["java", *JVM, "-cp", f"{JARS}/*", main, *arguments]


def attempt(tool, *arguments, text=None):
    """The finished process, whatever its exit status."""
    return subprocess.run(command(tool, *arguments), input=text, capture_output=True, text=True, timeout=LIMIT_S,
                          check=False)


def run_tool(tool, *arguments, text=None):
    """What the tool printed; fails with its errors if its exit status is not 0."""
    done = attempt(tool, *arguments, text=text)
    ensure(done.returncode == 0, f"{tool} {' '.join(arguments)[:300]}: exit status {done.returncode}: "
                                 f"{done.stderr.strip()[-1500:]} {done.stdout.strip()[-500:]}")
    return done.stdout
