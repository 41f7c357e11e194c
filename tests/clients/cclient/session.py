"""Plays a script to the C client's command line, cli_mt; see common/transcript.py for the script and the transcript.

cli_mt prints everything on standard error, most of it from the thread that runs completions, in the order in which the
server's packets came: an event that follows the answer to the change that caused it would show. So events are left in
the command's output; the directive `events` waits for those that another client causes. Each command is followed by a
`sync` of a path of its own, whose answer marks the end. The path has no znode: sync does not need one.

`get`, `ls`, `ls2`, `exists` and `wexists` always leave a watch. `exists` and `wexists` answer in the main thread and print
only errors. The children of `ls` are sorted: their order is unspecified.
"""

import re

import transcript

EVENT = "Watcher "
# Printed whenever the connection is there, which is at no fixed time for a client that starts with its command.
OF_CONNECTION = re.compile(r"^(Watcher SESSION_EVENT state = CONNECTED_STATE|Got a new session id: .*)$")


class CClient(transcript.Client):
    def __init__(self, argv):
        super().__init__(argv, merge_stdout=False)
        self._commands = 0
        self.collect_events()  # the event of its connection

    def end_marker(self):
        self._commands += 1
        path = f"/end-of-command-{self._commands}"
        return f"sync {path}", f"\tname = {path}"

    def split_events(self, lines):
        """Events stay where they are; see collect_events for those that come between commands."""
        return [line for line in lines if not line.startswith("[/end-of-command-")], []

    def execute(self, command):
        lines = super().execute(command)
        return sort_children(lines) if command and command.startswith("ls") else lines

    def collect_events(self):
        self.events += [line for line in self.execute(None) if line.startswith(EVENT)]


def normalizer():
    names = transcript.Names()

    def normalize(command, line):
        if re.match(r"^time = \d+ msec$", line):
            return None
        line = transcript.without_ports(line)
        line = re.sub(r"^(\t[cm]time ?= ?).*$", r"\1TIME", line)
        line = re.sub(r"^(\t[cm]zxid=)([0-9a-f]+)$", lambda match: match[1] + names.zxid(int(match[2], 16)), line)
        line = re.sub(r"^(\tephemeralOwner = )([0-9a-f]+)$", lambda match: match[1] + names.session(int(match[2], 16)), line)
        return line.replace("\t", "    ")

    return normalize


def sort_children(lines):
    """The lines of children, between "rc = 0" and what follows, in order."""
    done, block = [], []
    for line in lines + [""]:
        if re.match(r"^\t[^=]*$", line):
            block.append(line)
        else:
            done += sorted(block) + [line]
            block = []
    return done[:-1]


def count_equal(lines):
    """For a command with hundreds of answers: each different line once, with how often it came. Without its one stat."""
    lines = [line for line in lines if not line.startswith("\t")]
    return [f"{lines.count(line)} x {line}" for line in sorted(set(lines))]


def main():
    options = transcript.parse_options(__doc__.splitlines()[0], "client")

    def run_alone(command):
        lines, status = transcript.run_alone([options.client, options.server, f"cmd:{command}"])
        lines = [line for line in lines if not OF_CONNECTION.match(line)]
        return count_equal(lines) if command == "od" else sort_children(lines), status

    session = transcript.Session(
        options.server, lambda address: CClient([options.client, address]), run_alone, normalizer()
    )
    with open(options.script, encoding="utf-8") as script:
        session.play(script)


if __name__ == "__main__":
    main()
