//! The structure of the house, held by a machine: who may import whom, what each file opens with, where glommio, rkyv, clocks
//! and `unsafe` may stand, and that the catalogue of deliberate faults is complete.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Modules in layer order with what each may import. This table is the truth; `docs/architecture.md` draws it.
const LAYERS: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("doctor", &["base"]),
    ("model", &["base"]),
    ("tree", &["base", "model"]),
    ("session", &["base", "model"]),
    ("auth", &["base", "model"]),
    ("prep", &["base", "model", "tree", "session"]),
    ("zab", &["base", "model"]),
    ("log", &["base", "model"]),
    ("snapshot", &["base", "model"]),
    ("wire", &["base", "model"]),
    ("server", &["base", "model", "tree", "session", "auth", "prep", "zab", "log", "snapshot", "wire"]),
    ("runtime", &["base", "doctor", "model", "tree", "session", "auth", "prep", "zab", "log", "snapshot", "wire", "server"]),
    ("sim", &["base", "model", "tree", "session", "auth", "prep", "zab", "log", "snapshot", "wire", "server"]),
    ("cli", &["base", "doctor", "model", "tree", "session", "auth", "prep", "zab", "log", "snapshot", "wire", "server", "runtime"]),
];

/// Files that may hold `unsafe`, each use with its reason beside it.
const UNSAFE: &[&str] = &["src/runtime/", "tools/"];
/// Longest file, and those that were longer when the rule came; the list only shrinks.
const FILE_LINES_MAX: usize = 600;
const LONGER_FILES: &[&str] = &[];

fn sources(dir: &str) -> Vec<(PathBuf, String)> {
    fn walk(dir: &Path, out: &mut Vec<(PathBuf, String)>) {
        let Ok(entries) = fs::read_dir(dir) else { return };
        for entry in entries.map(|e| e.expect("a readable directory").path()) {
            if entry.is_dir() {
                walk(&entry, out);
            } else if entry.extension().is_some_and(|e| e == "rs") {
                let text = fs::read_to_string(&entry).expect("a readable file");
                out.push((entry, text));
            }
        }
    }
    let mut out = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join(dir), &mut out);
    out.sort();
    out
}

fn name(path: &Path) -> String {
    path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap_or(path).display().to_string()
}

fn module_of(path: &Path) -> Option<String> {
    let name = name(path);
    let inner = name.strip_prefix("src/")?;
    Some(inner.split(['/', '.']).next()?.to_owned())
}

/// Code without comments (texts in quotes may remain; no rule here minds).
fn code(text: &str) -> String {
    text.lines().map(|l| l.split("//").next().unwrap_or("")).collect::<Vec<_>>().join("\n")
}

#[test]
fn modules_import_only_from_their_layers() {
    let mut wrong = Vec::new();
    for (path, text) in sources("src") {
        let Some(module) = module_of(&path) else { continue };
        let Some((_, allowed)) = LAYERS.iter().find(|(m, _)| *m == module) else {
            assert!(["lib", "main"].contains(&module.as_str()), "{} is in no layer", name(&path));
            continue;
        };
        for (line, code) in code(&text).lines().enumerate() {
            for (at, _) in code.match_indices("crate::") {
                let target: String = code[at + 7..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                let known = LAYERS.iter().any(|(m, _)| *m == target);
                if known && target != module && !allowed.contains(&target.as_str()) {
                    wrong.push(format!("{}:{}: {module} imports {target}", name(&path), line + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "imports against the layers:\n{}", wrong.join("\n"));
}

#[test]
fn glommio_rkyv_clocks_and_threads_stay_where_they_belong() {
    let rules: &[(&str, &[&str])] = &[
        ("glommio::", &["src/runtime/"]),
        ("rkyv", &["src/log/", "src/snapshot/"]),
        ("Instant::now", &["src/runtime/", "tools/"]),
        ("SystemTime::now", &["src/runtime/", "tools/"]),
        // A script runs on a thread that may block; nothing else runs yet when ports are opened, and no server where others are asked.
        (
            "thread::sleep",
            &["src/runtime/reactor/tests.rs", "src/runtime/script.rs", "src/runtime/listener.rs", "src/runtime/ask.rs", "tools/"],
        ),
        ("thread::spawn", &["src/runtime/", "tools/"]),
        ("tracing::", &["src/runtime/", "src/main.rs"]),
    ];
    let mut wrong = Vec::new();
    for (path, text) in sources("src").into_iter().chain(sources("tools")) {
        for (word, places) in rules {
            if code(&text).contains(word) && !places.iter().any(|p| name(&path).starts_with(p)) {
                wrong.push(format!("{} names {word}", name(&path)));
            }
        }
        if code(&text).contains("unsafe ") && !UNSAFE.iter().any(|p| name(&path).starts_with(p)) {
            wrong.push(format!("{} holds unsafe", name(&path)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_open_with_what_they_are_and_stay_readable() {
    let mut wrong = Vec::new();
    for (path, text) in sources("src").into_iter().chain(sources("tools")).chain(sources("benches")) {
        let is_test_module = name(&path).ends_with("tests.rs") || name(&path).contains("/tests/");
        if !text.starts_with("//!") && !is_test_module {
            wrong.push(format!("{} doesn't open with what it is", name(&path)));
        }
        if text.lines().count() > FILE_LINES_MAX && !LONGER_FILES.contains(&name(&path).as_str()) {
            wrong.push(format!("{} has {} lines; {FILE_LINES_MAX} is the most", name(&path), text.lines().count()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_catalogue_of_deliberate_faults_is_complete_and_sorted() {
    let catalogue: Vec<&str> = ringkeeper::base::mutants::CATALOGUE.iter().map(|m| m.name).collect();
    assert!(catalogue.is_sorted(), "the catalogue isn't in alphabetical order: {catalogue:?}");
    let mut used = BTreeSet::new();
    for (path, text) in sources("src") {
        if name(&path) == "src/base/mutants.rs" {
            continue;
        }
        for (at, _) in text.match_indices("mutant!(\"") {
            used.insert(text[at + 9..].split('"').next().expect("a closing quote").to_owned());
        }
    }
    let listed: BTreeSet<String> = catalogue.iter().map(|n| (*n).to_owned()).collect();
    assert_eq!(used, listed, "faults in the code and in the catalogue differ");
}
