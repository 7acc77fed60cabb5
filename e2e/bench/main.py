"""Measures brokers of ours beside Apache Kafka and a floor: throughput, latency, memory, start, failover, growth.

Results are kept in target/bench, so that cases can be run one at a time; the page is always made of all of them.
"""

import argparse
import os
import resource
import signal
import sys
import tempfile
from pathlib import Path

import brokers
import report
from cases import compaction, failover, growth, latency, memory, replication, start, throughput
from results import Results
from session import Session

CASES = {"throughput": throughput, "latency": latency, "memory": memory, "start": start,
         "failover": failover, "replication": replication, "compaction": compaction,
         "growth": growth}
QUICK_SCALE = 0.02


def main():
    arguments = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))  # by way of each `with`, so nothing is left
    kept = brokers.TARGET / "bench" / ("quick.json" if arguments.quick else "results.json")
    results = Results(kept)
    failures = 0 if arguments.report_only else measure(arguments, results)
    page = kept.parent / "quick" if arguments.quick else brokers.ROOT / "docs"
    report.write(results, page)
    print(f"{page / 'benchmarks.md'} is written")
    if failures:
        sys.exit(f"{failures} of the measurements failed, as was told above")


def measure(arguments, results):
    """How many measurements have failed. One that fails leaves the others theirs."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if not brokers.KAFKA.exists():
        print(f"{brokers.KAFKA} is not there: nothing to compare with; MILENA_BENCH_KAFKA names it", file=sys.stderr)
    if not arguments.more:
        results.forget("machine")
    results.add("machine/load", "before", os.getloadavg()[0])
    work = brokers.TARGET / "bench"
    work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="run-", dir=work) as folder:
        rounds = 1 if arguments.quick else arguments.rounds
        session = Session(results, folder, rounds, QUICK_SCALE if arguments.quick else 1)
        session.steps = sum(CASES[name].steps(session) for name in arguments.cases)
        for name in arguments.cases:
            if not arguments.more:
                results.forget(name)
            session.before = results.most_rounds(name)
            try:
                CASES[name].run(session)
            except (RuntimeError, OSError) as error:
                session.fail(name, error)
    return session.failures


def parse():
    parser = argparse.ArgumentParser(prog="run.sh", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", default=list(CASES), help=f"of {', '.join(CASES)}")
    parser.add_argument("--rounds", type=int, default=4,
                        help="of each case, best an even number, as the order changes; growth has one (default %(default)s)")
    parser.add_argument("--quick", action="store_true", help="one small round, to see that it runs; docs stay as is")
    parser.add_argument("--more", action="store_true", help="add rounds to those that were measured before")
    parser.add_argument("--report-only", action="store_true", help="only write the page anew")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.cases if name not in CASES]
    if unknown:
        parser.error(f"no case {unknown[0]!r}; there are {', '.join(CASES)}")
    return arguments


main()
