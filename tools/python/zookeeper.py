"""A small ZooKeeper client with plain names, for Ringkeeper and for any other ZooKeeper server.

    from zookeeper import ZooKeeper
    zk = ZooKeeper('localhost:2181')
    zk.start()
    zk.create('/test', 'test data', ZooKeeper.EPHEMERAL)
    value, stat = zk.get('/test')
    zk.delete('/test')
    zk.stop()

It is a thin layer over kazoo, which does the work: connection, session, reconnects. The layer adds two things: the
create modes as one argument, under ZooKeeper's names, and text as the type of data. Everything else of kazoo (watches,
transactions, recipes) is reached through the attribute `client`.

Text: data given as str is stored in the client's encoding (UTF-8), and `get` and `set` speak str. Data given as bytes is
stored as it is. With `encoding=None` the client speaks bytes only. The type of a result never depends on the data.

Errors are kazoo's, re-exported here: NoNodeError, NodeExistsError, BadVersionError, NotEmptyError and their base
ZooKeeperError for what the server refuses; ConnectionLoss and SessionExpiredError for the connection. After
ConnectionLoss it is unknown whether a write took place: look before repeating it.

Not here: container and TTL znodes (kazoo has no such requests).
"""

from kazoo.client import KazooClient
from kazoo.exceptions import (
    BadVersionError,
    ConnectionLoss,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    SessionExpiredError,
    ZookeeperError as ZooKeeperError,
)
from kazoo.handlers.threading import KazooTimeoutError as NotConnectedError

__all__ = [
    "BadVersionError",
    "ConnectionLoss",
    "NoNodeError",
    "NodeExistsError",
    "NotConnectedError",
    "NotEmptyError",
    "NotTextError",
    "SessionExpiredError",
    "ZooKeeper",
    "ZooKeeperError",
]


class NotTextError(ValueError):
    """A znode's data is not text in the client's encoding; read it with a client that has `encoding=None`."""


class ZooKeeper:
    """One session with a server or an ensemble.

    hosts: "host:port[,host:port…][/chroot]". session_timeout_s: how long the session outlives its connection, in
    seconds; the server may clamp it. encoding: of text, or None for bytes only. Not connected until `start`.
    """

    # ZooKeeper's create modes with their numbers on the wire.
    PERSISTENT = 0
    EPHEMERAL = 1
    PERSISTENT_SEQUENTIAL = 2
    EPHEMERAL_SEQUENTIAL = 3

    def __init__(self, hosts="localhost:2181", session_timeout_s=10.0, encoding="utf-8"):
        self._hosts = hosts
        self._session_timeout_s = session_timeout_s
        self._encoding = encoding
        self._client = None

    @property
    def client(self):
        """The kazoo client underneath. Raises RuntimeError before `start` and after `stop`."""
        if self._client is None:
            raise RuntimeError("not started: call start() first")
        return self._client

    def start(self, timeout_s=15.0):
        """Connects and opens a session; returns self. Raises NotConnectedError after timeout_s seconds."""
        if self._client is None:
            client = KazooClient(hosts=self._hosts, timeout=self._session_timeout_s)
            try:
                client.start(timeout=timeout_s)
            except BaseException:
                client.close()
                raise
            self._client = client
        return self

    def stop(self):
        """Closes the session, which removes its ephemeral znodes. Without a session it does nothing."""
        client, self._client = self._client, None
        if client is not None:
            client.stop()
            client.close()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_error):
        self.stop()

    def create(self, path, value="", mode=PERSISTENT, acl=None):
        """Creates a znode; returns its path, which in the sequential modes ends in ten digits.

        acl: a list of kazoo.security.ACL; None leaves the znode open to everyone. Raises NodeExistsError, and
        NoNodeError when the parent is missing.
        """
        if mode not in (self.PERSISTENT, self.EPHEMERAL, self.PERSISTENT_SEQUENTIAL, self.EPHEMERAL_SEQUENTIAL):
            raise ValueError(f"unknown create mode {mode!r}")
        return self.client.create(
            path,
            self._to_bytes(value),
            acl=acl,
            ephemeral=mode in (self.EPHEMERAL, self.EPHEMERAL_SEQUENTIAL),
            sequence=mode in (self.PERSISTENT_SEQUENTIAL, self.EPHEMERAL_SEQUENTIAL),
        )

    def get(self, path):
        """The pair (value, stat) of a znode; stat is kazoo's ZnodeStat. Raises NoNodeError and NotTextError."""
        data, stat = self.client.get(path)
        return self._from_bytes(path, data), stat

    def set(self, path, value, version=-1):
        """Replaces a znode's data; returns its new stat. With a version, only if it is still the current one."""
        return self.client.set(path, self._to_bytes(value), version)

    def exists(self, path):
        """The znode's stat, or None."""
        return self.client.exists(path)

    def children(self, path):
        """The names of a znode's children, sorted."""
        return sorted(self.client.get_children(path))

    def delete(self, path, version=-1):
        """Removes a znode without children; returns True. Raises NoNodeError, NotEmptyError, BadVersionError."""
        return self.client.delete(path, version)

    def _to_bytes(self, value):
        if isinstance(value, str):
            if self._encoding is None:
                raise TypeError("this client has no encoding: give bytes")
            return value.encode(self._encoding)
        return value

    def _from_bytes(self, path, data):
        if self._encoding is None or data is None:
            return data
        try:
            return data.decode(self._encoding)
        except UnicodeDecodeError as error:
            raise NotTextError(f"the data of {path} is not {self._encoding}: {error.reason} at byte {error.start}") from error
