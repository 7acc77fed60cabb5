"""What was measured: {metric: {broker: [figure of each round]}}, kept in a file of JSON between runs."""

import json
import statistics
from pathlib import Path


class Results:
    """Figures, added one at a time and written at once: a run that is ended early has what it measured."""

    def __init__(self, path):
        self.path = Path(path)
        self.figures = json.loads(self.path.read_text()) if self.path.exists() else {}

    def forget(self, case):
        """Drops what an earlier run measured of a case."""
        self.figures = {metric: by for metric, by in self.figures.items() if not metric.startswith(f"{case}/")}

    def most_rounds(self, case):
        """How often the metrics of a case were measured, at most."""
        return max((len(rounds) for metric, by in self.figures.items() if metric.startswith(f"{case}/")
                    for rounds in by.values()), default=0)

    def add(self, metric, broker, figure):
        self.figures.setdefault(metric, {}).setdefault(broker, []).append(figure)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(self.figures, indent=1))
        part.replace(self.path)

    def add_run(self, metric, broker, told, cpu_s):
        """A client's run: its rate, and what the broker had of the CPU for each GiB."""
        self.add(f"{metric}/records_s", broker, told["records_s"])
        self.add(f"{metric}/cpu_s_gib", broker, cpu_s / (told["bytes"] / (1 << 30)))

    def median(self, metric, broker):
        """None where it was not measured, or a round failed."""
        rounds = self.figures.get(metric, {}).get(broker)
        if not rounds or None in rounds:
            return None
        return statistics.median(rounds)

    def worst(self, metric, broker):
        """The largest of all rounds; None where it was not measured, or a round failed."""
        rounds = self.figures.get(metric, {}).get(broker)
        return None if not rounds or None in rounds else max(rounds)

    def ratio(self, metric, broker, other):
        """The median of the rounds' own ratios, whose two figures were measured one right after the other; that of the
        medians where one of them has fewer rounds. None without both.
        """
        ours, theirs = (self.median(metric, name) for name in (broker, other))
        if ours is None or not theirs:
            return None
        pairs = list(zip(*(self.figures[metric][name] for name in (broker, other))))
        if len(pairs) == self.rounds(metric, broker) == self.rounds(metric, other) and all(by for _, by in pairs):
            return statistics.median(one / by for one, by in pairs)
        return ours / theirs

    def rounds(self, metric, broker):
        return len(self.figures.get(metric, {}).get(broker, []))
