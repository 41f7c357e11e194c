# kazoo's suite under pytest, for the stages kazoo and ensemble-kazoo: sourced behind lib.sh.
#
# kazoo's harness starts `java … QuorumPeerMain zoo.cfg` for each server and has no other way in, so shim/java stands in
# for java. A test that fails is run once more; report.py says what counts. A stage sets CLUSTER_SIZE (servers), calls
# `prepare_suite`, then `run_suite`.

KAZOO_DIR=$CLIENTS_DIR/kazoo
KAZOO_SHA256=57e7e6f69295c8f922511488eeb79680729e14bb8eb382d5cad83aa11345c36c

fetch_kazoo() {
    local source=$CACHE/kazoo-2.11.0
    [ ! -f "$source/complete" ] || return 0
    say "fetching the source of kazoo 2.11.0"
    rm -rf "$source"
    timeout 300 "$VENV/bin/python" -m pip download -q --disable-pip-version-check --no-deps --no-binary kazoo \
        --dest "$WORK/sdist" 'kazoo==2.11.0' >"$WORK/pip.log" 2>&1 ||
        die "pip could not download kazoo, see $WORK/pip.log"
    echo "$KAZOO_SHA256  $WORK/sdist/kazoo-2.11.0.tar.gz" | sha256sum -c --quiet - ||
        die "the source of kazoo is not the one this stage was written for"
    tar -xzf "$WORK/sdist/kazoo-2.11.0.tar.gz" -C "$CACHE"
    touch "$source/complete"
}

# Prints a port P such that the ports that the harness uses, five from P + 10 N for each server N, are free.
free_port_range() {
    python3 - "$CLUSTER_SIZE" <<'PY'
import random, socket, sys
def free(port):
    with socket.socket() as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
for _ in range(200):
    start = random.randrange(20000, 30000)   # below the range that outgoing connections use
    if all(free(start + 10 * number + offset) for number in range(int(sys.argv[1])) for offset in range(5)):
        print(start)
        break
else:
    raise SystemExit("no free ports in a row")
PY
}

# Ends servers that a broken-off pytest left running: only those that run on a configuration below $WORK.
stage_cleanup_more() {
    local out pid
    for out in "$WORK"/servers/server-*.out; do
        pid=${out##*/server-}; pid=${pid%.out}
        if tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF "$WORK/tmp/"; then kill -KILL "$pid" || true; fi
    done
}

# Runs pytest in kazoo's source tree: $1 = JUnit file, $2 = limit in seconds, the rest = pytest's arguments.
run_pytest() {
    local junit=$1 limit_s=$2 status=0; shift 2
    ( cd "$CACHE/kazoo-2.11.0"
      exec env TMPDIR="$WORK/tmp" PATH="$KAZOO_DIR/shim:$PATH" SHIM_SERVER="$SERVER" SHIM_JAVA="$real_java" SHIM_LOGS="$WORK/servers" \
        SHIM_RINGKEEPER="$binary" SHIM_DEFINES="$shim_defines" ZOOKEEPER_VERSION=$ZK_VERSION ZOOKEEPER_CLASSPATH="$ZK_CLASSPATH" \
        ZOOKEEPER_CLUSTER_SIZE="$CLUSTER_SIZE" ZOOKEEPER_PORT_OFFSET="$(free_port_range)" CI= \
        timeout -s INT -k 20 "$limit_s" "$VENV/bin/python" -m pytest -q -p no:cacheprovider -o log_cli=false --color=no \
        --timeout=120 --maxfail=40 --junit-xml="$junit" -o junit_family=xunit1 "$@"
    ) >>"$WORK/pytest.log" 2>&1 || status=$?
    # 0 = all passed, 1 = some failed; anything else means that the run itself broke, or ran out of time (124).
    if [ $status -gt 1 ]; then
        if [ -s "$junit" ]; then python3 "$KAZOO_DIR/report.py" --least "$least" "$junit" || true; fi
        die "pytest ended with status $status, see $WORK/pytest.log"
    fi
}

prepare_suite() {
    ensure_venv kazoo 'pytest==8.4.2' 'pytest-timeout==2.4.0' 'pyOpenSSL<26.2' 'pyjks==20.0.0' 'objgraph==3.6.2' \
        'gevent==25.9.1' 'eventlet==0.40.3'
    with_cache_lock fetch_kazoo
    shim_defines=
    # Patience with a loaded machine, as in common/members.py.
    [ "$CLUSTER_SIZE" = 1 ] || shim_defines=-Dringkeeper.pulse.silenceMs=3000
    real_java=/nonexistent; ZK_CLASSPATH=unused; binary=unused
    if [ "$SERVER" = zookeeper ]; then
        ensure_zookeeper
        real_java=$(command -v java)
    else
        binary=$(ringkeeper_binary)
    fi
    mkdir -p "$WORK/servers" "$WORK/tmp"
}

# Runs and judges the suite; ends the stage. $1 = what is run, in words, $2 = least number that must pass, $3 = limit in
# seconds, $4 = a file of the form of deselected.txt, the rest = test files and tests.
run_suite() {
    local size=$1 limit_s=$3 deselected=$4 deselect=() judged failed failures line
    least=$2; shift 4
    while IFS= read -r line; do deselect+=("--deselect=${line%% : *}"); done < <(grep -v '^#' "$deselected")
    run_pytest "$WORK/first.xml" "$limit_s" "${deselect[@]}" "$@"
    python3 "$KAZOO_DIR/report.py" --failed "$WORK/first.xml" >"$WORK/failed.txt"
    judged=("$WORK/first.xml")
    mapfile -t failed < <(grep . "$WORK/failed.txt")
    if [ ${#failed[@]} -gt 0 ] && [ ${#failed[@]} -le 20 ]; then
        run_pytest "$WORK/second.xml" 600 "${failed[@]}"
        judged+=("$WORK/second.xml")
    fi
    cp "$WORK/first.xml" "$CACHE/$STAGE-$SERVER-last.xml"
    failures=0
    python3 "$KAZOO_DIR/report.py" --least "$least" "${judged[@]}" || failures=1
    stage_finish $failures "$size of kazoo 2.11, ${#deselect[@]} entries deselected"
}
