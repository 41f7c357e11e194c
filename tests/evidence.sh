# Parts of a long stage: what passed stands in a file of docs/evidence/ and isn't run again while the sources it judges are the same.
# Sourced; run from the root of the repository.

# evidence_in FILE SOURCE... : where parts are recorded, and what they judge (pathspecs of git).
evidence_in() {
  evidence=docs/evidence/$1; shift
  evidence_sources=("$@")
  evidence_tree=$(git ls-files -s -- "$@" | sha256sum | cut -c1-12)
  [ -e "$evidence" ] || { mkdir -p "${evidence%/*}"; printf 'time\tcommit\tsources\tpart\toutcome\tfirst_seed\tseconds\n' > "$evidence"; }
}

evidence_has() { grep -qs "	$evidence_tree	$1	passed	" "$evidence"; }

# evidence_add PART FIRST_SEED SECONDS : a line for a part that passed, unless the sources differ from those of the commit.
evidence_add() {
  if git diff --quiet HEAD -- "${evidence_sources[@]}"; then
    printf '%s\t%s\t%s\t%s\tpassed\t%s\t%d\n' "$(date -u +%FT%TZ)" "$(git rev-parse --short HEAD)" "$evidence_tree" "$1" "$2" "$3" >> "$evidence"
  else
    echo "   not recorded: the sources aren't those of a commit"
  fi
}
