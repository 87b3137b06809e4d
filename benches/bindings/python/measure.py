"""How time is measured: as in benches/measure.rs, whose programs take the same arguments."""

import json
import statistics
import sys
import time

ROOM = "!room:example.org"
SENDER = "@bob:example.org"
BATCHES = 10


class Task:
    """What one measurement is about: row, size, count and the folder of the material."""

    def __init__(self, row, size, count, folder):
        self.row, self.size, self.count, self.folder = row, int(size), int(count), folder

    def content(self):
        return {"msgtype": "m.text", "body": "x" * self.size}

    def traffic(self):
        """The sender's key, the content of the `m.room_key`, and the text of each event."""
        with open(f"{self.folder}/deep.lines") as file:
            sender_key, room_key, *events = file.read().splitlines()
        return sender_key, room_key, events[: self.count]


class Timer:
    """Many runs of one short operation."""

    def __init__(self):
        self._times = []

    def time(self, operation, *arguments):
        start = time.perf_counter_ns()
        result = operation(*arguments)
        self._times.append(time.perf_counter_ns() - start)
        return result

    def result(self, each=1):
        """µs of one: the median over blocks."""
        block = -(-len(self._times) // 15)
        blocks = [self._times[at : at + block] for at in range(0, len(self._times), block)]
        return statistics.median(statistics.fmean(block) for block in blocks) / 1000 / each


def batches(events):
    """The events in ten lists, each for one call."""
    size = -(-len(events) // BATCHES)
    return [events[at : at + size] for at in range(0, len(events), size)]


def run(rows):
    """Prints the figure of one of these rows: of its function, or of none."""
    task = Task(*sys.argv[1:])
    print(json.dumps({"value": rows[task.row](task) if task.row in rows else None}))
