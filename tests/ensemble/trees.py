"""The whole tree of one server, read through its own client port."""

import session as raw
from session import wire

PIPELINE = 200
# The reference stamps this node at each start with values of the server's own.
OWN_STATS = frozenset(("/zookeeper/config",))


def read_all(client, requests):
    """The replies to many requests, pipelined."""
    for start in range(0, len(requests), PIPELINE):
        part = requests[start:start + PIPELINE]
        client.post(part)
        for _ in part:
            yield client.reply()


def dump(address, wait_s=20):
    """path -> (data, stat) of everything, after a `sync`. Fails with OSError, raw.Closed or TimeoutError."""
    client = raw.Session(address, wait_s=wait_s)
    try:
        client.ok(wire.SYNC, "/")
        level, tree = ["/"], {}
        while level:
            for path, reply in zip(level, list(read_all(client, [(wire.GET_DATA, (path, False)) for path in level]))):
                if reply.err == 0:
                    data, stat = reply.body
                    tree[path] = (data, {} | stat) if path not in OWN_STATS else (data, {"owner": 0, "version": 0, "mzxid": 0, "czxid": 0, "numChildren": 0})
            parents = [path for path in level if path in tree and tree[path][1]["numChildren"]]
            level = [f"{path.rstrip('/')}/{name}" for path, reply in
                     zip(parents, list(read_all(client, [(wire.GET_CHILDREN, (path, False)) for path in parents])))
                     for name in (reply.body[0] if reply.err == 0 else ())]
        client.close()
        return tree
    finally:
        client.drop()
