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
import java.util.TreeSet;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.api.transaction.CuratorTransactionResult;
import org.apache.curator.framework.recipes.cache.CuratorCache;
import org.apache.curator.framework.recipes.cache.CuratorCacheListener;
import org.apache.curator.framework.recipes.nodes.PersistentNode;
import org.apache.curator.framework.recipes.nodes.PersistentTtlNode;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.OpResult;
import org.apache.zookeeper.ZooDefs;
import org.apache.zookeeper.data.Stat;

/** Kinds of znodes, caches of them, and transactions. */
final class Nodes {
    private Nodes() {}

    static void register(Map<String, Main.Body> checks) {
        checks.put("cache follows a tree", Nodes::cache);
        checks.put("cache of a single znode", Nodes::cacheOfOne);
        checks.put("TTL znodes go", Nodes::ttl);
        checks.put("TTL znode is kept alive by its recipe", Nodes::persistentTtlNode);
        checks.put("container znodes go", Nodes::container);
        checks.put("transaction succeeds as a whole", Nodes::transaction);
        checks.put("transaction fails as a whole", Nodes::failedTransaction);
        checks.put("persistent node comes back", Nodes::persistentNode);
        checks.put("protected create", Nodes::protectedCreate);
        checks.put("access control", Nodes::accessControl);
    }

    private static void cache(String server) throws Exception {
        List<String> events = Collections.synchronizedList(new ArrayList<>());
        try (CuratorFramework client = connect(server);
                CuratorFramework writer = connect(server)) {
            writer.create().creatingParentsIfNeeded().forPath("/cache/old/child", bytes("0"));
            try (CuratorCache cache = CuratorCache.build(client, "/cache")) {
                cache.listenable().addListener(CuratorCacheListener.builder()
                        .forCreates(node -> events.add("+" + node.getPath()))
                        .forChanges((old, now) -> events.add(Check.text(old.getData()) + ">" + Check.text(now.getData())))
                        .forDeletes(node -> events.add("-" + node.getPath()))
                        .build());
                cache.start();
                until(() -> events.size() == 3, "the three znodes that were there, found " + events);
                equal(Set("+/cache", "+/cache/old", "+/cache/old/child"), new TreeSet<>(events), "what was there");
                events.clear();
                writer.create().forPath("/cache/new", bytes("1"));
                until(() -> events.size() == 1, "a create is seen");
                writer.setData().forPath("/cache/new", bytes("2"));
                until(() -> events.size() == 2, "a change is seen");
                writer.create().forPath("/cache/new/deep", bytes("x"));
                until(() -> events.size() == 3, "a create further down is seen");
                writer.delete().deletingChildrenIfNeeded().forPath("/cache/new");
                until(() -> events.size() == 5, "both deletes are seen, found " + events);
                equal(List.of("+/cache/new", "1>2", "+/cache/new/deep", "-/cache/new/deep", "-/cache/new"), events, "events in order");
                for (int i = 0; i < 200; i++) {
                    writer.create().forPath("/cache/old/n" + i, bytes("v" + i));
                }
                until(() -> cache.size() == 203, "the cache holds all");
                equal("v199", Check.text(cache.get("/cache/old/n199").orElseThrow().getData()), "with their data");
            }
        }
    }

    private static TreeSet<String> Set(String... values) {
        return new TreeSet<>(List.of(values));
    }

    private static void cacheOfOne(String server) throws Exception {
        List<String> values = Collections.synchronizedList(new ArrayList<>());
        try (CuratorFramework client = connect(server);
                CuratorCache cache = CuratorCache.build(client, "/single", CuratorCache.Options.SINGLE_NODE_CACHE)) {
            cache.listenable().addListener((type, old, now) -> values.add(now == null ? "gone" : Check.text(now.getData())));
            cache.start();
            client.create().forPath("/single", bytes("a"));
            until(() -> values.equals(List.of("a")), "the create");
            client.create().forPath("/single/child", bytes("unseen"));
            client.setData().forPath("/single", bytes("b"));
            until(() -> values.equals(List.of("a", "b")), "the change, found " + values);
            client.delete().deletingChildrenIfNeeded().forPath("/single");
            until(() -> values.equals(List.of("a", "b", "gone")), "the delete, found " + values);
        }
    }

    private static void ttl(String server) throws Exception {
        try (CuratorFramework client = connect(server)) {
            Stat stat = new Stat();
            client.create().withTtl(400).storingStatIn(stat).creatingParentsIfNeeded()
                    .withMode(CreateMode.PERSISTENT_WITH_TTL).forPath("/ttl/short", bytes("x"));
            equal(0L, stat.getEphemeralOwner(), "the owner shown of a TTL znode");
            client.create().withTtl(600_000).withMode(CreateMode.PERSISTENT_WITH_TTL).forPath("/ttl/long", bytes("x"));
            String sequential = client.create().withTtl(400)
                    .withMode(CreateMode.PERSISTENT_SEQUENTIAL_WITH_TTL).forPath("/ttl/s-", bytes("x"));
            equal("/ttl/s-0000000002", sequential, "the name of a sequential one");
            client.create().withTtl(400).withMode(CreateMode.PERSISTENT_WITH_TTL).forPath("/ttl/parent", bytes("x"));
            client.create().forPath("/ttl/parent/child", bytes("x"));
            until(() -> client.checkExists().forPath("/ttl/short") == null, "the short one is gone");
            until(() -> client.checkExists().forPath(sequential) == null, "the sequential one is gone");
            that(client.checkExists().forPath("/ttl/long") != null, "the long one is there");
            that(client.checkExists().forPath("/ttl/parent") != null, "the one with a child is there");
            client.delete().forPath("/ttl/parent/child");
            until(() -> client.checkExists().forPath("/ttl/parent") == null, "without the child it goes");
        }
    }

    private static void persistentTtlNode(String server) throws Exception {
        try (CuratorFramework client = connect(server)) {
            try (PersistentTtlNode node = new PersistentTtlNode(client, "/ttl-kept", 2_000, bytes("x"))) {
                node.start();
                that(node.waitForInitialCreate(10, TimeUnit.SECONDS), "it is created");
                Thread.sleep(4_000);
                that(client.checkExists().forPath("/ttl-kept") != null, "it outlives its time to live while it is kept");
            }
            until(() -> client.checkExists().forPath("/ttl-kept") == null, "it goes when it is no longer kept");
        }
    }

    private static void container(String server) throws Exception {
        try (CuratorFramework client = connect(server)) {
            client.createContainers("/containers/one");
            Stat stat = client.checkExists().forPath("/containers/one");
            equal(0L, stat.getEphemeralOwner(), "the owner shown of a container");
            client.create().forPath("/containers/one/child", bytes("x"));
            client.create().withMode(CreateMode.CONTAINER).forPath("/containers/never-used", bytes("x"));
            client.delete().forPath("/containers/one/child");
            until(() -> client.checkExists().forPath("/containers/one") == null, "a container goes after its last child");
            that(client.checkExists().forPath("/containers/never-used") != null, "one that never had a child stays");
        }
    }

    private static void transaction(String server) throws Exception {
        try (CuratorFramework client = connect(server)) {
            client.create().forPath("/tx", bytes("old"));
            client.create().forPath("/tx/away", bytes("x"));
            List<CuratorTransactionResult> results = client.transaction().forOperations(
                    client.transactionOp().check().withVersion(0).forPath("/tx"),
                    client.transactionOp().create().forPath("/tx/new", bytes("x")),
                    client.transactionOp().create().withMode(CreateMode.EPHEMERAL_SEQUENTIAL).forPath("/tx/s-", bytes("x")),
                    client.transactionOp().setData().withVersion(0).forPath("/tx", bytes("new")),
                    client.transactionOp().delete().forPath("/tx/away"));
            equal(List.of(0, 0, 0, 0, 0), results.stream().map(CuratorTransactionResult::getError).collect(Collectors.toList()), "errors");
            equal("/tx/new", results.get(1).getResultPath(), "the path created");
            equal("/tx/s-0000000002", results.get(2).getResultPath(), "the sequential path created");
            equal(1, results.get(3).getResultStat().getVersion(), "the version set");
            long zxid = client.checkExists().forPath("/tx").getMzxid();
            equal(zxid, client.checkExists().forPath("/tx/new").getCzxid(), "one zxid for all");
            equal(null, client.checkExists().forPath("/tx/away"), "the deleted znode");
        }
    }

    private static void failedTransaction(String server) throws Exception {
        try (CuratorFramework client = connect(server)) {
            client.create().forPath("/txf", bytes("old"));
            KeeperException error = thrown(KeeperException.BadVersionException.class, () -> client.transaction().forOperations(
                    client.transactionOp().create().forPath("/txf/new", bytes("x")),
                    client.transactionOp().setData().withVersion(7).forPath("/txf", bytes("new")),
                    client.transactionOp().delete().forPath("/txf")), "a wrong version fails it");
            List<Integer> codes = new ArrayList<>();
            for (OpResult result : error.getResults()) {
                codes.add(((OpResult.ErrorResult) result).getErr());
            }
            equal(List.of(0, KeeperException.Code.BADVERSION.intValue(), KeeperException.Code.RUNTIMEINCONSISTENCY.intValue()),
                    codes, "the code of each operation");
            equal(null, client.checkExists().forPath("/txf/new"), "the znode that was not created");
            equal("old", Check.text(client.getData().forPath("/txf")), "the data that was not set");
            thrown(KeeperException.NotEmptyException.class, () -> client.transaction().forOperations(
                    client.transactionOp().create().forPath("/txf/new", bytes("x")),
                    client.transactionOp().delete().forPath("/txf")), "later operations see earlier ones");
        }
    }

    private static void persistentNode(String server) throws Exception {
        try (CuratorFramework client = connect(server);
                CuratorFramework observer = connect(server)) {
            try (PersistentNode node = new PersistentNode(client, CreateMode.EPHEMERAL, false, "/kept", bytes("x"))) {
                node.start();
                that(node.waitForInitialCreate(10, TimeUnit.SECONDS), "it is created");
                equal(Check.sessionId(client), observer.checkExists().forPath("/kept").getEphemeralOwner(), "its owner");
                observer.delete().forPath("/kept");
                until(() -> observer.checkExists().forPath("/kept") != null, "it comes back when deleted");
                node.setData(bytes("y"));
                until(() -> Check.text(observer.getData().forPath("/kept")).equals("y"), "its data is set");
                long lost = Check.sessionId(client);
                Check.testable(client).injectSessionExpiration();
                until(() -> {
                    Stat stat = observer.checkExists().forPath("/kept");
                    return stat != null && stat.getEphemeralOwner() != lost;
                }, "it comes back in a new session");
            }
            until(() -> observer.checkExists().forPath("/kept") == null, "it goes when closed");
        }
    }

    private static void protectedCreate(String server) throws Exception {
        try (CuratorFramework client = connect(server)) {
            String path = client.create().creatingParentsIfNeeded().withProtection()
                    .withMode(CreateMode.EPHEMERAL_SEQUENTIAL).forPath("/protected/n-", bytes("x"));
            that(path.matches("/protected/_c_[0-9a-f-]{36}-n-0000000000"), "the name has a mark and a number: " + path);
            client.delete().guaranteed().forPath(path);
            equal(List.of(), client.getChildren().forPath("/protected"), "children after the delete");
            equal("/protected/set", client.create().orSetData().forPath("/protected/set", bytes("1")), "create or set");
            client.create().orSetData().forPath("/protected/set", bytes("2"));
            equal("2", Check.text(client.getData().forPath("/protected/set")), "the second time it sets");
        }
    }

    private static void accessControl(String server) throws Exception {
        try (CuratorFramework owner = connect(server);
                CuratorFramework stranger = connect(server)) {
            owner.getZookeeperClient().getZooKeeper().addAuthInfo("digest", bytes("ann:secret"));
            owner.create().withACL(ZooDefs.Ids.CREATOR_ALL_ACL).forPath("/private", bytes("x"));
            equal("ann:7RJfAeIvrl4zdj6sS2fXrQHDvHM=", owner.getACL().forPath("/private").get(0).getId().getId(), "the owner");
            thrown(KeeperException.NoAuthException.class, () -> stranger.getData().forPath("/private"), "a stranger's read");
            thrown(KeeperException.NoAuthException.class, () -> stranger.setData().forPath("/private", bytes("y")), "a write");
            owner.setACL().withVersion(0).withACL(ZooDefs.Ids.READ_ACL_UNSAFE).forPath("/private");
            equal("x", Check.text(stranger.getData().forPath("/private")), "a read after it was opened");
            thrown(KeeperException.NoAuthException.class, () -> stranger.setData().forPath("/private", bytes("y")), "still a write");
        }
    }
}
