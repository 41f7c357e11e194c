# Shared by the stages that compare transcripts: sourced behind lib.sh.

# Plays the stage's script and compares the transcript with its expected.txt: $1 = the stage's folder, the rest = further
# options of its session.py. The server must run; it is stopped, and the stage ends. With RECORD=yes the transcript of
# real ZooKeeper becomes expected.txt. A member of an ensemble answers what concerns the ensemble itself differently:
# expected-ensemble.diff, from real ZooKeeper too, says what.
play_and_compare() {
    local here=$1 differences=0 commands events expected=$WORK/expected.txt; shift
    cp "$here/expected.txt" "$expected"
    if [ "$ON" != alone ] && [ "${RECORD:-no}" != yes ]; then
        ensure_debian patch patch
        patch -s "$expected" "$here/expected-ensemble.diff" || die "expected-ensemble.diff doesn't fit expected.txt"
    fi
    if ! timeout 300 env PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$CLIENTS_DIR/common" python3 "$here/session.py" \
        --script "$here/session.script" --server "127.0.0.1:$SERVER_PORT" "$@" \
        >"$WORK/transcript.txt" 2>"$WORK/session.err"; then
        tail -n 5 "$WORK/session.err" >&2
        diff -u "$expected" "$WORK/transcript.txt" | head -n 40 || true
        die "the session broke off after: $(grep -v '^ ' "$WORK/transcript.txt" | tail -n 1)"
    fi
    server_stop
    if [ "${RECORD:-no}" = yes ]; then
        [ "$SERVER" = zookeeper ] || die "the expected transcript comes from real ZooKeeper: add --server zookeeper"
        if [ "$ON" = alone ]; then
            cp "$WORK/transcript.txt" "$here/expected.txt"
        else
            diff -U 1 --label expected.txt --label "in an ensemble" "$here/expected.txt" "$WORK/transcript.txt" \
                >"$here/expected-ensemble.diff" || true
        fi
        cp "$WORK/transcript.txt" "$expected"
    fi
    commands=$(grep -c '^[a-z!/]*> ' "$WORK/transcript.txt")
    events=$(grep -Ec '^    (WatchedEvent|Watcher) ' "$WORK/transcript.txt")
    if ! diff -u "$expected" "$WORK/transcript.txt" >"$WORK/transcript.diff"; then
        differences=$(grep -c '^[-+][^-+]' "$WORK/transcript.diff" || true)
        head -n 80 "$WORK/transcript.diff"
    fi
    stage_finish "$differences" "$commands commands, $events watch events, compared with ZooKeeper's transcript$([ "$ON" = alone ] || printf ', on a %s' "$ON")"
}
