# The stages of tests/run: name, budget in minutes, what it shows. Sourced by tests/run; run from the root of the repository.

STAGES=(
  "build|5|the release binaries build from the lock file"
  "lint|4|formatting, clippy with warnings as errors, documentation without warnings"
  "unit|9|unit, property, golden-byte and structure tests"
  "fuzz|2|damaged inputs for every decoder: frames, handshake, log, snapshot, configuration"
  "sim|4|simulator: fresh seeds over 1, 2 and 4 log shards, crash sweep, sector sweep"
  "mutants|8|each deliberate fault is found by the simulator or a named test"
  "differential|2|random operations give the same answers and events as real ZooKeeper 3.9.5"
  "hostile|3|100,000 malformed inputs beside a well-behaved client"
  "process|3|all operations, floods, rude clients and a clean stop in both placements and on glommio"
  "kill|4|kill -9 under load: nothing acknowledged is lost"
  "disk|4|flushes counted; a device that hangs, fails and fills; damage; runtime mutants"
  "ensemble|7|ensembles of real processes in networks of their own: kills, pauses, cuts, lost and damaged disks, moving clients"
  "doctor|1|doctor and probe-disk here, with io_uring blocked, without root, without O_DIRECT"
  "operations|1|cold backup and restore as documented"
  "bench|5|the bench runs every scenario, hides no stall and no bottleneck of its own; each criterion bench once"
  "memory|2|memory for each of a million znodes"
  "clients/sample|1|the Python sample runs unchanged"
  "clients/zkcli|1|ZooKeeper's own command line: a session compared with its transcript"
  "clients/cclient|1|the C client"
  "clients/curator|3|Curator 5.9 recipes"
  "clients/kazoo|4|a part of kazoo's own test suite"
  "clients/ensemble-zkcli|2|the same session of ZooKeeper's command line at a follower"
  "clients/ensemble-cclient|1|the C client at a follower"
  "clients/ensemble-curator|3|Curator 5.9: latch, mutex, cache and sessions while the leader is killed"
  "clients/hadoop-elector|2|Hadoop's ActiveStandbyElector: the active elector, the leading server, or both are killed"
)

# Too long or too large for the landing lane, or not yet passed in one piece: run by name only.
LONG_STAGES=(
  "exhaustive|60|every schedule of three servers to a depth at which four of ZooKeeper's bugs, put back in, are found"
  "clients/ensemble-kazoo|4|a part of kazoo's own test suite over three servers"
  "clients/spark|6|Spark standalone: the leading master is killed under an application"
)

stages_names() { printf '%s\n' "${STAGES[@]}" | cut -d'|' -f1; }
stages_list() { printf '%s\n' "${STAGES[@]}" "${LONG_STAGES[@]}" | awk -F'|' '{ printf "%-25s %3s min  %s\n", $1, $2, $3 }'; }
stages_budget() { printf '%s\n' "${STAGES[@]}" "${LONG_STAGES[@]}" | awk -F'|' -v s="$1" '$1 == s { print $2; found = 1 } END { exit !found }'; }

# stages_run STAGE LONG(yes|no)
stages_run() {
  local full=()
  [ "$2" = yes ] && full=(--full)
  case "$1" in
    build) cargo build --release --locked --bins ;;
    lint)
      cargo fmt --check \
        && cargo clippy --locked --all-targets -- -D warnings \
        && RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items --quiet
      ;;
    unit) cargo test --locked --lib --tests ;;
    *) "tests/$1/run" "${full[@]}" ;;
  esac
}
