/* What cli_mt cannot do, through ZooKeeper's C library: transactions, ACLs, versions, chroot, removing watches, and a
 * session that is resumed with its id and password. Prints PASS or FAIL for each check; exits with 1 when one failed.
 * usage: library HOST:PORT
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zookeeper/zookeeper.h>

#define WAIT_MS 10000

static int failures;

static void check(const char *what, long expected, long found) {
    if (expected == found) {
        printf("PASS %s\n", what);
    } else {
        printf("FAIL %s: expected %ld, found %ld\n", what, expected, found);
        failures++;
    }
}

static void count_event(zhandle_t *handle, int type, int state, const char *path, void *context) {
    (void)handle; (void)state; (void)path;
    if (type != ZOO_SESSION_EVENT) __atomic_add_fetch((int *)context, 1, __ATOMIC_SEQ_CST);
}

static int wait_for(int *counter, int wanted) {
    for (int waited_ms = 0; waited_ms < WAIT_MS; waited_ms += 10) {
        if (__atomic_load_n(counter, __ATOMIC_SEQ_CST) >= wanted) break;
        usleep(10000);
    }
    return __atomic_load_n(counter, __ATOMIC_SEQ_CST);
}

/* A connected handle; id may be NULL. Ends the program when there is no connection in time. */
static zhandle_t *connect_to(const char *hosts, const clientid_t *id) {
    static int unused;
    zhandle_t *handle = zookeeper_init(hosts, count_event, 10000, id, &unused, 0);
    for (int waited_ms = 0; handle != NULL && waited_ms < WAIT_MS; waited_ms += 10) {
        if (zoo_state(handle) == ZOO_CONNECTED_STATE) return handle;
        usleep(10000);
    }
    printf("FAIL no connection to %s\n", hosts);
    exit(1);
}

static int create(zhandle_t *handle, const char *path, int flags) {
    char name[256];
    return zoo_create(handle, path, "x", 1, &ZOO_OPEN_ACL_UNSAFE, flags, name, sizeof name);
}

static void check_multi(zhandle_t *handle) {
    char name[64];
    struct Stat stat;
    zoo_op_t operations[4];
    zoo_op_result_t results[4];
    check("create for multi", ZOK, create(handle, "/multi", 0));
    zoo_check_op_init(&operations[0], "/multi", 0);
    zoo_create_op_init(&operations[1], "/multi/s-", "new", 3, &ZOO_OPEN_ACL_UNSAFE, ZOO_SEQUENCE, name, sizeof name);
    zoo_set_op_init(&operations[2], "/multi", "set", 3, 0, &stat);
    zoo_create_op_init(&operations[3], "/multi/null", NULL, -1, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0);
    check("multi", ZOK, zoo_multi(handle, 4, operations, results));
    check("multi: the sequential name", 0, strcmp(name, "/multi/s-0000000000"));
    check("multi: the new version", 1, stat.version);
    check("multi: the length set", 3, stat.dataLength);

    zoo_create_op_init(&operations[0], "/multi/not", "x", 1, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0);
    zoo_delete_op_init(&operations[1], "/multi/missing", -1);
    zoo_set_op_init(&operations[2], "/multi", "no", 2, -1, &stat);
    check("failed multi", ZNONODE, zoo_multi(handle, 3, operations, results));
    check("failed multi: before the failure", ZOK, results[0].err);
    check("failed multi: the failure", ZNONODE, results[1].err);
    check("failed multi: behind it", ZRUNTIMEINCONSISTENCY, results[2].err);
    check("failed multi: nothing was created", ZNONODE, zoo_exists(handle, "/multi/not", 0, &stat));
    char data[16];
    int length = sizeof data;
    check("null data: get", ZOK, zoo_get(handle, "/multi/null", 0, data, &length, &stat));
    check("null data: its length", -1, length);
    check("empty multi", ZOK, zoo_multi(handle, 0, operations, results));
}

static void check_versions(zhandle_t *handle) {
    struct Stat stat;
    check("create for versions", ZOK, create(handle, "/version", 0));
    check("set with a wrong version", ZBADVERSION, zoo_set(handle, "/version", "y", 1, 3));
    check("set with the right version", ZOK, zoo_set2(handle, "/version", "yy", 2, 0, &stat));
    check("its new version", 1, stat.version);
    check("delete with a wrong version", ZBADVERSION, zoo_delete(handle, "/version", 0));
    check("delete with the right version", ZOK, zoo_delete(handle, "/version", 1));
    check("a bad path", ZBADARGUMENTS, create(handle, "/a/../b", 0));
    struct ACL_vector none = {0, NULL};
    check("an empty ACL", ZINVALIDACL, zoo_create(handle, "/noacl", "x", 1, &none, 0, NULL, 0));
}

static void ignore_auth(int rc, const void *data) {
    (void)rc;
    __atomic_add_fetch((int *)data, 1, __ATOMIC_SEQ_CST);
}

static void check_acls(zhandle_t *handle, const char *hosts) {
    int authenticated = 0;
    struct Stat stat;
    struct ACL_vector acls;
    char data[16];
    int length = sizeof data;
    zoo_add_auth(handle, "digest", "ann:secret", 10, ignore_auth, &authenticated);
    check("auth is answered", 1, wait_for(&authenticated, 1));
    check("create for the creator", ZOK, zoo_create(handle, "/acl", "x", 1, &ZOO_CREATOR_ALL_ACL, 0, NULL, 0));
    check("get its ACL", ZOK, zoo_get_acl(handle, "/acl", &acls, &stat));
    check("one entry", 1, acls.count);
    check("its id", 0, strcmp(acls.data[0].id.id, "ann:7RJfAeIvrl4zdj6sS2fXrQHDvHM="));
    deallocate_ACL_vector(&acls);
    zhandle_t *stranger = connect_to(hosts, NULL);
    check("a stranger's get", ZNOAUTH, zoo_get(stranger, "/acl", 0, data, &length, &stat));
    check("a stranger's set", ZNOAUTH, zoo_set(stranger, "/acl", "y", 1, -1));
    check("set the ACL with a wrong version", ZBADVERSION, zoo_set_acl(handle, "/acl", 4, &ZOO_READ_ACL_UNSAFE));
    check("set the ACL", ZOK, zoo_set_acl(handle, "/acl", 0, &ZOO_READ_ACL_UNSAFE));
    length = sizeof data;
    check("now a stranger may read", ZOK, zoo_get(stranger, "/acl", 0, data, &length, &stat));
    check("the ACL's version", 1, stat.aversion);
    zookeeper_close(stranger);
}

static void check_watches(zhandle_t *handle) {
    int kept = 0, removed = 0;
    struct Stat stat;
    struct String_vector children;
    char data[16];
    int length = sizeof data;
    check("create for watches", ZOK, create(handle, "/watch", 0));
    check("watch the data", ZOK, zoo_wget(handle, "/watch", count_event, &removed, data, &length, &stat));
    check("watch the children", ZOK, zoo_wget_children(handle, "/watch", count_event, &kept, &children));
    deallocate_String_vector(&children);
    check("remove the data watch", ZOK,
          zoo_remove_watches(handle, "/watch", ZWATCHTYPE_DATA, count_event, &removed, 0));
    check("remove it again", ZNOWATCHER,
          zoo_remove_watches(handle, "/watch", ZWATCHTYPE_DATA, count_event, &removed, 0));
    int told = __atomic_load_n(&removed, __ATOMIC_SEQ_CST);
    check("set below the removed watch", ZOK, zoo_set(handle, "/watch", "y", 1, -1));
    check("create below the kept one", ZOK, create(handle, "/watch/child", 0));
    check("the kept watch fires once", 1, wait_for(&kept, 1));
    check("the removed one does not", told, __atomic_load_n(&removed, __ATOMIC_SEQ_CST));
}

/* A process of its own opens a session, creates an ephemeral znode and ends without closing; prints nothing. */
static int abandon_session(const char *hosts, clientid_t *id) {
    int pipes[2];
    if (pipe(pipes) != 0) return 0;
    pid_t child = fork();
    if (child == 0) {
        zhandle_t *handle = connect_to(hosts, NULL);
        int done = create(handle, "/resumed", ZOO_EPHEMERAL) == ZOK
            && write(pipes[1], zoo_client_id(handle), sizeof *id) == (ssize_t)sizeof *id;
        _exit(done ? 0 : 1);
    }
    int status = 1;
    int done = child > 0 && waitpid(child, &status, 0) == child && status == 0
        && read(pipes[0], id, sizeof *id) == (ssize_t)sizeof *id;
    close(pipes[0]);
    close(pipes[1]);
    return done;
}

static void check_resume(const char *hosts) {
    struct Stat stat;
    clientid_t id;
    check("a process leaves a session behind", 1, abandon_session(hosts, &id));
    if (failures > 0) return;
    zhandle_t *heir = connect_to(hosts, &id);
    check("the session is the same", id.client_id, zoo_client_id(heir)->client_id);
    check("its znode is there", ZOK, zoo_exists(heir, "/resumed", 0, &stat));
    check("and is its own", id.client_id, stat.ephemeralOwner);
    zookeeper_close(heir);
    zhandle_t *other = connect_to(hosts, NULL);
    check("closing the session removes it", ZNONODE, zoo_exists(other, "/resumed", 0, &stat));
    zookeeper_close(other);
}

static void check_wrong_password(const char *hosts) {
    zhandle_t *first = connect_to(hosts, NULL);
    clientid_t id = *zoo_client_id(first);
    id.passwd[0] ^= 1;
    int unused = 0;
    zhandle_t *second = zookeeper_init(hosts, count_event, 10000, &id, &unused, 0);
    for (int waited_ms = 0; waited_ms < WAIT_MS && zoo_state(second) != ZOO_EXPIRED_SESSION_STATE; waited_ms += 10) {
        usleep(10000);
    }
    check("a wrong password is told as an expired session", ZOO_EXPIRED_SESSION_STATE, zoo_state(second));
    struct Stat stat;
    check("the session itself goes on", ZOK, zoo_exists(first, "/", 0, &stat));
    zookeeper_close(second);
    zookeeper_close(first);
}

static void check_chroot(const char *hosts) {
    char chroot[128], name[64];
    struct Stat stat;
    snprintf(chroot, sizeof chroot, "%s/multi", hosts);
    zhandle_t *below = connect_to(chroot, NULL);
    check("create below a chroot", ZOK,
          zoo_create(below, "/below", "x", 1, &ZOO_OPEN_ACL_UNSAFE, 0, name, sizeof name));
    check("its name has no chroot", 0, strcmp(name, "/below"));
    zookeeper_close(below);
    zhandle_t *root = connect_to(hosts, NULL);
    check("from the root it has", ZOK, zoo_exists(root, "/multi/below", 0, &stat));
    zookeeper_close(root);
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: library HOST:PORT\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    zoo_set_debug_level(ZOO_LOG_LEVEL_ERROR);
    check_resume(argv[1]); /* first: it forks, which is best done without threads */
    zhandle_t *handle = connect_to(argv[1], NULL);
    check_multi(handle);
    check_versions(handle);
    check_acls(handle, argv[1]);
    check_watches(handle);
    check_chroot(argv[1]);
    zookeeper_close(handle);
    check_wrong_password(argv[1]);
    return failures == 0 ? 0 : 1;
}
