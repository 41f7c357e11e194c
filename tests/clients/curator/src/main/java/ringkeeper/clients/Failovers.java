package ringkeeper.clients;

import static ringkeeper.clients.Check.bytes;
import static ringkeeper.clients.Check.equal;
import static ringkeeper.clients.Check.that;
import static ringkeeper.clients.Check.until;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.cache.CuratorCache;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.leader.LeaderLatchListener;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.curator.retry.RetryUntilElapsed;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.data.Stat;

/**
 * Recipes while the server that leads is killed with kill -9, twice in each check, and started again. Sessions last so
 * long that a failover never ends one, so each recipe's promise must hold without exception.
 */
final class Failovers {
    private static final int SESSION_TIMEOUT_MS = 30_000;
    private static final int FAILOVERS = 2;

    private Failovers() {}

    static void register(Map<String, Main.Body> checks, Ensemble ensemble) {
        checks.put("one leader at a time over failovers", servers -> leaderLatch(servers, ensemble));
        checks.put("mutex protects a counter over failovers", servers -> mutex(servers, ensemble));
        checks.put("cache converges over failovers", servers -> cache(servers, ensemble));
        checks.put("session, ephemeral and watch outlive failovers", servers -> session(servers, ensemble));
    }

    /** A client that asks again until it is answered; `lost` counts sessions that ended. */
    private static CuratorFramework connect(String servers, AtomicInteger lost) throws Exception {
        CuratorFramework client = CuratorFrameworkFactory.builder()
                .connectString(servers)
                .sessionTimeoutMs(SESSION_TIMEOUT_MS)
                .connectionTimeoutMs(5_000)
                .retryPolicy(new RetryUntilElapsed(60_000, 100))
                .build();
        client.getConnectionStateListenable().addListener((same, state) -> {
            if (state == ConnectionState.LOST) {
                lost.incrementAndGet();
            }
        });
        client.start();
        that(client.blockUntilConnected(30, TimeUnit.SECONDS), "connected within 30 s");
        return client;
    }

    /**
     * A sync that was answered. Curator's own returns before the answer and sends it again in the background when its
     * connection is lost, so a read behind it could overtake it.
     */
    private static void synced(CuratorFramework client, String path) throws Exception {
        CompletableFuture<Integer> code = new CompletableFuture<>();
        client.sync().inBackground((same, event) -> code.complete(event.getResultCode())).forPath(path);
        equal(KeeperException.Code.OK.intValue(), code.get(60, TimeUnit.SECONDS), "the code of a sync");
    }

    private static void leaderLatch(String servers, Ensemble ensemble) throws Exception {
        AtomicInteger lost = new AtomicInteger();
        AtomicInteger leading = new AtomicInteger();
        AtomicInteger terms = new AtomicInteger();
        AtomicInteger mostLeading = new AtomicInteger();
        List<CuratorFramework> clients = new ArrayList<>();
        List<LeaderLatch> latches = new ArrayList<>();
        try {
            for (int i = 0; i < 3; i++) {
                clients.add(connect(servers, lost));
                LeaderLatch latch = new LeaderLatch(clients.get(i), "/failover/latch", "client-" + i);
                // Told in the thread that changes the state: before the latch gives its znode up.
                latch.addListener(new LeaderLatchListener() {
                    @Override
                    public void isLeader() {
                        terms.incrementAndGet();
                        mostLeading.accumulateAndGet(leading.incrementAndGet(), Math::max);
                    }

                    @Override
                    public void notLeader() {
                        leading.decrementAndGet();
                    }
                });
                latches.add(latch);
                latch.start();
            }
            until(() -> leading.get() == 1, "one of three leads");
            for (int i = 0; i < FAILOVERS; i++) {
                ensemble.failover();
                until(() -> leading.get() == 1 && latches.stream().filter(LeaderLatch::hasLeadership).count() == 1,
                        "one of three leads after failover " + i);
            }
            LeaderLatch leader = latches.stream().filter(LeaderLatch::hasLeadership).findFirst().orElseThrow();
            leader.close(LeaderLatch.CloseMode.NOTIFY_LEADER);
            latches.remove(leader);
            until(() -> latches.stream().filter(LeaderLatch::hasLeadership).count() == 1, "one of the two others leads when the leader is gone");
            equal(1, mostLeading.get(), "the most that led at a time in " + terms.get() + " terms");
            equal(0, lost.get(), "sessions lost");
        } finally {
            for (LeaderLatch latch : latches) {
                latch.close();
            }
            clients.forEach(CuratorFramework::close);
        }
    }

    private static void mutex(String servers, Ensemble ensemble) throws Exception {
        AtomicInteger lost = new AtomicInteger();
        AtomicBoolean stop = new AtomicBoolean();
        AtomicInteger inside = new AtomicInteger();
        AtomicInteger counted = new AtomicInteger();
        ExecutorService executor = Executors.newCachedThreadPool();
        try (CuratorFramework observer = connect(servers, lost)) {
            observer.create().creatingParentsIfNeeded().forPath("/failover/counter", bytes("0 nobody"));
            List<Future<?>> done = new ArrayList<>();
            for (int i = 0; i < 4; i++) {
                String name = "client-" + i;
                done.add(executor.submit(() -> {
                    count(servers, name, lost, stop, inside, counted);
                    return null;
                }));
            }
            for (int i = 0; i < FAILOVERS; i++) {
                int before = counted.get();
                until(() -> counted.get() > before + 10, "the mutex goes around");
                ensemble.failover();
            }
            int before = counted.get();
            until(() -> counted.get() > before + 10, "the mutex goes around after the last failover");
            stop.set(true);
            for (Future<?> one : done) {
                one.get(60, TimeUnit.SECONDS);
            }
            synced(observer, "/failover/counter");
            String found = Check.text(observer.getData().forPath("/failover/counter")).split(" ")[0];
            equal(Integer.toString(counted.get()), found, "increments");
            equal(0, lost.get(), "sessions lost");
        } finally {
            stop.set(true);
            executor.shutdownNow();
        }
    }

    /** Increments the counter under the mutex until told to stop. */
    private static void count(
            String servers, String name, AtomicInteger lost, AtomicBoolean stop, AtomicInteger inside, AtomicInteger counted)
            throws Exception {
        try (CuratorFramework client = connect(servers, lost)) {
            InterProcessMutex mutex = new InterProcessMutex(client, "/failover/mutex");
            for (int round = 0; !stop.get(); round++) {
                mutex.acquire();
                try {
                    equal(1, inside.incrementAndGet(), "clients inside");
                    increment(client, name + "." + round);
                    counted.incrementAndGet();
                    inside.decrementAndGet();
                } finally {
                    mutex.release();
                }
            }
        }
    }

    /** The value names its writer, so that a write whose answer was lost with a connection is recognised by what it left. */
    private static void increment(CuratorFramework client, String writer) throws Exception {
        Stat stat = new Stat();
        String read = Check.text(client.getData().storingStatIn(stat).forPath("/failover/counter"));
        String value = Integer.parseInt(read.split(" ")[0]) + 1 + " " + writer;
        try {
            client.setData().withVersion(stat.getVersion()).forPath("/failover/counter", bytes(value));
        } catch (KeeperException.BadVersionException retried) {
            synced(client, "/failover/counter");
            equal(value, Check.text(client.getData().forPath("/failover/counter")), "what a write left that was sent twice");
        }
    }

    private static void cache(String servers, Ensemble ensemble) throws Exception {
        AtomicInteger lost = new AtomicInteger();
        AtomicBoolean stop = new AtomicBoolean();
        AtomicInteger changes = new AtomicInteger();
        ExecutorService executor = Executors.newCachedThreadPool();
        try (CuratorFramework client = connect(servers, lost);
                CuratorFramework writer = connect(servers, lost);
                CuratorFramework reader = connect(servers, lost);
                CuratorCache cache = CuratorCache.build(client, "/failover/cache")) {
            writer.create().creatingParentsIfNeeded().forPath("/failover/cache", bytes("root"));
            cache.start();
            Future<?> writing = executor.submit(() -> {
                Random random = new Random(5);
                while (!stop.get()) {
                    change(writer, "/failover/cache/" + random.nextInt(4), random, changes.incrementAndGet());
                }
                return null;
            });
            for (int i = 0; i < FAILOVERS; i++) {
                int before = changes.get();
                until(() -> changes.get() > before + 50, "the writer writes");
                ensemble.failover();
            }
            int before = changes.get();
            until(() -> changes.get() > before + 50, "the writer writes after the last failover");
            stop.set(true);
            writing.get(60, TimeUnit.SECONDS);
            synced(reader, "/failover/cache");
            Map<String, String> real = tree(reader, "/failover/cache", new TreeMap<>());
            until(() -> real.equals(cached(cache)), "the cache holds " + real + " after " + changes.get() + " changes");
            equal(0, lost.get(), "sessions lost");
        } finally {
            stop.set(true);
            executor.shutdownNow();
        }
    }

    /** One random change at a znode or below; what was done already, or can't be done, is passed over. */
    private static void change(CuratorFramework writer, String path, Random random, int number) throws Exception {
        String place = random.nextBoolean() ? path : path + "/" + random.nextInt(3);
        try {
            switch (random.nextInt(3)) {
                case 0 -> writer.create().forPath(place, bytes("created " + number));
                case 1 -> writer.setData().forPath(place, bytes("set " + number));
                default -> writer.delete().forPath(place);
            }
        } catch (KeeperException.NoNodeException | KeeperException.NodeExistsException | KeeperException.NotEmptyException expected) {
            // As the tree stands.
        }
    }

    private static Map<String, String> tree(CuratorFramework reader, String path, Map<String, String> found) throws Exception {
        Stat stat = new Stat();
        String data = Check.text(reader.getData().storingStatIn(stat).forPath(path));
        found.put(path, data + " " + stat.getMzxid());
        for (String child : reader.getChildren().forPath(path)) {
            tree(reader, path + "/" + child, found);
        }
        return found;
    }

    private static Map<String, String> cached(CuratorCache cache) {
        Map<String, String> found = new TreeMap<>();
        cache.stream().forEach(node -> found.put(node.getPath(), Check.text(node.getData()) + " " + node.getStat().getMzxid()));
        return found;
    }

    private static void session(String servers, Ensemble ensemble) throws Exception {
        AtomicInteger lost = new AtomicInteger();
        ConcurrentLinkedQueue<String> events = new ConcurrentLinkedQueue<>();
        try (CuratorFramework client = connect(servers, lost);
                CuratorFramework other = connect(servers, lost)) {
            long session = Check.sessionId(client);
            client.create().creatingParentsIfNeeded().withMode(CreateMode.EPHEMERAL).forPath("/failover/own", bytes("x"));
            other.create().forPath("/failover/watched", bytes("0"));
            // The two clients may be on two servers, and only a sync shows one what the other's server acknowledged.
            synced(client, "/failover/watched");
            client.getData().usingWatcher((org.apache.curator.framework.api.CuratorWatcher) event -> {
                if (event.getPath() != null) {
                    events.add(event.getType() + " " + event.getPath());
                }
            }).forPath("/failover/watched");
            for (int i = 0; i < FAILOVERS; i++) {
                ensemble.failover();
                synced(other, "/failover/own");
                Stat stat = other.checkExists().forPath("/failover/own");
                that(stat != null && stat.getEphemeralOwner() == session, "the ephemeral znode is there after failover " + i);
            }
            client.checkExists().forPath("/failover/own");
            equal(session, Check.sessionId(client), "the session's id");
            equal(List.of(), List.copyOf(events), "events before a change");
            other.setData().forPath("/failover/watched", bytes("1"));
            other.setData().forPath("/failover/watched", bytes("2"));
            until(() -> !events.isEmpty(), "the watch is told");
            equal(List.of("NodeDataChanged /failover/watched"), List.copyOf(events), "events of two changes");
            equal(0, lost.get(), "sessions lost");
        }
    }
}
