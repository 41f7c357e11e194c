"""The cells of the table operation × error code that a run has to hit, and the table itself.

The list holds what a client can reach on a standalone server in the configuration of `servers`. Not
reachable there, and so not listed: SESSIONEXPIRED and SESSIONMOVED (the connection ends first),
UNIMPLEMENTED for TTL nodes (extended types are on), SYSTEMERROR, and all that needs an ensemble.
"""

import collections

import wire
from wire import ERROR_NAMES, OP_NAMES

_CREATE = "OK MARSHALLINGERROR BADARGUMENTS NONODE NOAUTH NOCHILDRENFOREPHEMERALS NODEEXISTS INVALIDACL QUOTAEXCEEDED"
_SUB_CREATE = ("OK BADARGUMENTS NONODE NOAUTH NOCHILDRENFOREPHEMERALS NODEEXISTS INVALIDACL "
               "QUOTAEXCEEDED RUNTIMEINCONSISTENCY")
_READ = "OK MARSHALLINGERROR NONODE NOAUTH"

_REACHABLE = {
    "create": _CREATE, "create2": _CREATE, "createContainer": _CREATE, "createTTL": _CREATE,
    "delete": "OK MARSHALLINGERROR BADARGUMENTS NONODE NOAUTH BADVERSION NOTEMPTY",
    "exists": "OK MARSHALLINGERROR BADARGUMENTS NONODE NOAUTH",
    "getData": _READ, "getACL": _READ, "getChildren": _READ, "getChildren2": _READ,
    "getAllChildrenNumber": _READ,
    "setData": "OK MARSHALLINGERROR BADARGUMENTS NONODE NOAUTH BADVERSION QUOTAEXCEEDED",
    "setACL": "OK MARSHALLINGERROR BADARGUMENTS NONODE NOAUTH BADVERSION INVALIDACL",
    "sync": "OK MARSHALLINGERROR", "ping": "OK", "check": "UNIMPLEMENTED",
    "multi": "OK MARSHALLINGERROR", "multiRead": "OK MARSHALLINGERROR",
    "multi/create": _SUB_CREATE, "multi/create2": _SUB_CREATE, "multi/createContainer": _SUB_CREATE,
    "multi/createTTL": _SUB_CREATE,
    "multi/delete": "OK BADARGUMENTS NONODE NOAUTH BADVERSION NOTEMPTY RUNTIMEINCONSISTENCY",
    "multi/setData": "OK BADARGUMENTS NONODE NOAUTH BADVERSION QUOTAEXCEEDED RUNTIMEINCONSISTENCY",
    "multi/check": "OK BADARGUMENTS NONODE NOAUTH BADVERSION RUNTIMEINCONSISTENCY",
    "multiRead/getData": "OK NONODE NOAUTH", "multiRead/getChildren": "OK NONODE NOAUTH",
    "reconfig": "RECONFIGDISABLED MARSHALLINGERROR",
    "checkWatches": "OK MARSHALLINGERROR NOWATCHER", "removeWatches": "OK MARSHALLINGERROR NOWATCHER",
    "addWatch": "OK MARSHALLINGERROR", "setWatches": "OK MARSHALLINGERROR",
    "setWatches2": "OK MARSHALLINGERROR", "auth": "OK AUTHFAILED closed", "sasl": "AUTHFAILED closed",
    "getEphemerals": "OK MARSHALLINGERROR", "whoAmI": "OK", "closeSession": "OK",
    "unknown": "UNIMPLEMENTED", "notification": "UNIMPLEMENTED", "error": "UNIMPLEMENTED",
    "createSession": "UNIMPLEMENTED", "deleteContainer": "UNIMPLEMENTED",
    "event": "created deleted changed children",
    "connect": "created resumed moved expired refused-zxid", "expire": "done",
    "frame": "closed",
}
REACHABLE = [(op, err) for op, errs in _REACHABLE.items() for err in errs.split()]
EVENTS = {1: "created", 2: "deleted", 3: "changed", 4: "children"}


def error_name(err):
    return ERROR_NAMES.get(err, str(err))


class Table:
    """Counts answers by operation and error, as the first side gave them."""

    def __init__(self):
        self.counts = collections.Counter()

    def hit(self, op, err):
        self.counts[(op, err)] += 1

    def requests(self, requests, log):
        """Counts the answers in one connection's log against the requests that were sent."""
        waiting = list(requests)
        for message in log:
            if message[0] == "event":
                self.hit("event", EVENTS.get(message[2], str(message[2])))
            elif message[0] == "reply" and waiting:
                self.reply(waiting.pop(0), message)
        if waiting and any(message[0] == "closed" for message in log):
            self.hit(waiting[0].name(), "closed")

    def reply(self, request, message):
        self.hit(request.name(), error_name(message[3]))
        if request.op in (wire.MULTI, wire.MULTI_READ) and message[3] == 0 and request.intact():
            results = [entry for entry in message[4][0] if entry[0] != "end"]
            for (op, _), result in zip(request.fields[0], results):
                name = f"{request.name()}/{OP_NAMES.get(op, op)}"
                # A failed multi lists the operations before the failure as type error, code 0.
                err = result[1]
                self.hit(name, "undone" if result[0] == -1 and err == 0 else error_name(err))

    def missing(self):
        return [cell for cell in REACHABLE if not self.counts[cell]]

    def text(self):
        """The table, one operation a line, unlisted cells in brackets."""
        lines = []
        for op in dict.fromkeys([op for op, _ in REACHABLE] + [op for op, _ in self.counts]):
            listed = [(err, self.counts[(op, err)]) for o, err in REACHABLE if o == op]
            others = [(err, n) for (o, err), n in sorted(self.counts.items())
                      if o == op and (op, err) not in REACHABLE]
            cells = [f"{err} {n}" for err, n in listed] + [f"[{err} {n}]" for err, n in others]
            lines.append(f"  {op:22}" + "  ".join(cells))
        return "\n".join(lines)
