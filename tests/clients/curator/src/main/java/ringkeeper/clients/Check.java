package ringkeeper.clients;

import java.util.concurrent.Callable;
import java.util.concurrent.TimeUnit;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.retry.ExponentialBackoffRetry;
import org.apache.zookeeper.Testable;

/** What every check uses: clients, expectations, bounded waiting. A failed expectation is an AssertionError. */
final class Check {
    static final int SESSION_TIMEOUT_MS = 6_000;
    private static final long WAIT_MS = 15_000;

    private Check() {}

    /** A started and connected client with Curator's defaults: among them the EnsembleTracker, which stays on. */
    static CuratorFramework connect(String server) throws Exception {
        CuratorFramework client = CuratorFrameworkFactory.builder()
                .connectString(server)
                .sessionTimeoutMs(SESSION_TIMEOUT_MS)
                .connectionTimeoutMs(5_000)
                .retryPolicy(new ExponentialBackoffRetry(100, 5))
                .build();
        client.start();
        if (!client.blockUntilConnected(10, TimeUnit.SECONDS)) {
            client.close();
            throw new AssertionError("no connection to " + server + " within 10 s");
        }
        return client;
    }

    static void that(boolean condition, String what) {
        if (!condition) {
            throw new AssertionError(what);
        }
    }

    static void equal(Object expected, Object found, String what) {
        if (!java.util.Objects.equals(expected, found)) {
            throw new AssertionError(what + ": expected " + expected + ", found " + found);
        }
    }

    /** Waits until the condition holds, for at most 15 s. */
    static void until(Callable<Boolean> condition, String what) throws Exception {
        long deadlineNs = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(WAIT_MS);
        while (!condition.call()) {
            that(System.nanoTime() < deadlineNs, "not within " + WAIT_MS + " ms: " + what);
            Thread.sleep(20);
        }
    }

    /** The exception of the given type that the call throws. */
    static <E extends Exception> E thrown(Class<E> type, Callable<?> call, String what) throws Exception {
        Object result;
        try {
            result = call.call();
        } catch (Exception error) {
            if (type.isInstance(error)) {
                return type.cast(error);
            }
            throw error;
        }
        throw new AssertionError(what + ": no " + type.getSimpleName() + ", but " + result);
    }

    static long sessionId(CuratorFramework client) throws Exception {
        return client.getZookeeperClient().getZooKeeper().getSessionId();
    }

    static Testable testable(CuratorFramework client) throws Exception {
        return client.getZookeeperClient().getZooKeeper().getTestable();
    }

    static byte[] bytes(String text) {
        return text.getBytes(java.nio.charset.StandardCharsets.UTF_8);
    }

    static String text(byte[] data) {
        return new String(data, java.nio.charset.StandardCharsets.UTF_8);
    }
}
