"""Client programs that a stage runs beside the ensemble: started, followed line by line, killed. Every wait is bounded."""

import queue
import subprocess
import threading
import time

import members


class Program:
    """A running program whose standard output is read as lines; standard error goes to the file `log`.

    With `follow_log` it is the other way round: the lines are those of standard error, which go to the file too, and
    standard output is left out. `lines` holds what was read so far.
    """

    def __init__(self, name, argv, log, env=None, follow_log=False):
        self.name, self.lines, self._queue = name, [], queue.Queue()
        self._copy = open(log, "a", encoding="utf-8") if follow_log else None
        with open(log, "ab") as errors:
            outputs = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE} if follow_log else {"stdout": subprocess.PIPE, "stderr": errors}
            self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, text=True, errors="replace", bufsize=1, env=env, **outputs)
        self._output = self.process.stderr if follow_log else self.process.stdout
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self._output:
            if self._copy:
                self._copy.write(line)
                self._copy.flush()
            self._queue.put(line.rstrip("\n"))
        self._queue.put(None)

    def tell(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def next_line(self, seconds):
        """The next line; None when none comes in time or the program has ended."""
        try:
            line = self._queue.get(timeout=max(0.0, seconds))
        except queue.Empty:
            return None
        if line is None:
            self._queue.put(None)  # for whoever asks next
        else:
            self.lines.append(line)
        return line

    def await_line(self, wanted, seconds):
        """Reads on until a line fulfils `wanted` (a predicate); gives the lines that were read, that one last."""
        deadline, seen = time.monotonic() + seconds, []
        while (left := deadline - time.monotonic()) > 0:
            line = self.next_line(left)
            if line is None:
                break
            seen.append(line)
            if wanted(line):
                return seen
        how = f"{seconds} s{self.stopped()}" if self.process.poll() is None else f"its end with status {self.process.returncode}"
        raise members.Failure(f"{self.name} printed {seen[-5:]} until {how}, not what was waited for")

    def stopped(self):
        """Says so when a signal holds the process: nothing that the servers did."""
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii", errors="replace") as stat:
            return ", stopped by a signal from outside" if stat.read().rsplit(")", 1)[1].split()[0] in "Tt" else ""

    def rest(self):
        """What has come by now."""
        seen = []
        while (line := self.next_line(0)) is not None:
            seen.append(line)
        return seen

    def kill(self):
        """kill -9; returns when it is gone."""
        self.process.kill()
        self.process.wait(10)


def end(programs):
    """kill -9 of them all, whatever one of them does."""
    for program in programs:
        program.process.kill()
    for program in programs:
        program.process.wait(30)
