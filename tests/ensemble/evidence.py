"""The rounds that were played, one line each in docs/evidence/ensemble-rounds.tsv, and the table made of them.

`load` is the machine's load average over a minute: times measured on a busy machine say little.
"""

import collections
import os
import statistics
import time

from systems import host

PATH = host.ROOT / "docs" / "evidence" / "ensemble-rounds.tsv"
HEAD = ("time", "system", "version", "build", "scenario", "round", "outcome", "first_write_ms", "acknowledged", "load", "found", "notes")


class Row:
    def __init__(self, system, scenario, number, passed, first_ms, found, notes, acked):
        self.values = (time.strftime("%FT%TZ", time.gmtime()), system.name, system.version(), system.build(), scenario, str(number + 1), "passed" if passed else "FAILED",
                       "" if first_ms is None else f"{first_ms:.0f}", str(acked), f"{os.getloadavg()[0]:.1f}",
                       ",".join(found), "; ".join(notes))

    def fields(self):
        return dict(zip(HEAD, self.values))


def load():
    """All lines of the file, as dictionaries."""
    if not PATH.exists():
        return []
    lines = PATH.read_text().splitlines()
    return [dict(zip(HEAD, line.split("\t"))) for line in lines[1:]]


class Book:
    """The file, as far as it concerns one program of one system."""

    def __init__(self, system):
        self.system, self.build = system, system.build()

    def done(self, scenario):
        """How many rounds of this scenario passed already."""
        return sum(row["scenario"] == scenario and row["system"] == self.system.name and row["build"] == self.build and row["outcome"] == "passed"
                   for row in load())

    def add(self, row):
        PATH.parent.mkdir(parents=True, exist_ok=True)
        if not PATH.exists():
            PATH.write_text("\t".join(HEAD) + "\n")
        with open(PATH, "a", encoding="utf-8") as file:
            file.write("\t".join(value.replace("\t", " ").replace("\n", " ") for value in row.values) + "\n")


def table(rows, recorded):
    """Scenario × system: rounds passed, median and worst time to the first write, what was found. Beside the rows stands what was recorded
    of the other system in the same scenarios."""
    played, own = {row["scenario"] for row in rows}, {row["system"] for row in rows}
    rows = rows + [row for row in recorded if row["scenario"] in played and row["system"] not in own]
    cells, scenarios, systems = collections.defaultdict(list), [], []
    for row in rows:
        cells[row["scenario"], row["system"]].append(row)
        for known, name in ((scenarios, row["scenario"]), (systems, row["system"])):
            if name not in known:
                known.append(name)
    systems.sort()
    lines = [f"{'scenario':24}" + "".join(f"| {name + ' passed':18} {'median':>8} {'worst ms':>8}  {'found':28}" for name in systems)]
    for scenario in scenarios:
        lines.append(f"{scenario:24}" + "".join("| " + cell(cells[scenario, system]) for system in systems))
    return "\n".join(lines)


def cell(rows):
    if not rows:
        return f"{'-':18} {'':>8} {'':>8}  {'':28}"
    times = [float(row["first_write_ms"]) for row in rows if row["first_write_ms"]]
    found = collections.Counter(kind for row in rows for kind in row["found"].split(",") if kind)
    passed = sum(row["outcome"] == "passed" for row in rows)
    median, worst = (f"{statistics.median(times):.0f}", f"{max(times):.0f}") if times else ("", "")
    return f"{f'{passed} of {len(rows)}':18} {median:>8} {worst:>8}  {', '.join(f'{kind} {count}' for kind, count in found.items()):28}"
