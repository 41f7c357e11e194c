# Shared by the stages whose client is a Java program of ours on libraries of others: sourced behind lib.sh.

compile_program() {
    local here=$1 target=$2
    local want; want=$(find "$here" -name pom.xml -o -name '*.java' | LC_ALL=C sort | xargs cat | sha256sum)
    if [ -f "$target/complete" ] && [ "$(cat "$target/complete")" = "$want" ]; then return 0; fi
    ensure_maven
    say "building the program of $(basename "$here")"
    rm -rf "$target"
    maven -f "$here/pom.xml" -Dstage.target="$target" compile \
        org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
        -DincludeScope=runtime -DoutputDirectory="$target/lib" >"$WORK/maven.log" 2>&1 ||
        { grep ERROR "$WORK/maven.log" | head -n 10 >&2; die "maven could not build it, see $WORK/maven.log"; }
    printf '%s\n' "$want" >"$target/complete"
}

# Compiles the program of the folder $1 and collects its class path, unless that was done for these very sources. Sets
# PROGRAM (its directory, with classes and lib) and PROGRAM_CLASSPATH.
ensure_program() {
    PROGRAM=$CACHE/$(basename "$1")
    PROGRAM_CLASSPATH="$PROGRAM/classes:$PROGRAM/lib/*"
    ensure_java
    with_cache_lock compile_program "$1" "$PROGRAM"
}

# Judges what a program printed into $WORK/checks.txt, a line PASS or FAIL for each check; ends the stage. $1 = the program's status.
finish_checks() {
    local failures=$1 failed passed
    cat "$WORK/checks.txt"
    failed=$(grep -c '^FAIL ' "$WORK/checks.txt" || true)
    passed=$(grep -c '^PASS ' "$WORK/checks.txt" || true)
    [ "$failed" -eq 0 ] || failures=$failed
    [ "$failures" -ne 0 ] || [ "$passed" -gt 0 ] || failures=1
    stage_finish "$failures" "$passed checks passed; details in checks.log"
}
