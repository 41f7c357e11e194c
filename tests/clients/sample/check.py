"""Runs the sample statement by statement and checks each result, then the module's edges.

A second client, plain kazoo, looks at the server between the statements, so a module that only pretended to talk to
it would fail. Exits 1 with the list of what was wrong.
"""

import ast
import logging
import sys
import time

from kazoo.client import KazooClient

import zookeeper

HOSTS = "localhost:2181"
failures = []


def check(what, condition, found=None):
    if not condition:
        failures.append(f"{what} (found {found!r})")


def run_statement(source, tree_statement, names):
    """The value of an expression statement; None for any other statement."""
    if isinstance(tree_statement, ast.Expr):
        return eval(compile(ast.Expression(tree_statement.value), source, "eval"), names)
    exec(compile(ast.Module([tree_statement], []), source, "exec"), names)
    return None


def check_create(value, names, observer):
    check("create returns the path", value == "/test", value)
    data, stat = observer.get("/test")
    check("the data is stored as UTF-8", data == b"test data", data)
    session_id = names["zk"].client.client_id[0]
    check("the znode is ephemeral and owned by the session", stat.ephemeralOwner == session_id, stat)


def check_get(value, names, observer):
    check("get returns (value, stat)", isinstance(value, tuple) and len(value) == 2, value)
    check("get returns the text", value[0] == "test data", value[0])
    _, stat = observer.get("/test")
    check("get returns the stat the server has", tuple(value[1]) == tuple(stat), value[1])
    check("the stat is that of a fresh znode", (stat.version, stat.cversion, stat.aversion) == (0, 0, 0), stat)
    check("its length is the data's", stat.dataLength == 9 and stat.numChildren == 0, stat)
    check("it was never changed", stat.czxid == stat.mzxid == stat.pzxid and stat.ctime == stat.mtime, stat)


def check_delete(value, names, observer):
    check("delete returns True", value is True, value)
    check("the znode is gone", observer.exists("/test") is None)


def check_start(value, names, observer):
    check("start returns the client", value is names["zk"], value)
    check("start leaves it connected", names["zk"].client.connected)


def check_stop(value, names, observer):
    check("stop returns None", value is None, value)


CHECKS = {"start": check_start, "create": check_create, "get": check_get, "delete": check_delete, "stop": check_stop}


def check_sample(path, observer):
    with open(path, encoding="utf-8") as file:
        statements = ast.parse(file.read(), path).body
    names, seen = {}, []
    for statement in statements:
        value = run_statement(path, statement, names)
        if isinstance(statement, ast.Expr):
            call = statement.value.func.attr
            CHECKS[call](value, names, observer)
            seen.append(call)
    check("the sample has every call", sorted(seen) == sorted(CHECKS), seen)


def check_raises(what, error, call, *args):
    try:
        result = call(*args)
    except error:
        return
    failures.append(f"{what}: no {error.__name__}, but {result!r}")


def check_edges(observer):
    """What the sample does not touch: errors, modes, bytes, and that stop removes ephemeral znodes at once."""
    zk = zookeeper.ZooKeeper(HOSTS)
    check_raises("a call before start", RuntimeError, zk.get, "/")
    check("a stop before start does nothing", zk.stop() is None)
    with zk:
        zk.create("/test", b"\xff\x00", zk.EPHEMERAL)
        check_raises("data that is no text", zookeeper.NotTextError, zk.get, "/test")
        check_raises("create of what exists", zookeeper.NodeExistsError, zk.create, "/test", "")
        check_raises("get of what is missing", zookeeper.NoNodeError, zk.get, "/missing")
        check_raises("delete of a wrong version", zookeeper.BadVersionError, zk.delete, "/test", 7)
        stat = zk.set("/test", "grün", 0)
        check("set returns the new stat", stat.version == 1 and stat.dataLength == 5, stat)
        check("text is UTF-8", zk.get("/test")[0] == "grün")
        first = zk.create("/n-", "", zk.EPHEMERAL_SEQUENTIAL)
        second = zk.create("/n-", "", zk.EPHEMERAL_SEQUENTIAL)
        check("sequence numbers have ten digits", len(first) == 13 and int(second[3:]) == int(first[3:]) + 1, second)
        check("children lists both", {first[1:], second[1:], "test"} <= set(zk.children("/")), zk.children("/"))
        check("exists returns the stat", zk.exists("/test").version == 1 and zk.exists("/missing") is None)
        check_raises("an unknown mode", ValueError, zk.create, "/m", "", 9)
    check("stop removes the ephemeral znodes", observer.exists("/test") is None and observer.exists(first) is None)
    with zookeeper.ZooKeeper(HOSTS, encoding=None) as raw:
        raw.create("/test", b"\xff\x00", raw.EPHEMERAL)
        check("without an encoding, bytes come back", raw.get("/test")[0] == b"\xff\x00")
        check_raises("without an encoding, text is refused", TypeError, raw.set, "/test", "text")
    zk.start()
    check("a stopped client starts again", zk.exists("/") is not None)
    zk.stop()
    logging.disable(logging.ERROR)  # kazoo reports each refused connection
    started = time.monotonic()
    check_raises("nobody listening", zookeeper.NotConnectedError, zookeeper.ZooKeeper("127.0.0.1:1").start, 1.0)
    check("start gives up in time", time.monotonic() - started < 5)


def main():
    observer = KazooClient(HOSTS)
    observer.start(timeout=10)
    try:
        check_sample(sys.argv[1], observer)
        check_edges(observer)
    finally:
        observer.stop()
        observer.close()
    for failure in failures:
        print("sample:", failure)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
