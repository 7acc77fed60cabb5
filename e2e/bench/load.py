"""What is written and read in a case."""

from dataclasses import dataclass

GIB = 1 << 30
# Beside its value a record of these sizes takes about so many bytes of a batch.
RECORD_OVERHEAD_BYTES = 9


@dataclass(frozen=True)
class Load:
    """So many records of such a size, in batches of such a size."""

    records: int
    record_bytes: int
    batch_bytes: int

    @property
    def bytes(self):
        """All values together."""
        return self.records * self.record_bytes

    @property
    def frames(self):
        """About how many batches that makes."""
        return self.records // max(1, self.batch_bytes // (self.record_bytes + RECORD_OVERHEAD_BYTES))

    def scaled(self, scale):
        return Load(max(1000, int(self.records * scale)), self.record_bytes, self.batch_bytes)


CLASSIC = Load(1_000_000, 1000, 16 << 10)
SMALL_16 = Load(5_000_000, 100, 16 << 10)
SMALL_64 = Load(5_000_000, 100, 64 << 10)
