"""Plays a script to ZooKeeper's own command line, zkCli; see common/transcript.py for the script and the transcript.

Each command is followed by `printwatches`, whose fixed answer marks the end of the command's output: it does not reach
the server. Another thread of zkCli prints the watch events, so they are taken out of the command's output. The order of
getEphemerals is unspecified, so it is sorted.
"""

import re

import transcript

EVENT = "WatchedEvent "


class ZkCli(transcript.Client):
    def __init__(self, argv):
        super().__init__(argv)
        self.execute(None)  # the greeting

    def end_marker(self):
        return "printwatches", "printwatches is on"

    def split_events(self, lines):
        """zkCli prints an empty line before each of the two lines of an event."""
        others, events = [], []
        for line in lines:
            if not line.startswith(EVENT) and line != "WATCHER::":
                others.append(line)
                continue
            if others and others[-1] == "":
                others.pop()
            # "Closed" is zkCli telling itself that it closed: no event of the server, and at no fixed time.
            if line.startswith(EVENT) and " state:Closed " not in line:
                events.append(line)
        return others, events


def normalizer():
    names = transcript.Names()

    def normalize(command, line):
        if command.startswith("getEphemerals") and re.fullmatch(r"\[.*\]", line):
            return "[" + ", ".join(sorted(line[1:-1].split(", "))) + "]"
        line = re.sub(r"^([cmp]Zxid = )0x([0-9a-f]+)$", lambda match: match[1] + names.zxid(int(match[2], 16)), line)
        line = re.sub(r"( zxid: )(\d+)$", lambda match: match[1] + names.zxid(int(match[2])), line)
        line = transcript.without_ports(line)
        line = re.sub(r"^([cm]time = ).*$", r"\1TIME", line)
        return re.sub(r"^(ephemeralOwner = )0x([0-9a-f]+)$", lambda match: match[1] + names.session(int(match[2], 16)), line)

    return normalize


def main():
    options = transcript.parse_options(__doc__.splitlines()[0], "classpath", "log")

    def argv(address):
        return [
            "java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", options.classpath,
            f"-Dorg.slf4j.simpleLogger.logFile={options.log}",
            "org.apache.zookeeper.ZooKeeperMain", "-waitforconnection", "-server", address,
        ]

    def run_alone(command):
        lines, status = transcript.run_alone(argv(options.server) + command.split())
        return ZkCli.split_events(None, lines)[0], status

    session = transcript.Session(options.server, lambda address: ZkCli(argv(address)), run_alone, normalizer())
    with open(options.script, encoding="utf-8") as script:
        session.play(script)


if __name__ == "__main__":
    main()
