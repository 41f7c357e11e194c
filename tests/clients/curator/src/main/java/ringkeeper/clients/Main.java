package ringkeeper.clients;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/**
 * Runs every check against the server given as host:port, or those of an ensemble given as host:port,… with the script and
 * the directory by which its servers are killed; prints PASS or FAIL for each. Exit status 0 when all pass, 1 when one
 * fails, 2 on wrong usage. A check that takes longer than 60 s (of an ensemble: 150 s) fails.
 */
public final class Main {
    private static final long CHECK_TIMEOUT_S = 60;
    private static final long FAILOVER_CHECK_TIMEOUT_S = 150;

    /** One check: opens its own clients, throws when something is wrong. */
    interface Body {
        void run(String server) throws Exception;
    }

    private Main() {}

    public static void main(String[] arguments) throws Exception {
        if (arguments.length != 1 && arguments.length != 3) {
            System.err.println("usage: Main HOST:PORT | Main HOST:PORT,... MEMBERS.PY DIRECTORY");
            System.exit(2);
        }
        boolean alone = arguments.length == 1;
        Map<String, Body> checks = new LinkedHashMap<>();
        if (alone) {
            Locks.register(checks);
            Nodes.register(checks);
            Connections.register(checks);
        } else {
            Failovers.register(checks, new Ensemble(arguments[1], arguments[2]));
        }
        long timeoutS = alone ? CHECK_TIMEOUT_S : FAILOVER_CHECK_TIMEOUT_S;
        int failures = 0;
        ExecutorService executor = Executors.newCachedThreadPool(Main::daemon);
        for (Map.Entry<String, Body> check : checks.entrySet()) {
            failures += run(executor, check.getKey(), check.getValue(), arguments[0], timeoutS) ? 0 : 1;
        }
        System.out.println(checks.size() + " checks, " + failures + " failed");
        System.exit(failures == 0 ? 0 : 1);
    }

    private static Thread daemon(Runnable body) {
        Thread thread = new Thread(body);
        thread.setDaemon(true);
        return thread;
    }

    private static boolean run(ExecutorService executor, String name, Body body, String server, long timeoutS) throws Exception {
        long startNs = System.nanoTime();
        Throwable error = null;
        Future<?> done = executor.submit(() -> {
            body.run(server);
            return null;
        });
        try {
            done.get(timeoutS, TimeUnit.SECONDS);
        } catch (TimeoutException late) {
            done.cancel(true);
            error = new AssertionError("not finished within " + timeoutS + " s");
        } catch (ExecutionException failed) {
            error = failed.getCause();
        }
        long tookMs = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - startNs);
        System.out.println((error == null ? "PASS " : "FAIL ") + name + " (" + tookMs + " ms)" + (error == null ? "" : ": " + error));
        if (error != null) {
            error.printStackTrace();
        }
        return error == null;
    }
}
