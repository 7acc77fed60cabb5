"""Writes benchmarks.md and its plots from what was measured."""

import os
import platform
import re
import subprocess
import time
from pathlib import Path

import brokers
import plots
import rows
from cases import growth

HEAD = """# Benchmarks

One broker of Milena beside Apache Kafka and, where that makes sense, a floor: a program of one thread that reads the
same bytes from a connection, writes them to a preallocated file and answers (or sends a file's bytes), and nothing
else. Both brokers have their defaults (Kafka: its shipped `server.properties`, `-Xmx1g`), except that the files of a
deleted topic go after a second and not a minute, so that none go while something else is measured. They run on the same
machine and disk, and take turns at the same clients: Kafka, Milena, Milena, Kafka, and so on. A figure is the median of
its rounds, a ratio (ours by Kafka's) the median of the rounds' own ratios: the speed of a shared machine changes within
a minute, by up to a factor of two, so figures in themselves say little, and a ratio says more.
Before each measurement 2 GiB of memory are touched and freed, since the host of a virtual machine takes back what lies
free, and whoever asks for it first would wait for it.

*raw* is `milena bench --prebuilt` and `--headers-only`, one connection, five requests in flight: it costs so little
that the broker is what is measured. *librdkafka* is confluent-kafka with `produce_batch` and `consume(10000)`, `linger.ms=5`;
*Java* is `kafka-producer-perf-test` and `kafka-consumer-perf-test` (its fetch time). On few cores these two are
often the limit themselves: then the ratio comes near 1 whatever the broker does. CPU is that of the broker's process,
user and kernel, for each GiB that the client wrote or read. A latency is from when a record was due to be sent until a
consumer has it (`milena bench latency`). A start is from the process's begin to a first record acknowledged with
acks=1; the topic of the fresh start is made meanwhile.
"""

CLUSTERS = """Cases 8 and 9 have clusters of three brokers of one kind at a time, each of Kafka's broker and controller
in one; `min.insync.replicas=2`. Case 8: librdkafka, idempotent, sends 1,000 records a second to six partitions, and
the leader of one is killed and started again, over and over; a gap is the longest time around a kill in which some
partition acknowledged nothing, the worst is that of all kills in all rounds. Case 9's CPU is that of the three brokers
together.

Case 11 compacts a log in which nine of ten records are superseded, its segments 64 MiB each: from the word
`cleanup.policy=compact` until the broker has noted that it is done (`log.cleaner.backoff.ms=100` for both).
"""


def write(results, folder):
    """benchmarks.md in `folder`, plots beside it in benchmarks/."""
    pictures = folder / "benchmarks"
    pictures.mkdir(parents=True, exist_ok=True)
    clusters = any(row in rows.cluster_rows() for row, _ in measured(results)) and CLUSTERS
    parts = [HEAD, clusters, machine_table(results), heading(results), *pictures_of(results, pictures), table(results),
             missed(results), growth_part(results, pictures), commands(), notes()]
    (folder / "benchmarks.md").write_text("\n".join(part for part in parts if part).rstrip() + "\n")


# ---------------------------------------------------------------- tables

def measured(results):
    """Rows that have a figure, with their figures."""
    found = [(row, figures_of(results, row.metric)) for row in rows.compared_rows()]
    return [(row, figures) for row, figures in found if "milena" in figures or "kafka" in figures]


def heading(results):
    """Which cases the table has, and which it lacks."""
    cases = sorted({int(row.case) for row in rows.compared_rows()})
    found = {int(row.case) for row, _ in measured(results)}
    if not found:
        return ""
    lacking = [str(case) for case in cases if case not in found]
    absent = f"\nNot measured: case{'s' if len(lacking) > 1 else ''} {', '.join(lacking)}.\n" if lacking else ""
    first, last = min(found), max(found)
    return f"## {f'Cases {first} to {last}' if first < last else f'Case {first}'}\n{absent}"


def table(results):
    lines = ["| # | case | Apache Kafka | Milena | ratio | floor | target | met |",
             "| --- | --- | --- | --- | --- | --- | --- | --- |"]
    for row, figures in measured(results):
        ours, kafka, floor = (figures.get(name) for name in ("milena", "kafka", "floor"))
        ratio = f"{ratio_of(results, row.metric, 'kafka'):.2f}x" if ours and kafka else "-"
        target = ", ".join(target.text(row.write) for target in row.targets) or "-"
        cells = [row.case, row.label, shown(results, row, "kafka"), shown(results, row, "milena"), ratio,
                 row.write(floor) if floor else "-", target, verdict(results, row)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def figure_of(results, metric, name):
    """The median of the rounds; of what must never happen, the worst."""
    return results.worst(metric, name) if metric in rows.WORST else results.median(metric, name)


def figures_of(results, metric):
    found = {name: figure_of(results, metric, name) for name in plots.COLORS}
    return {name: figure for name, figure in found.items() if figure is not None}


def shown(results, row, name):
    figure = figure_of(results, row.metric, name)
    if figure is not None:
        return row.write(figure)
    return "did not keep up" if results.rounds(row.metric, name) else "-"


def ratio_of(results, metric, other):
    """Ours by the other's, or None; of what must never happen, by the worst of all rounds."""
    if metric not in rows.WORST:
        return results.ratio(metric, "milena", other)
    ours, theirs = results.worst(metric, "milena"), results.worst(metric, other)
    return ours / theirs if ours is not None and theirs else None


def verdict(results, row):
    if not row.targets:
        return "-"
    outcomes = [outcome(results, row, target) for target in row.targets]
    if None in outcomes:
        return "-"
    return "yes" if all(outcomes) else "**no**"


def compared(results, row, target):
    """The figure that the target bounds; None where there is nothing to compare with."""
    if target.of == "value":
        return figure_of(results, row.metric, "milena")
    return ratio_of(results, row.metric, {"ratio": "kafka", "floor": "floor"}[target.of])


def outcome(results, row, target):
    figure = compared(results, row, target)
    return None if figure is None else target.is_met(figure)


def missed(results):
    lines = []
    for row in rows.compared_rows():
        for target in row.targets:
            if outcome(results, row, target) is False:
                figure = compared(results, row, target)
                is_now = row.write(figure) if target.of == "value" else f"{figure:.2f}x"
                lines.append(f"- {full_label(row)}: {is_now}, the target is {target.text(row.write)}")
    lines += growth_missed(results)
    return "## Targets that are missed\n\n" + "\n".join(lines) + "\n" if lines else ""


def growth_missed(results):
    for kind, counts in growth.KINDS:
        share = far_share(results, kind, counts)
        if share is not None and share < growth.SHARE_MIN:
            is_now = f"{share:.2f}x" if share else "not reached"
            yield f"- growth, {counts[-1]:,} {kind} by the best: {is_now}, the target is ≥ {growth.SHARE_MIN:g}x"


def full_label(row):
    """A label that does not lean on the row above."""
    if not row.label.startswith("the same"):
        return row.label
    before = ""
    for other in rows.compared_rows():
        if other == row:
            return f"{before} ({row.label.removeprefix('the same').lstrip(',: ')})"
        if not other.label.startswith("the same"):
            before = re.sub(r": (raw|p50|fresh)$", "", other.label)
    return row.label


# ---------------------------------------------------------------- plots

def pictures_of(results, folder):
    plain = [
        ("produce", "Produce, raw client, records a second", "produce/raw/records_s", rows.rate),
        ("consume", "Consume, raw client, warm, records a second", "consume/raw/records_s", rows.rate),
        ("produce-cpu", "Produce, CPU seconds of the broker a GiB", "produce/raw/cpu_s_gib", rows.cpu),
        ("consume-cpu", "Consume, CPU seconds of the broker a GiB", "consume/raw/cpu_s_gib", rows.cpu),
    ]
    for name, title, metric, write_figure in plain:
        groups = [(label, figures_of(results, f"throughput/{load}/{metric}")) for _, load, label, _, _ in rows.LOADS]
        yield picture(folder, name, title, groups, write_figure)
    for name, title, some in (("latency", "Latency end to end, 5,000/s x 1 KiB, acks=all", rows.latency_rows()),
                              ("memory", "Resident memory", rows.memory_rows()),
                              ("start", "Start to first acknowledged record", rows.start_rows())):
        some = [row for row in some if row.write in (rows.milliseconds, rows.mebibytes, rows.seconds)]
        groups = [(full_label(row).removeprefix("end to end, 5,000/s x 1 KiB, acks=all ")
                   .removeprefix("start to first acknowledged record "), figures_of(results, row.metric))
                  for row in some if "synced" not in row.metric]
        yield picture(folder, name, title, groups, some[0].write)


def picture(folder, name, title, groups, write_figure):
    groups = [(label, figures) for label, figures in groups if figures]
    if not groups:
        return ""
    (folder / f"{name}.svg").write_text(plots.bars(title, groups, write_figure))
    return f"![{title}](benchmarks/{name}.svg)\n"


# ---------------------------------------------------------------- growth

def growth_part(results, folder):
    parts = []
    for kind, counts in growth.KINDS:
        for measure, title, write_figure, log_y in (
                ("records_s", "Throughput", rows.rate, False), ("p99_ms", "p99 end to end", rows.milliseconds, True)):
            curves = {name: curve(results, kind, counts, measure, name) for name in ("kafka", "milena")}
            curves = {name: points for name, points in curves.items() if len(points) > 1}
            if curves:
                name = f"growth-{kind}-{measure.partition('_')[0]}"
                picture_text = plots.lines(f"{title} by {kind}", kind, curves, write_figure, log_y)
                (folder / f"{name}.svg").write_text(picture_text)
                parts.append(f"![{title} by {kind}](benchmarks/{name}.svg)\n")
        parts.append(growth_table(results, kind, counts))
    if not any(parts):
        return ""
    text = ("## Case 10: growth\n\nThroughput is the raw client's, 500,000 x 1,000 B in 16 KiB batches, acks=1, over one "
            "connection to so many partitions, or over so many connections to six; latency is that of 1,000/s x 1 KiB, "
            "acks=all, with so many partitions, or while so many connections are open. Throughput is the median of three "
            "runs, of which the first finds empty partitions. The target is that the far end has at least half of the "
            "best throughput.\n")
    return "\n".join([text, *(part for part in parts if part)])


def curve(results, kind, counts, measure, name):
    found = [(count, results.median(f"growth/{kind}/{count}/{measure}", name)) for count in counts]
    return [(count, figure) for count, figure in found if figure is not None]


def one(results, metric, name, write_figure):
    figure = results.median(metric, name)
    if figure is not None:
        return write_figure(figure)
    return "failed" if results.rounds(metric, name) else "-"


def growth_table(results, kind, counts):
    lines = [f"| {kind} | Kafka | Milena | Kafka p50 / p99 | Milena p50 / p99 |", "| --- | --- | --- | --- | --- |"]
    for count in counts:
        metric = f"growth/{kind}/{count}"
        if not results.rounds(f"{metric}/records_s", "milena"):
            continue
        cells = [f"{count:,}"]
        cells += [one(results, f"{metric}/records_s", name, rows.rate) for name in ("kafka", "milena")]
        cells += [" / ".join(one(results, f"{metric}/{q}_ms", name, rows.milliseconds) for q in ("p50", "p99"))
                  for name in ("kafka", "milena")]
        lines.append("| " + " | ".join(cells) + " |")
    share = far_share(results, kind, counts)
    if share is None:
        return ""
    if not share:
        lines.append(f"\nThe far end of {kind} was not reached: the target is **missed**.")
    else:
        met = "met" if share >= growth.SHARE_MIN else "**missed**"
        lines.append(f"\nFar end by best, Milena: {share:.2f}; the target of {growth.SHARE_MIN:g} is {met}.")
    return "\n".join(lines) + "\n"


def far_share(results, kind, counts):
    """What the far end has of Milena's best; 0 where it failed or was not measured, None where nothing was."""
    ours = curve(results, kind, counts, "records_s", "milena")
    if not ours:
        return None
    return dict(ours).get(counts[-1], 0) / max(figure for _, figure in ours)


# ---------------------------------------------------------------- circumstances

def machine_table(results):
    loads = results.figures.get("machine/load", {}).get("before", [])
    rounds = max((len(by) for metric, of in results.figures.items() if metric not in ("machine/load", "failover/gap_s")
                  for by in of.values()), default=0)
    commit = os.environ.get("MILENA_BENCH_COMMIT") or output("git", "-C", brokers.ROOT, "rev-parse", "--short", "HEAD")
    version = output(brokers.MILENA, "--version")
    lines = [
        ("date", time.strftime("%-d %B %Y", time.gmtime())),
        ("machine", f"{os.cpu_count()} cores ({cpu_model()}), {memory_gib():.0f} GiB, Linux {platform.release()}"),
        ("Milena", f"{version}, built on {commit}"),
        ("Apache Kafka", kafka_version()),
        ("Java", first_line(output("java", "-version"))),
        ("rounds", f"up to {rounds}"),
        ("load average before the runs", ", ".join(f"{load:.1f}" for load in loads) or "-"),
    ]
    return "| | |\n| --- | --- |\n" + "".join(f"| {name} | {value} |\n" for name, value in lines)


def output(*command):
    try:
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=30, check=False)
    except OSError:
        return "-"
    return (done.stdout + done.stderr).strip() or "-"


def first_line(text):
    return text.splitlines()[0]


def cpu_model():
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    return found.group(1) if found else platform.machine()


def memory_gib():
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)


def kafka_version():
    if not brokers.KAFKA.exists():
        return "not there: measured alone"
    found = re.search(r"kafka-clients-([\d.]+)\.jar", output(brokers.KAFKA, "classpath")) or re.search(
        r"/(\d+\.\d+\.\d+)/libs", output(brokers.KAFKA, "classpath"))
    return found.group(1) if found else "-"


def commands():
    return """## How to run them

```
make bench                               # everything, with the machine to itself
./e2e/bench/run.sh --quick               # a smoke run; its page goes to target/bench/quick
./e2e/bench/run.sh throughput --rounds 5 # some cases; --help names them
```

Cases 1 to 7 and 10 with three rounds took 37 minutes, 8 and 9 took 16.

Kafka is looked for at `../shared/kafka/kafka`, or where `MILENA_BENCH_KAFKA` says: a program that has `start` and
`tool NAME`. `MILENA_BIN` measures another binary, `MILENA_BENCH_COMMIT` says what it was built on.
Without Kafka, Milena and the floor are measured alone.
"""


def notes():
    """What a person has to say about these figures; kept beside this file, since the page is written anew."""
    file = brokers.HERE / "notes.md"
    return file.read_text() if file.exists() else ""
