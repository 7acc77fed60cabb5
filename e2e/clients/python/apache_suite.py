"""Apache Kafka's own command-line tools: topics, configs, console and perf clients, groups, offsets, log dirs."""
import datetime
import json
import re
import subprocess
import tempfile

from kafka_tools import LIMIT_S, attempt, command, run_tool
from plan import PARTITIONS, Lines, Plan, ensure, equal, halves, live, run, until

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
CALL = 30  # records of one call of the console producer
PERF = 2000
RESET = 3  # where the group is put back to
ASSIGNOR = "org.apache.kafka.clients.consumer.CooperativeStickyAssignor"


def before(plan):
    broker_api_versions(plan)
    topics(plan)
    configs(plan)
    broker_configs(plan)
    for codec in CODECS:
        produce(plan, codec, "-1")
    produce(plan, "lz4", "1")
    produce(plan, "gzip", "0")
    landed(plan)
    read_from_offsets(plan)
    perf(plan)
    read_by_group(plan)
    manage_groups(plan)
    pair(plan)
    delete_records(plan)
    log_dirs(plan)


def during(plan):
    """One console producer and one console consumer of a group; a key has its records in order."""
    producer = subprocess.Popen(command(
        "kafka-console-producer", "--bootstrap-server", plan.bootstrap, "--topic", plan.topic,
        "--reader-property", "parse.key=true", "--reader-property", "key.separator=|"),
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    reader = Lines(command(
        "kafka-console-consumer", "--bootstrap-server", plan.bootstrap, "--topic", plan.topic, "--group", plan.group,
        "--from-beginning", "--formatter-property", "print.key=true", "--formatter-property", "key.separator=|"))

    def send():
        for key, index in plan.round():
            producer.stdin.write(b"%d|%s\n" % (key, plan.value(key, index)))
        producer.stdin.flush()

    def take(seen):
        for line in reader.take():
            key, value = line.rstrip("\n").encode().split(b"|")
            seen.add(int(key), None, value)

    try:
        live(plan, send, take, once=False)
        producer.communicate(timeout=LIMIT_S)
        equal("exit status of the producer", producer.returncode, 0)
    finally:
        producer.terminate()
        reader.stop()


def after(plan):
    plan.sent = sum(ends(plan, plan.topic))
    ensure("retention.ms=7200000" in configured(plan), "the topic's configuration is lost")
    whole = consume(plan, "--from-beginning", count=plan.sent)
    left = {place: record for place, record in whole.items() if place[1] >= RESET}
    found = consume(plan, "--group", plan.group, count=len(left))
    equal("records of the resumed group", sorted(found), sorted(left))
    produce(plan, "zstd", "-1")
    again = consume(plan, "--group", plan.group, count=CALL)
    ensure(not set(again) & set(whole), "the group got records twice")
    equal("records sent after the restart", sorted(key for key, _ in again.values()),
          sorted(key_of(number) for number in range(plan.sent - CALL, plan.sent)))


def tool(plan, name, *arguments, text=None):
    return run_tool(name, "--bootstrap-server", plan.bootstrap, *arguments, text=text)


# ---------------------------------------------------------------- topics

def broker_api_versions(plan):
    text = tool(plan, "kafka-broker-api-versions")
    for api in ("Produce(0)", "Fetch(1)", "OffsetCommit(8)", "ApiVersions(18)", "DescribeCluster(60)"):
        ensure(api in text, f"{api} is not among the broker's API versions:\n{text}")


def described(plan, topic):
    text = tool(plan, "kafka-topics", "--describe", "--topic", topic)
    return len(re.findall(r"\tPartition: \d+\tLeader: \d+\tReplicas: \d+\tIsr: \d+", text))


def topics(plan):
    tool(plan, "kafka-topics", "--create", "--topic", plan.topic, "--partitions", str(PARTITIONS),
         "--config", "retention.ms=3600000")
    twice = attempt("kafka-topics", "--bootstrap-server", plan.bootstrap, "--create", "--topic", plan.topic)
    ensure(twice.returncode != 0 and "already exists" in twice.stdout + twice.stderr,
           f"creating a topic twice: exit status {twice.returncode}: {twice.stdout} {twice.stderr}")
    equal("partitions", described(plan, plan.topic), PARTITIONS)
    short, gone = plan.named("short"), plan.named("gone")
    for name in (short, gone):
        tool(plan, "kafka-topics", "--create", "--topic", name, "--partitions", "1")
    tool(plan, "kafka-topics", "--alter", "--topic", gone, "--partitions", "4")
    until("the added partitions are seen", lambda: described(plan, gone) == 4)
    tool(plan, "kafka-topics", "--delete", "--topic", gone)
    until("the deleted topic is gone", lambda: gone not in tool(plan, "kafka-topics", "--list").split())


def configured(plan):
    return tool(plan, "kafka-configs", "--describe", "--entity-type", "topics", "--entity-name", plan.topic)


def configs(plan):
    entity = ("--entity-type", "topics", "--entity-name", plan.topic)
    tool(plan, "kafka-configs", "--alter", *entity, "--add-config", "retention.ms=7200000,max.message.bytes=2000000")
    until("the added configuration is seen", lambda: "max.message.bytes=2000000" in configured(plan))
    tool(plan, "kafka-configs", "--alter", *entity, "--delete-config", "max.message.bytes")
    until("the deleted configuration is gone", lambda: "max.message.bytes" not in configured(plan))
    ensure("retention.ms=7200000" in configured(plan), f"kafka-configs describes {configured(plan)!r}")
    wrong = attempt("kafka-configs", "--bootstrap-server", plan.bootstrap, "--alter", *entity, "--add-config",
                    "retention.ms=soon")
    ensure(wrong.returncode != 0 and "retention.ms" in wrong.stderr + wrong.stdout,
           f"a retention.ms of `soon`: exit status {wrong.returncode}: {wrong.stdout} {wrong.stderr}")


def broker_configs(plan):
    """Those of one broker: all, and one that may be altered while it runs."""
    entity = ("--entity-type", "brokers", "--entity-name", broker_id(plan))
    text = tool(plan, "kafka-configs", "--describe", "--all", *entity)
    ensure("log.retention.ms" in text or "log.retention.hours" in text, f"the broker's configuration is {text!r}")
    setting = "log.cleaner.backoff.ms=14000"
    ensure(setting not in text, f"{setting} holds already")
    tool(plan, "kafka-configs", "--alter", *entity, "--add-config", setting)
    until(f"{setting} is described", lambda: setting in tool(plan, "kafka-configs", "--describe", *entity))
    tool(plan, "kafka-configs", "--alter", *entity, "--delete-config", "log.cleaner.backoff.ms")
    until(f"{setting} is gone", lambda: setting not in tool(plan, "kafka-configs", "--describe", *entity))


def broker_id(plan):
    return re.search(r"\(id: (\d+) rack", tool(plan, "kafka-broker-api-versions")).group(1)


# ---------------------------------------------------------------- records

def key_of(number):
    return f"k-{number}"


def value_of(number):
    return f"v-{number} " * 20


def produce(plan, codec, acks):
    """Keys decide the partition; every record has a header."""
    numbers = range(plan.sent, plan.sent + CALL)
    plan.sent += CALL
    lines = "".join(f"number:{n}|{key_of(n)}|{value_of(n)}\n" for n in numbers)
    tool(plan, "kafka-console-producer", "--topic", plan.topic, "--compression-codec", codec,
         "--request-required-acks", acks, "--command-property", "linger.ms=5",
         "--command-property", f"enable.idempotence={'true' if acks == '-1' else 'false'}",
         "--reader-property", "parse.key=true", "--reader-property", "parse.headers=true",
         "--reader-property", "key.separator=|", "--reader-property", "headers.delimiter=|", text=lines)


def ends(plan, topic, time="-1"):
    text = tool(plan, "kafka-get-offsets", "--topic", topic, "--time", time)
    return [int(line.split(":")[2]) for line in sorted(text.split())]


def landed(plan):
    until(f"{plan.sent} records in the topic", lambda: sum(ends(plan, plan.topic)) == plan.sent)


def consume(plan, *arguments, count=None):
    """{(partition, offset): (key, timestamp)} of what a console consumer prints; it leaves after `count`."""
    shown = [option for what in ("partition", "offset", "key", "headers", "timestamp")
             for option in ("--formatter-property", f"print.{what}=true")]
    text = tool(plan, "kafka-console-consumer", "--topic", plan.topic, "--max-messages", str(count), *shown,
                "--formatter-property", "key.separator=|", "--timeout-ms", str(LIMIT_S * 500),
                "--command-property", "auto.offset.reset=earliest", *arguments)
    found = {}
    for line in text.splitlines():
        timestamp, partition, offset, headers, key, value = line.split("|")
        place = int(partition.removeprefix("Partition:")), int(offset.removeprefix("Offset:"))
        ensure(place not in found, f"(partition, offset) {place} came twice")
        number = int(key.removeprefix("k-"))
        equal(f"value of {key}", value, value_of(number))
        equal(f"header of {key}", headers, f"number:{number}")
        found[place] = key, int(timestamp.removeprefix("CreateTime:"))
    equal(f"records of kafka-console-consumer {' '.join(arguments)}", len(found), count)
    return found


def read_from_offsets(plan):
    whole = consume(plan, "--from-beginning", count=plan.sent)
    equal("records, each once", sorted(key for key, _ in whole.values()), sorted(map(key_of, range(plan.sent))))
    found = consume(plan, "--partition", "1", "--offset", "5", count=4)
    equal("records from offset 5 of partition 1", sorted(found), [(1, offset) for offset in range(5, 9)])
    equal("earliest offsets", ends(plan, plan.topic, "-2"), [0] * PARTITIONS)
    first = {partition: min(offset for other, offset in whole if other == partition) for partition in range(PARTITIONS)}
    equal("offsets of a time before all", ends(plan, plan.topic, str(min(at for _, at in whole.values()))),
          [first[partition] for partition in range(PARTITIONS)])
    latest = max(at for (partition, _), (_, at) in whole.items() if partition == 0)
    wanted = min(offset for (partition, offset), (_, at) in whole.items() if partition == 0 and at == latest)
    equal("offset of partition 0's largest timestamp", ends(plan, plan.topic, "-3")[0] >= wanted, True)


def perf(plan):
    topic = plan.named("perf")
    tool(plan, "kafka-topics", "--create", "--topic", topic, "--partitions", "2")
    for acks in ("0", "1", "all"):
        text = tool(plan, "kafka-producer-perf-test", "--topic", topic, "--num-records", str(PERF), "--record-size",
                    "200", "--throughput", "-1", "--command-property", f"acks={acks}", "compression.type=zstd",
                    f"enable.idempotence={'true' if acks == 'all' else 'false'}")
        ensure(f"{PERF} records sent" in text, f"kafka-producer-perf-test with acks {acks} printed {text!r}")
    until("all of its records are in the log", lambda: sum(ends(plan, topic)) == 3 * PERF)
    text = tool(plan, "kafka-consumer-perf-test", "--topic", topic, "--num-records", str(3 * PERF), "--timeout",
                "20000", "--hide-header")
    read = [column.strip() for column in text.strip().splitlines()[-1].split(",")]
    equal("records that kafka-consumer-perf-test read", int(read[4]), 3 * PERF)


# ---------------------------------------------------------------- groups

def groups(plan, *arguments):
    return tool(plan, "kafka-consumer-groups", *arguments)


def offsets(plan, group):
    """{partition: (committed offset, lag)} of the group in the topic."""
    text = groups(plan, "--describe", "--group", group, "--offsets")
    rows = [line.split() for line in text.splitlines() if line.startswith(group)]
    return {int(row[2]): (int(row[3]), int(row[5])) for row in rows if row[1] == plan.topic and row[3] != "-"}


def read_by_group(plan):
    consume(plan, "--group", plan.group, count=plan.sent)
    wanted = {p: (end, 0) for p, end in enumerate(ends(plan, plan.topic))}
    equal("committed offsets and lags", offsets(plan, plan.group), wanted)
    ensure(plan.group in groups(plan, "--list").split(), f"{plan.group} is not listed")
    text = groups(plan, "--describe", "--group", plan.group, "--state")
    ensure(re.search(r"\sEmpty\s", text), f"kafka-consumer-groups --describe --state printed {text!r}")


def manage_groups(plan):
    reset_by_each_form(plan)
    reset_from_file(plan)
    everywhere = ("--topic", plan.topic)
    reset(plan, everywhere, ("--to-offset", str(RESET)), [RESET] * PARTITIONS)
    other = plan.named("other-group")
    reset(plan, everywhere, ("--to-current",), ends(plan, plan.topic), group=other)
    groups(plan, "--delete-offsets", "--group", other, "--topic", f"{plan.topic}:0")
    equal("partitions after --delete-offsets", sorted(committed(plan, other)), list(range(1, PARTITIONS)))
    groups(plan, "--delete", "--group", other)
    ensure(other not in groups(plan, "--list").split(), "a deleted group is still listed")


def committed(plan, group):
    """{partition: committed offset} in the topic."""
    return {partition: offset for partition, (offset, _) in offsets(plan, group).items()}


def reset(plan, scope, form, wanted, group=None):
    """Puts the group somewhere, and looks where it is in each partition of the topic."""
    group = group or plan.group
    groups(plan, "--reset-offsets", "--group", group, *scope, *form, "--execute")
    equal(f"offsets after {' '.join((*scope, *form))}", committed(plan, group), dict(enumerate(wanted)))


def reset_by_each_form(plan):
    whole = consume(plan, "--from-beginning", count=plan.sent)
    last = ends(plan, plan.topic)
    middle = sorted(at for _, at in whole.values())[len(whole) // 2]
    first = [min((offset for (other, offset), (_, at) in whole.items() if other == partition and at >= middle),
                 default=end) for partition, end in enumerate(last)]
    ensure(0 < sum(first) < sum(last), f"{middle} ms is not amid the records: {first} of {last}")
    date = datetime.datetime.fromtimestamp(middle / 1000, datetime.timezone.utc)
    date = date.strftime("%Y-%m-%dT%H:%M:%S.") + f"{middle % 1000:03}"
    everywhere = ("--topic", plan.topic)
    for scope, form, wanted in [
        (everywhere, ("--to-earliest",), [0] * PARTITIONS),
        (everywhere, ("--shift-by", "5"), [5] * PARTITIONS),
        (("--all-topics",), ("--shift-by", "-1"), [4] * PARTITIONS),
        (everywhere, ("--to-latest",), last),
        (everywhere, ("--by-duration", "PT1H"), [0] * PARTITIONS),
        (everywhere, ("--to-datetime", date), first),
        (everywhere, ("--to-current",), first),
        (("--topic", f"{plan.topic}:1"), ("--to-offset", "2"), [first[0], 2, *first[2:]]),
    ]:
        reset(plan, scope, form, wanted)


def reset_from_file(plan):
    """What one call exports another one takes."""
    exported = groups(plan, "--reset-offsets", "--group", plan.group, "--topic", plan.topic, "--to-offset", "6",
                      "--dry-run", "--export")
    rows = sorted(line.replace('"', "") for line in exported.splitlines() if line)
    equal("exported offsets", rows, [f"{plan.topic},{partition},6" for partition in range(PARTITIONS)])
    with tempfile.NamedTemporaryFile("w", suffix=".csv") as plans:
        plans.write(exported)
        plans.flush()
        reset(plan, (), ("--from-file", plans.name), [6] * PARTITIONS)


def members(plan, group):
    """{instance id: partitions} of the group's members."""
    done = attempt("kafka-consumer-groups", "--bootstrap-server", plan.bootstrap, "--describe", "--group", group,
                   "--members", "--verbose")
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith(group)]
    return {row[2]: [int(p) for p in re.search(r"\(([\d,]*)\)|:([\d,]+)", " ".join(row[6:]) + "()").group(0)
                     .strip("():").split(",") if p] for row in rows}


def pair(plan):
    """Two static members with the cooperative assignor share the partitions."""
    group = plan.named("static")
    started = [subprocess.Popen(command(
        "kafka-console-consumer", "--bootstrap-server", plan.bootstrap, "--topic", plan.topic, "--group", group,
        "--command-property", f"group.instance.id=instance-{number}", "--command-property", "heartbeat.interval.ms=500",
        "--command-property", f"partition.assignment.strategy={ASSIGNOR}"),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for number in range(2)]
    try:
        until("two static members share the partitions",
              lambda: halves([members(plan, group).get(f"instance-{number}", []) for number in range(2)]))
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(LIMIT_S)


def delete_records(plan):
    short = plan.named("short")
    run_tool("kafka-console-producer", "--bootstrap-server", plan.bootstrap, "--topic", short,
             text="".join(f"{number}\n" for number in range(10)))
    with tempfile.NamedTemporaryFile("w", suffix=".json") as wanted:
        json.dump({"version": 1, "partitions": [{"topic": short, "partition": 0, "offset": 6}]}, wanted)
        wanted.flush()
        text = tool(plan, "kafka-delete-records", "--offset-json-file", wanted.name)
    ensure("low_watermark: 6" in text, f"kafka-delete-records printed {text!r}")
    equal("earliest offset after DeleteRecords", ends(plan, short, "-2"), [6])


def log_dirs(plan):
    text = tool(plan, "kafka-log-dirs", "--describe", "--topic-list", plan.topic)
    answer = json.loads(text[text.index("{"):])
    sizes = {one["partition"]: one["size"] for broker in answer["brokers"] for directory in broker["logDirs"]
             for one in directory["partitions"]}
    equal("partitions in the log directories", sorted(sizes), [f"{plan.topic}-{p}" for p in range(PARTITIONS)])
    ensure(all(size > 0 for size in sizes.values()), f"sizes of the partitions: {sizes}")


if __name__ == "__main__":
    run(before, during, after)
