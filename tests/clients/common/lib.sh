# Shared by the client stages: options, cache, real ZooKeeper's class path, and one server under test or an ensemble of three.
#
# A stage sources this file, calls `stage_init NAME "$@"`, then `server_start` (or `ensemble_start`), runs its client and ends with
# `stage_finish FAILURES`. The trap set by stage_init stops every server that the stage started, by its process id.
#
# What it guarantees: every wait is bounded, a server that stops wrongly fails the stage (Ringkeeper must end with
# status 0 within 5 s of SIGTERM and must have printed exactly one line), nothing is left running.
# What it leaves to the stages: installing their own client, and judging what it prints.

set -euo pipefail

CLIENTS_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
REPO_ROOT=$(cd "$CLIENTS_DIR/../.." && pwd)
CACHE=${RINGKEEPER_TEST_CACHE:-$REPO_ROOT/tests/.cache}
ZK_VERSION=3.9.5
READY_TIMEOUT_S=30        # a JVM on a loaded machine; Ringkeeper itself is held to READY_TIMEOUT_RINGKEEPER_S
READY_TIMEOUT_RINGKEEPER_S=10
STOP_TIMEOUT_S=5

SERVER=ringkeeper         # which server is under test: ringkeeper | zookeeper
FULL=no                   # yes with --full
ON=alone                  # where the client connects: alone (one server) | follower | leader, of an ensemble of three
ENSEMBLE=                 # the ensemble's directory, while there is one
ENSEMBLE_CONNECT=         # HOST:PORT,… of its servers
SERVER_PROPS=()           # system properties, name=value, given as -Dname=value
SERVER_CFG=()             # extra lines of zoo.cfg
SERVER_PID=
SERVER_PORT=
STAGE=
WORK=

say() { printf '%s: %s\n' "$STAGE" "$*"; }
die() { printf '%s: FAIL: %s\n' "$STAGE" "$*" >&2; exit 1; }

# Reads the options every stage has, makes the scratch directory $WORK and sets the trap that cleans up.
stage_init() {
    STAGE=$1; shift
    while [ $# -gt 0 ]; do
        case $1 in
            --server) [ $# -ge 2 ] || die "--server needs ringkeeper or zookeeper"; SERVER=$2; shift 2 ;;
            --server=*) SERVER=${1#--server=}; shift ;;
            --full) FULL=yes; shift ;;
            --on) [ $# -ge 2 ] || die "--on needs alone, follower or leader"; ON=$2; shift 2 ;;
            *) die "unknown argument '$1' (usage: run [--server ringkeeper|zookeeper] [--on alone|follower|leader] [--full])" ;;
        esac
    done
    case $ON in
        alone|follower|leader) ;;
        *) die "unknown place '$ON' (alone, follower or leader)" ;;
    esac
    case $SERVER in
        ringkeeper|zookeeper) ;;
        *) die "unknown server '$SERVER' (ringkeeper or zookeeper)" ;;
    esac
    # Below the cache and not in /tmp, which may be a filesystem without O_DIRECT.
    mkdir -p "$CACHE/runs"
    CACHE=$(cd "$CACHE" && pwd)
    WORK=$(mktemp -d "$CACHE/runs/$STAGE.XXXXXX")
    START_S=$(date +%s)
    trap 'stage_cleanup' EXIT
    trap 'exit 1' INT TERM
    if [ "$SERVER" = ringkeeper ]; then ringkeeper_binary >/dev/null; fi
}

# Runs on every exit, with stage_cleanup_more if the stage has such a function. Keeps the scratch directory (logs, transcripts) when the stage failed.
stage_cleanup() {
    local status=$?
    trap - EXIT
    if [ -n "$SERVER_PID" ]; then { kill -KILL "$SERVER_PID"; wait "$SERVER_PID"; } 2>/dev/null || true; fi
    if [ -n "$ENSEMBLE" ]; then members end || true; fi
    if declare -F stage_cleanup_more >/dev/null; then stage_cleanup_more; fi
    rmdir "$WORK" 2>/dev/null || true
    if [ $status -eq 0 ]; then rm -rf "$WORK"; elif [ -d "$WORK" ]; then printf '%s: files kept in %s\n' "$STAGE" "$WORK" >&2; fi
    exit $status
}

# Ends a stage: $1 = number of failures, the rest is the summary.
stage_finish() {
    local failures=$1; shift
    local took=$(( $(date +%s) - START_S ))
    if [ "$failures" -eq 0 ]; then
        say "PASS ($SERVER, ${took} s): $*"
    else
        die "$SERVER, ${took} s: $failures failure(s): $*"
    fi
}

# Prints the absolute path of the Ringkeeper binary, or ends the stage.
ringkeeper_binary() {
    local binary=${RINGKEEPER_BIN:-$REPO_ROOT/target/release/ringkeeper}
    [ -x "$binary" ] ||
        die "no executable $binary: build it (cargo build --release --locked --bins) or set RINGKEEPER_BIN"
    (cd "$(dirname "$binary")" && printf '%s/%s\n' "$PWD" "$(basename "$binary")")
}

# Runs a command under an exclusive lock of the cache, so that stages started together do not install twice.
with_cache_lock() {
    ( flock -w 900 9 || die "waited 15 minutes for another stage to finish installing"; "$@" ) 9>"$CACHE/.lock"
}

# Makes sure that Debian packages are installed: $1 = a command or file that shows they are, the rest = package names.
ensure_debian() {
    local probe=$1; shift
    if [ -e "$probe" ] || command -v "$probe" >/dev/null 2>&1; then return 0; fi
    command -v apt-get >/dev/null 2>&1 || die "$probe is missing, and without apt-get the stage cannot install $*"
    local sudo=; [ "$(id -u)" = 0 ] || sudo="sudo -n"
    say "installing $*"
    { DEBIAN_FRONTEND=noninteractive timeout 300 $sudo apt-get install -y -q --no-install-recommends "$@" ||
      { timeout 120 $sudo apt-get update -q &&
        DEBIAN_FRONTEND=noninteractive timeout 300 $sudo apt-get install -y -q --no-install-recommends "$@"; }
    } >"$WORK/apt.log" 2>&1 || die "apt-get install $* failed, see $WORK/apt.log"
}

ensure_java()  { ensure_debian java default-jre-headless; }
ensure_maven() { ensure_java; ensure_debian mvn maven default-jdk-headless; }

# Calls maven with its repository in the cache.
maven() { timeout 600 mvn -q -B -Dmaven.repo.local="$CACHE/m2" "$@"; }

fetch_zookeeper() {
    local home=$CACHE/zookeeper-$ZK_VERSION
    local want; want=$(sha256sum <"$CLIENTS_DIR/common/zookeeper-pom.xml")
    if [ -f "$home/complete" ] && [ "$(cat "$home/complete")" = "$want" ]; then return 0; fi
    ensure_maven
    say "fetching the class path of ZooKeeper $ZK_VERSION"
    rm -rf "$home"
    maven -f "$CLIENTS_DIR/common/zookeeper-pom.xml" \
        org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
        -DincludeScope=runtime -DoutputDirectory="$home/lib" >"$WORK/maven.log" 2>&1 ||
        die "maven could not fetch ZooKeeper, see $WORK/maven.log"
    printf '%s\n' "$want" >"$home/complete"
}

# Fetches real ZooKeeper once; sets ZK_CLASSPATH.
ensure_zookeeper() {
    ensure_java
    with_cache_lock fetch_zookeeper
    ZK_CLASSPATH="$CACHE/zookeeper-$ZK_VERSION/lib/*"
}

make_venv() {
    local venv=$1; shift
    local want="$*"
    if [ -f "$venv/complete" ] && [ "$(cat "$venv/complete")" = "$want" ]; then return 0; fi
    ensure_debian python3 python3
    python3 -c 'import ensurepip' 2>/dev/null || ensure_debian "$venv" python3-venv
    say "installing $want"
    rm -rf "$venv"
    { timeout 120 python3 -m venv "$venv" &&
      timeout 300 "$venv/bin/python" -m pip install -q --disable-pip-version-check "$@"; } >"$WORK/pip.log" 2>&1 ||
        die "pip could not install $*, see $WORK/pip.log (python3 with venv is needed)"
    printf '%s\n' "$want" >"$venv/complete"
}

# A Python environment in the cache: $1 = its name, the rest = requirements. Sets VENV.
ensure_venv() {
    VENV=$CACHE/venv-$1; shift
    with_cache_lock make_venv "$VENV" "$@"
}

# Prints a TCP port that was free a moment ago. Only real ZooKeeper needs it: it cannot name the port of clientPort=0.
free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# Succeeds when something accepts connections on 127.0.0.1:$1 within 2 s.
port_answers() { timeout 2 bash -c "exec 3<>/dev/tcp/127.0.0.1/$1" 2>/dev/null; }

# Prints the answer to the four-letter word $2 of the server at 127.0.0.1:$1.
four_letter_word() {
    timeout 5 bash -c "exec 3<>/dev/tcp/127.0.0.1/$1 && printf %s '$2' >&3 && cat <&3" 2>/dev/null || true
}

write_zoo_cfg() {
    local file=$1 port=$2 line
    {
        printf 'tickTime=2000\ndataDir=%s\nclientPort=%s\nclientPortAddress=127.0.0.1\n' "$WORK/data" "$port"
        printf 'maxClientCnxns=0\nadmin.enableServer=false\n4lw.commands.whitelist=*\n'
        for line in ${SERVER_CFG[@]+"${SERVER_CFG[@]}"}; do printf '%s\n' "$line"; done
    } >"$file"
}

# Gives a command to the ensemble (common/members.py).
members() { timeout 240 env PYTHONDONTWRITEBYTECODE=1 python3 "$CLIENTS_DIR/common/members.py" "$ENSEMBLE" "$@"; }

# Starts an ensemble of three servers below $WORK/ensemble. Sets ENSEMBLE and ENSEMBLE_CONNECT; returns when all serve.
ensemble_start() {
    local program props=() prop
    if [ "$SERVER" = zookeeper ]; then ensure_zookeeper; program=$ZK_CLASSPATH; else program=$(ringkeeper_binary); fi
    for prop in ${SERVER_PROPS[@]+"${SERVER_PROPS[@]}"}; do props+=(-D "$prop"); done
    for prop in ${SERVER_CFG[@]+"${SERVER_CFG[@]}"}; do props+=(--line "$prop"); done
    ENSEMBLE=$WORK/ensemble
    rm -rf "$ENSEMBLE"
    ENSEMBLE_CONNECT=$(members start --system "$SERVER" --program "$program" ${props[@]+"${props[@]}"}) || die "the ensemble doesn't start"
}

# Ends all servers with SIGTERM and checks how they end.
ensemble_stop() {
    members stop || die "the ensemble doesn't stop as promised, see $ENSEMBLE"
    ENSEMBLE=
}

# Starts the server under test on an empty directory. $1 = client port, 0 (default) for a free one. With --on it is a member
# of an ensemble. Sets SERVER_PORT, and SERVER_PID when it is alone; returns when clients are served.
server_start() {
    local port=${1:-0} props=() prop number
    if [ "$ON" != alone ]; then
        [ "$port" = 0 ] || die "this stage needs a fixed port, so it runs with one server only"
        ensemble_start
        if [ "$ON" = leader ]; then
            number=$(members leader) || die "nobody leads"
            SERVER_PORT=$(cut -d, -f"$number" <<<"$ENSEMBLE_CONNECT")
        else
            SERVER_PORT=$(members follower) || die "nobody follows"
        fi
        SERVER_PORT=${SERVER_PORT##*:}
        return 0
    fi
    mkdir -p "$WORK/data"
    : >"$WORK/server.out"
    for prop in ${SERVER_PROPS[@]+"${SERVER_PROPS[@]}"}; do props+=("-D$prop"); done
    if [ "$SERVER" = zookeeper ]; then
        ensure_zookeeper
        [ "$port" != 0 ] || port=$(free_port)
        write_zoo_cfg "$WORK/zoo.cfg" "$port"
        java -Xmx512m -XX:TieredStopAtLevel=1 -cp "$ZK_CLASSPATH" -Dorg.slf4j.simpleLogger.defaultLogLevel=info \
            ${props[@]+"${props[@]}"} org.apache.zookeeper.server.quorum.QuorumPeerMain "$WORK/zoo.cfg" \
            >"$WORK/server.out" 2>"$WORK/server.log" 9>&- &
        SERVER_PID=$!
        wait_for_zookeeper "$port"
    else
        write_zoo_cfg "$WORK/zoo.cfg" "$port"
        "$(ringkeeper_binary)" serve "$WORK/zoo.cfg" ${props[@]+"${props[@]}"} \
            >"$WORK/server.out" 2>"$WORK/server.log" 9>&- &
        SERVER_PID=$!
        wait_for_ringkeeper
    fi
}

server_died() { tail -n 15 "$WORK/server.log" >&2; die "the server ended before it was ready, see $WORK/server.log"; }

wait_for_zookeeper() {
    local port=$1 deadline=$(( $(date +%s) + READY_TIMEOUT_S ))
    while [ "$(date +%s)" -lt $deadline ]; do
        kill -0 "$SERVER_PID" 2>/dev/null || server_died
        if four_letter_word "$port" srvr | grep -q '^Mode:'; then SERVER_PORT=$port; return 0; fi
        sleep 0.2
    done
    die "ZooKeeper was not ready after $READY_TIMEOUT_S s, see $WORK/server.log"
}

wait_for_ringkeeper() {
    local line deadline=$(( $(date +%s) + READY_TIMEOUT_RINGKEEPER_S ))
    while [ "$(date +%s)" -lt $deadline ]; do
        line=
        if ! IFS= read -r line <"$WORK/server.out"; then line=; fi     # a line counts when it is complete
        if [[ $line =~ ^ringkeeper\ ready\ client=.*:([0-9]+)\ data=.*\ cores=.*\ durable=yes$ ]]; then
            SERVER_PORT=${BASH_REMATCH[1]}
            return 0
        fi
        [ -z "$line" ] || die "the ready line is not as promised: '$line'"
        kill -0 "$SERVER_PID" 2>/dev/null || server_died
        sleep 0.05
    done
    die "Ringkeeper was not ready after $READY_TIMEOUT_RINGKEEPER_S s, see $WORK/server.log"
}

# Ends the server with SIGTERM and checks how it ends. Fails the stage when Ringkeeper breaks its promise.
server_stop() {
    local pid=$SERVER_PID status=0 waited_ms=0
    if [ "$ON" != alone ]; then ensemble_stop; return 0; fi
    kill -TERM "$pid" 2>/dev/null || die "the server had ended before it was stopped, see $WORK/server.log"
    while kill -0 "$pid" 2>/dev/null && [ $waited_ms -lt $((STOP_TIMEOUT_S * 1000)) ]; do
        sleep 0.05; waited_ms=$((waited_ms + 50))
    done
    if kill -0 "$pid" 2>/dev/null; then die "the server still ran $STOP_TIMEOUT_S s after SIGTERM"; fi
    wait "$pid" || status=$?
    SERVER_PID=
    if [ "$SERVER" = ringkeeper ]; then
        [ $status -eq 0 ] || die "Ringkeeper ended with status $status after SIGTERM, not 0"
        [ "$(wc -l <"$WORK/server.out")" -eq 1 ] || die "Ringkeeper printed more than its ready line, see $WORK/server.out"
    fi
}
