"""kafka-dump-log --deep-iteration over every segment, index and snapshot under a data directory.

    dump_log.py DATA_DIR

kafka-dump-log exits with 0 whatever it finds, so its output is read: each batch must be valid, and none of its
complaints may appear. leader-epoch-checkpoint and the replication checkpoints, which it does not know, are read here.
"""
import re
import sys
from collections import Counter
from pathlib import Path

from kafka_tools import run_tool
from plan import Failed, ensure

DUMPED = re.compile(r"\d{20}\.(log|index|timeindex|snapshot)")
FILES_OF_A_CALL = 400
COMPLAINTS = re.compile(
    r"(?i)isvalid: false|mismatch|out of order|non-?consecutive|corrupt|exception|invalid|could not|ignoring|"
    r"unexpected|trailing|sanity check failed")


def main(data):
    folders = [folder for folder in data.rglob("*-*") if folder.is_dir() and not folder.name.endswith("-delete")]
    files = sorted(path for folder in folders for path in folder.iterdir()
                   if DUMPED.fullmatch(path.name) and path.stat().st_size > 0)
    logs = [path for path in files if path.suffix == ".log"]
    ensure(logs, f"no segment with records is under {data}")
    internal = [path for path in logs if path.parent.name.startswith("__consumer_offsets-")]
    other = [path for path in files if path not in internal]
    batches = sum(dump(other[at:at + FILES_OF_A_CALL]) for at in range(0, len(other), FILES_OF_A_CALL))
    if internal:
        batches += dump(internal, "--offsets-decoder")
    epochs = [check_epochs(path) for path in data.rglob("leader-epoch-checkpoint")]
    checkpoints = [check_offsets(path) for path in data.rglob("*-offset-checkpoint")]
    kinds = Counter(path.suffix for path in files)
    print(f"dump-log: {batches} batches in {kinds['.log']} segments, {kinds['.index']} indexes, "
          f"{kinds['.timeindex']} time indexes, {kinds['.snapshot']} snapshots, {len(epochs)} epoch checkpoints, "
          f"{len(checkpoints)} offset checkpoints: ok")


def dump(files, *options):
    """The number of batches in the files; fails at the first complaint, with the file that it is about."""
    if not files:
        return 0
    text = run_tool("kafka-dump-log", "--deep-iteration", "--files", ",".join(map(str, files)), *options)
    current, batches = None, 0
    for line in text.splitlines():
        if line.startswith("Dumping "):
            current = line.removeprefix("Dumping ")
        elif COMPLAINTS.search(line):
            raise Failed(f"kafka-dump-log about {current}: {line}")
        batches += line.startswith("baseOffset: ")
    dumped = text.count("Dumping ")
    ensure(dumped == len(files), f"kafka-dump-log dumped {dumped} of {len(files)} files")
    return batches


def entries(path):
    """The lines of a checkpoint file of version 0: the version, how many there are, and they. Empty before its use."""
    lines = path.read_text().splitlines() or ["0", "0"]
    ensure(lines[:1] == ["0"] and len(lines) >= 2 and int(lines[1]) == len(lines) - 2,
           f"{path} is no checkpoint of version 0: {lines[:3]}")
    return [line.split() for line in lines[2:]]


def check_epochs(path):
    found = [(int(epoch), int(start)) for epoch, start in entries(path)]
    ensure(found == sorted(found) and len(dict(found)) == len(found),
           f"{path}: epochs and their start offsets do not rise: {found}")


def check_offsets(path):
    for topic, partition, offset in entries(path):
        ensure(int(partition) >= 0 and int(offset) >= 0 and topic, f"{path}: {topic} {partition} {offset}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: dump_log.py DATA_DIR")
    try:
        main(Path(sys.argv[1]))
    except Failed as failed:
        sys.exit(f"FAILED dump-log: {failed}")
