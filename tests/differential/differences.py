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

SASL = Difference(
    "sasl-refused",
    "Without SASL configured the reference answers a SASL packet with err 0 and a null token and goes on, "
    "which a client may take for the end of a successful exchange. Ringkeeper, which has no SASL, answers "
    "AUTHFAILED with a null token and closes: whoever asks for SASL shall not go on unauthenticated without "
    "noticing. The reference is sent an auth packet with an unknown scheme in its place, which it answers so.",
    (wire.SASL,))

AUTH_ORDER = Difference(
    "auth-order",
    "An ACL entry `auth` becomes one entry for each id of the connection. The reference takes them in the order "
    "of a hash set, Ringkeeper in the order in which the client proved them. So neighbouring entries with equal "
    "permissions are compared without their order, as are the ids of whoAmI.")

ALL = [ZXID_GAPS, INTERNAL_OPCODES, CREATE_TTL_WITHOUT_TTL, SASL, AUTH_ORDER]
NULL_TOKEN = b"\xff\xff\xff\xff"


def adapted(request, kind):
    """The request as a server of this kind gets it."""
    if kind != "zookeeper":
        return request
    if request.op in INTERNAL_OPCODES.opcodes:
        return Request(UNKNOWN_OPCODE)
    if request.op in SASL.opcodes and not request.damage:
        return Request(wire.AUTH, (0, "no such scheme", b""), own_xid=True)
    return request


def answer_adapted(op, message, kind):
    """The answer as it is compared: the refusal of SASL has a null token behind its error, and only it."""
    if kind == "ringkeeper" and op in SASL.opcodes and message[0] == "reply" and message[3] == -115:
        if message[4] != NULL_TOKEN:
            return ("undecodable", "a refusal of SASL without its null token", message[4].hex())
        return (*message[:4], b"")
    return message


def text():
    return "\n".join(f"  {entry.name}: {entry.reason}" for entry in ALL)
