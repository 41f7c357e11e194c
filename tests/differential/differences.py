"""The deliberate differences between the reference and Ringkeeper, each with its reason.

Nothing else may differ. An entry with `substitute` says which request the reference gets instead, so
that its answer is the one that Ringkeeper promises for the original.
"""

import dataclasses

import wire
from steps import Request

UNKNOWN_OPCODE = 9999


@dataclasses.dataclass
class Difference:
    name: str
    reason: str
    opcodes: tuple = ()


ZXID_GAPS = Difference(
    "zxid-gaps",
    "The reference gives a zxid to a write that fails (and logs it); Ringkeeper doesn't. So zxids are "
    "compared by order: stats and events by a one-to-one map that keeps order, reply headers by their "
    "place among the known transactions.")
INTERNAL_OPCODES = Difference(
    "internal-opcodes",
    "The reference carries out createSession and deleteContainer for any client that sends their "
    "numbers. Ringkeeper refuses them like unknown operations (UNIMPLEMENTED, then the end of the "
    "connection), so the reference is sent an unknown operation in their place.",
    (wire.CREATE_SESSION, wire.DELETE_CONTAINER))
CREATE_TTL_WITHOUT_TTL = Difference(
    "createTTL-negative",
    "createTTL with a mode that isn't a TTL mode and a negative ttl is not sent: the reference accepts "
    "it and then fails while applying the transaction.")

ALL = [ZXID_GAPS, INTERNAL_OPCODES, CREATE_TTL_WITHOUT_TTL]


def adapted(request, kind):
    """The request as a server of this kind gets it."""
    if kind == "zookeeper" and request.op in INTERNAL_OPCODES.opcodes:
        return Request(UNKNOWN_OPCODE)
    return request


def text():
    return "\n".join(f"  {entry.name}: {entry.reason}" for entry in ALL)
