package ringkeeper.clients;

import static ringkeeper.clients.Check.bytes;
import static ringkeeper.clients.Check.connect;
import static ringkeeper.clients.Check.equal;
import static ringkeeper.clients.Check.that;
import static ringkeeper.clients.Check.until;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.atomic.AtomicValue;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicLong;
import org.apache.curator.framework.recipes.barriers.DistributedDoubleBarrier;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.leader.LeaderSelector;
import org.apache.curator.framework.recipes.leader.LeaderSelectorListenerAdapter;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessReadWriteLock;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreV2;
import org.apache.curator.framework.recipes.locks.Lease;
import org.apache.curator.framework.recipes.shared.SharedCount;
import org.apache.curator.retry.RetryNTimes;

/** Recipes that coordinate clients: locks, semaphores, elections, counters, barriers. */
final class Locks {
    private Locks() {}

    static void register(Map<String, Main.Body> checks) {
        checks.put("mutex excludes", Locks::mutexExcludes);
        checks.put("mutex protects a counter", Locks::mutexProtects);
        checks.put("mutex of a lost session is released", Locks::mutexOfLostSession);
        checks.put("read-write lock", Locks::readWriteLock);
        checks.put("semaphore", Locks::semaphore);
        checks.put("leader latch", Locks::leaderLatch);
        checks.put("leader selector", Locks::leaderSelector);
        checks.put("shared count and atomic long", Locks::counters);
        checks.put("double barrier", Locks::doubleBarrier);
    }

    private static void mutexExcludes(String server) throws Exception {
        try (CuratorFramework first = connect(server);
                CuratorFramework second = connect(server)) {
            InterProcessMutex mine = new InterProcessMutex(first, "/locks/mutex");
            InterProcessMutex other = new InterProcessMutex(second, "/locks/mutex");
            that(mine.acquire(5, TimeUnit.SECONDS), "a free mutex is acquired");
            that(mine.acquire(5, TimeUnit.SECONDS), "its owner acquires it again");
            that(!other.acquire(300, TimeUnit.MILLISECONDS), "another client does not");
            equal(1, mine.getParticipantNodes().size(), "the other client's znode is gone after it gave up");
            mine.release();
            that(!other.acquire(300, TimeUnit.MILLISECONDS), "nor after the first of two releases");
            mine.release();
            that(other.acquire(5, TimeUnit.SECONDS), "after the second it does");
            other.release();
        }
    }

    private static void mutexProtects(String server) throws Exception {
        int clients = 4;
        int rounds = 10;
        ExecutorService executor = Executors.newFixedThreadPool(clients);
        try (CuratorFramework observer = connect(server)) {
            observer.create().creatingParentsIfNeeded().forPath("/locks/counter", bytes("0"));
            AtomicInteger inside = new AtomicInteger();
            List<Future<?>> done = new ArrayList<>();
            for (int i = 0; i < clients; i++) {
                done.add(executor.submit(() -> {
                    countUnderLock(server, rounds, inside);
                    return null;
                }));
            }
            for (Future<?> one : done) {
                one.get(40, TimeUnit.SECONDS);
            }
            String found = Check.text(observer.getData().forPath("/locks/counter"));
            equal(Integer.toString(clients * rounds), found, "no increment was lost");
        } finally {
            executor.shutdownNow();
        }
    }

    private static void countUnderLock(String server, int rounds, AtomicInteger inside) throws Exception {
        try (CuratorFramework client = connect(server)) {
            InterProcessMutex mutex = new InterProcessMutex(client, "/locks/counting");
            for (int round = 0; round < rounds; round++) {
                mutex.acquire();
                try {
                    equal(1, inside.incrementAndGet(), "clients inside");
                    int value = Integer.parseInt(Check.text(client.getData().forPath("/locks/counter")));
                    client.setData().forPath("/locks/counter", bytes(Integer.toString(value + 1)));
                    inside.decrementAndGet();
                } finally {
                    mutex.release();
                }
            }
        }
    }

    private static void mutexOfLostSession(String server) throws Exception {
        try (CuratorFramework first = connect(server);
                CuratorFramework second = connect(server)) {
            new InterProcessMutex(first, "/locks/lost").acquire();
            InterProcessMutex other = new InterProcessMutex(second, "/locks/lost");
            that(!other.acquire(200, TimeUnit.MILLISECONDS), "the mutex is held");
            first.close();
            that(other.acquire(10, TimeUnit.SECONDS), "the mutex is free when the session that held it is closed");
            other.release();
        }
    }

    private static void readWriteLock(String server) throws Exception {
        try (CuratorFramework first = connect(server);
                CuratorFramework second = connect(server)) {
            InterProcessReadWriteLock mine = new InterProcessReadWriteLock(first, "/locks/rw");
            InterProcessReadWriteLock other = new InterProcessReadWriteLock(second, "/locks/rw");
            that(mine.readLock().acquire(5, TimeUnit.SECONDS), "first reader");
            that(other.readLock().acquire(5, TimeUnit.SECONDS), "second reader beside it");
            other.readLock().release();
            that(!other.writeLock().acquire(300, TimeUnit.MILLISECONDS), "no writer beside a reader");
            mine.readLock().release();
            that(other.writeLock().acquire(5, TimeUnit.SECONDS), "a writer alone");
            that(!mine.readLock().acquire(300, TimeUnit.MILLISECONDS), "no reader beside a writer");
            other.writeLock().release();
        }
    }

    private static void semaphore(String server) throws Exception {
        try (CuratorFramework first = connect(server);
                CuratorFramework second = connect(server)) {
            InterProcessSemaphoreV2 mine = new InterProcessSemaphoreV2(first, "/locks/semaphore", 2);
            InterProcessSemaphoreV2 other = new InterProcessSemaphoreV2(second, "/locks/semaphore", 2);
            Lease one = mine.acquire(5, TimeUnit.SECONDS);
            Lease two = other.acquire(5, TimeUnit.SECONDS);
            that(one != null && two != null, "two leases are given");
            equal(null, other.acquire(300, TimeUnit.MILLISECONDS), "a third lease");
            mine.returnLease(one);
            Lease three = other.acquire(5, TimeUnit.SECONDS);
            that(three != null, "a returned lease is given again");
            first.close();
            other.returnLease(two);
            other.returnLease(three);
            equal(2, other.acquire(2, 5, TimeUnit.SECONDS).size(), "both leases at once");
        }
    }

    private static void leaderLatch(String server) throws Exception {
        try (CuratorFramework first = connect(server);
                CuratorFramework second = connect(server);
                LeaderLatch other = new LeaderLatch(second, "/latch", "second")) {
            LeaderLatch mine = new LeaderLatch(first, "/latch", "first");
            mine.start();
            that(mine.await(10, TimeUnit.SECONDS), "the first participant leads");
            other.start();
            until(() -> mine.getParticipants().size() == 2, "both take part");
            that(!other.await(300, TimeUnit.MILLISECONDS), "the second does not lead beside it");
            equal("first", other.getLeader().getId(), "the second sees who leads");
            mine.close();
            that(other.await(10, TimeUnit.SECONDS), "the second leads when the first leaves");
            try (CuratorFramework third = connect(server);
                    LeaderLatch last = new LeaderLatch(third, "/latch", "third")) {
                last.start();
                that(!last.await(300, TimeUnit.MILLISECONDS), "the third waits");
                // Its session expires: it loses the lead at once, the third takes over, it comes back behind it.
                Check.testable(second).injectSessionExpiration();
                that(last.await(15, TimeUnit.SECONDS), "the third leads when the second's session is lost");
                until(() -> last.getParticipants().size() == 2, "the second takes part again");
                that(!other.hasLeadership(), "and does not lead");
            }
        }
    }

    private static void leaderSelector(String server) throws Exception {
        AtomicInteger leaders = new AtomicInteger();
        AtomicInteger terms = new AtomicInteger();
        LeaderSelectorListenerAdapter listener = new LeaderSelectorListenerAdapter() {
            @Override
            public void takeLeadership(CuratorFramework client) throws Exception {
                equal(1, leaders.incrementAndGet(), "leaders at a time");
                Thread.sleep(50);
                leaders.decrementAndGet();
                terms.incrementAndGet();
            }
        };
        try (CuratorFramework first = connect(server);
                CuratorFramework second = connect(server);
                LeaderSelector mine = new LeaderSelector(first, "/selector", listener);
                LeaderSelector other = new LeaderSelector(second, "/selector", listener)) {
            mine.autoRequeue();
            other.autoRequeue();
            mine.start();
            other.start();
            until(() -> terms.get() >= 6, "six terms of leadership");
        }
    }

    private static void counters(String server) throws Exception {
        try (CuratorFramework first = connect(server);
                CuratorFramework second = connect(server);
                SharedCount mine = new SharedCount(first, "/counts/shared", 7);
                SharedCount other = new SharedCount(second, "/counts/shared", 7)) {
            mine.start();
            other.start();
            equal(7, other.getCount(), "the seed value");
            that(mine.trySetCount(mine.getVersionedValue(), 8), "set with the current version");
            until(() -> other.getCount() == 8, "the other client sees the new value");
            DistributedAtomicLong one = new DistributedAtomicLong(first, "/counts/long", new RetryNTimes(20, 10));
            DistributedAtomicLong two = new DistributedAtomicLong(second, "/counts/long", new RetryNTimes(20, 10));
            for (int i = 0; i < 20; i++) {
                AtomicValue<Long> value = (i % 2 == 0 ? one : two).increment();
                that(value.succeeded(), "an increment succeeds");
                equal((long) i + 1, value.postValue(), "the value after it");
            }
        }
    }

    private static void doubleBarrier(String server) throws Exception {
        ExecutorService executor = Executors.newFixedThreadPool(2);
        try (CuratorFramework first = connect(server);
                CuratorFramework second = connect(server)) {
            AtomicInteger entered = new AtomicInteger();
            List<Future<?>> done = new ArrayList<>();
            for (CuratorFramework client : List.of(first, second)) {
                done.add(executor.submit(() -> {
                    DistributedDoubleBarrier barrier = new DistributedDoubleBarrier(client, "/barrier", 2);
                    that(barrier.enter(10, TimeUnit.SECONDS), "entered");
                    entered.incrementAndGet();
                    that(barrier.leave(10, TimeUnit.SECONDS), "left");
                    equal(2, entered.get(), "both had entered before one left");
                    return null;
                }));
            }
            for (Future<?> one : done) {
                one.get(25, TimeUnit.SECONDS);
            }
        } finally {
            executor.shutdownNow();
        }
    }
}
