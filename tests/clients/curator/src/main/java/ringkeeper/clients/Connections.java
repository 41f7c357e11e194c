package ringkeeper.clients;

import static ringkeeper.clients.Check.bytes;
import static ringkeeper.clients.Check.connect;
import static ringkeeper.clients.Check.equal;
import static ringkeeper.clients.Check.that;
import static ringkeeper.clients.Check.thrown;
import static ringkeeper.clients.Check.until;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.cache.CuratorCache;
import org.apache.curator.framework.recipes.watch.PersistentWatcher;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.WatchedEvent;
import org.apache.zookeeper.Watcher;
import org.apache.zookeeper.Watcher.Event.EventType;

/** Connections and sessions: resumed and lost ones, watches across both, the tracker of the ensemble. */
final class Connections {
    private Connections() {}

    static void register(Map<String, Main.Body> checks) {
        checks.put("ensemble tracker", Connections::ensembleTracker);
        checks.put("session outlives its connection", Connections::resume);
        checks.put("watches are set again after a reconnect", Connections::watchesAfterReconnect);
        checks.put("a change missed while away is told", Connections::missedChange);
        checks.put("lost session", Connections::lostSession);
        checks.put("watches are removed", Connections::removeWatches);
        checks.put("requests in the background", Connections::background);
    }

    /** Closes the client's socket under it and waits until it is connected again. */
    private static void dropConnection(CuratorFramework client) throws Exception {
        CountDownLatch back = new CountDownLatch(1);
        client.getConnectionStateListenable().addListener((same, state) -> {
            if (state == ConnectionState.RECONNECTED) {
                back.countDown();
            }
        });
        Check.testable(client).closeSocket();
        that(back.await(15, TimeUnit.SECONDS), "connected again within 15 s");
    }

    private static void ensembleTracker(String server) throws Exception {
        try (CuratorFramework client = connect(server)) {
            client.getConfig().forEnsemble();
            Thread.sleep(500); // the tracker reads the configuration in the background and rewrites the connect string
            String connectString = client.getZookeeperClient().getCurrentConnectionString();
            dropConnection(client);
            that(client.checkExists().forPath("/") != null, "the server is found again through " + connectString);
            for (String address : connectString.split(",")) {
                try (CuratorFramework other = connect(address)) {
                    that(other.checkExists().forPath("/zookeeper/config") != null, "and leads to a server at " + address);
                }
            }
        }
    }

    private static void resume(String server) throws Exception {
        try (CuratorFramework client = connect(server);
                CuratorFramework observer = connect(server)) {
            client.create().withMode(CreateMode.EPHEMERAL).forPath("/resumed", bytes("x"));
            long session = Check.sessionId(client);
            for (int i = 0; i < 3; i++) {
                dropConnection(client);
            }
            equal(session, Check.sessionId(client), "the session id after three reconnects");
            that(observer.checkExists().forPath("/resumed") != null, "its ephemeral znode is still there");
            client.setData().forPath("/resumed", bytes("y"));
        }
        try (CuratorFramework observer = connect(server)) {
            equal(null, observer.checkExists().forPath("/resumed"), "the ephemeral znode after the session was closed");
        }
    }

    private static void watchesAfterReconnect(String server) throws Exception {
        List<String> events = Collections.synchronizedList(new ArrayList<>());
        Watcher watcher = event -> {
            if (event.getType() != EventType.None) {
                events.add(event.getType() + " " + event.getPath());
            }
        };
        try (CuratorFramework client = connect(server);
                CuratorFramework writer = connect(server);
                PersistentWatcher persistent = new PersistentWatcher(client, "/again/deep", true)) {
            writer.create().forPath("/again", bytes("x"));
            writer.create().forPath("/again/deep", bytes("x"));
            client.getData().usingWatcher(watcher).forPath("/again");
            client.getChildren().usingWatcher(watcher).forPath("/again");
            client.checkExists().usingWatcher(watcher).forPath("/again/later");
            List<String> persistentEvents = Collections.synchronizedList(new ArrayList<>());
            persistent.getListenable().addListener(event -> recordEvent(persistentEvents, event));
            CountDownLatch set = new CountDownLatch(1);
            persistent.getResetListenable().addListener(set::countDown);
            persistent.start();
            that(set.await(10, TimeUnit.SECONDS), "the persistent watch is set");
            dropConnection(client);
            client.checkExists().forPath("/"); // its reply comes behind the replies to the renewed watches
            that(events.isEmpty(), "nothing has fired yet, found " + events);
            writer.setData().forPath("/again", bytes("y"));
            writer.create().forPath("/again/later", bytes("x"));
            writer.create().forPath("/again/deep/er", bytes("x"));
            writer.setData().forPath("/again/deep/er", bytes("y"));
            until(() -> events.size() == 3, "data, child and exists watch fire, found " + events);
            equal("NodeDataChanged /again", events.get(0), "the data watch");
            that(events.contains("NodeChildrenChanged /again") && events.contains("NodeCreated /again/later"), "the others");
            until(() -> persistentEvents.equals(List.of("NodeCreated /again/deep/er", "NodeDataChanged /again/deep/er")),
                    "the persistent one, found " + persistentEvents);
        }
    }

    private static void recordEvent(List<String> events, WatchedEvent event) {
        if (event.getType() != EventType.None) {
            events.add(event.getType() + " " + event.getPath());
        }
    }

    private static void missedChange(String server) throws Exception {
        try (CuratorFramework client = connect(server);
                CuratorFramework writer = connect(server)) {
            writer.create().forPath("/missed", bytes("0"));
            // Again and again, because a change falls into the gap only by chance; told it must be each time.
            for (int i = 1; i <= 3; i++) {
                CountDownLatch told = new CountDownLatch(1);
                client.getData().usingWatcher((Watcher) event -> {
                    if (event.getType() == EventType.NodeDataChanged) {
                        told.countDown();
                    }
                }).forPath("/missed");
                Check.testable(client).closeSocket();
                writer.setData().forPath("/missed", bytes(Integer.toString(i)));
                that(told.await(15, TimeUnit.SECONDS), "change " + i + " is told");
                equal(Integer.toString(i), Check.text(client.getData().forPath("/missed")), "what is read then");
            }
        }
    }

    private static void lostSession(String server) throws Exception {
        try (CuratorFramework client = connect(server);
                CuratorFramework writer = connect(server);
                CuratorCache cache = CuratorCache.build(client, "/lost")) {
            writer.create().forPath("/lost", bytes("0"));
            cache.start();
            until(() -> cache.size() == 1, "the cache has the znode");
            long session = Check.sessionId(client);
            CountDownLatch lost = new CountDownLatch(1);
            client.getConnectionStateListenable().addListener((same, state) -> {
                if (state == ConnectionState.LOST) {
                    lost.countDown();
                }
            });
            Check.testable(client).injectSessionExpiration();
            that(lost.await(15, TimeUnit.SECONDS), "the loss is told");
            writer.create().forPath("/lost/child", bytes("1"));
            until(() -> cache.size() == 2, "the cache catches up in the new session");
            that(Check.sessionId(client) != session, "the session is a new one");
        }
    }

    private static void removeWatches(String server) throws Exception {
        AtomicInteger fired = new AtomicInteger();
        CountDownLatch removed = new CountDownLatch(1);
        Watcher watcher = event -> {
            if (event.getType() == EventType.DataWatchRemoved) {
                removed.countDown();
            } else if (event.getType() != EventType.None) {
                fired.incrementAndGet();
            }
        };
        try (CuratorFramework client = connect(server)) {
            client.create().forPath("/unwatched", bytes("x"));
            client.getData().usingWatcher(watcher).forPath("/unwatched");
            client.watchers().remove(watcher).ofType(Watcher.WatcherType.Data).forPath("/unwatched");
            that(removed.await(10, TimeUnit.SECONDS), "the removal is told");
            client.setData().forPath("/unwatched", bytes("y"));
            thrown(KeeperException.NoWatcherException.class,
                    () -> client.watchers().remove(watcher).ofType(Watcher.WatcherType.Data).forPath("/unwatched"), "twice");
            client.sync().forPath("/unwatched");
            equal(0, fired.get(), "events after the removal");
        }
    }

    private static void background(String server) throws Exception {
        int requests = 500;
        List<Integer> codes = Collections.synchronizedList(new ArrayList<>());
        List<String> paths = Collections.synchronizedList(new ArrayList<>());
        try (CuratorFramework client = connect(server)) {
            client.create().forPath("/many", bytes("x"));
            CountDownLatch done = new CountDownLatch(requests);
            for (int i = 0; i < requests; i++) {
                client.create().withMode(CreateMode.PERSISTENT_SEQUENTIAL).inBackground((same, event) -> {
                    codes.add(event.getResultCode());
                    paths.add(event.getName());
                    done.countDown();
                }).forPath("/many/n-", bytes("x"));
            }
            that(done.await(30, TimeUnit.SECONDS), "all are answered");
            equal(Collections.nCopies(requests, 0), codes, "result codes");
            List<String> sorted = new ArrayList<>(paths);
            Collections.sort(sorted);
            equal(sorted, paths, "answers in the order of the requests");
            equal("/many/n-0000000499", paths.get(requests - 1), "the last name");
            equal(requests, client.getChildren().forPath("/many").size(), "children");
        }
    }
}
