# The stages of tests/run: name, budget in minutes, what it shows. Sourced by tests/run; run from the root of the repository.

STAGES=(
  "build|6|the release binaries build from the lock file"
  "lint|3|formatting, clippy with warnings as errors, documentation without warnings"
  "unit|5|unit, property, golden and structure tests"
  "clients/sample|1|the Python sample runs unchanged"
)

stages_names() { printf '%s\n' "${STAGES[@]}" | cut -d'|' -f1; }
stages_list() { printf '%s\n' "${STAGES[@]}" | awk -F'|' '{ printf "%-22s %3s min  %s\n", $1, $2, $3 }'; }
stages_budget() { printf '%s\n' "${STAGES[@]}" | awk -F'|' -v s="$1" '$1 == s { print $2; found = 1 } END { exit !found }'; }

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
