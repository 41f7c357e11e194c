//! Executors that get too little, and what a start makes durable before it serves, over real files.

use super::*;
use crate::base::ids::{ClusterId, Zxid};
use crate::model::file::FileOp;
use crate::server::config::{ConfigFile, Input, check};
use crate::snapshot::{Head, SnapshotWriter};
use crate::tree::{Tree, TreeOptions};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::os::fd::AsRawFd;

/// Set for the process that is to run out of descriptors.
const CHILD: &str = "RINGKEEPER_TEST_DESCRIPTORS";

#[test]
fn an_executor_without_descriptors_for_its_rings_is_noticed() {
    if std::env::var_os(CHILD).is_some() {
        let front = || executor(glommio::Placement::Unbound, "front", 1);
        begin("front 0", front(), std::future::pending).unwrap();
        // One for what wakes it, which is made before its thread is, and two more: too few for its rings.
        let free = std::fs::File::open("/dev/null").unwrap().as_raw_fd();
        let few = u64::try_from(free).unwrap() + 3;
        setrlimit(Resource::Nofile, Rlimit { current: Some(few), ..getrlimit(Resource::Nofile) }).unwrap();
        let foreseen = begin("front 1", front(), std::future::pending).unwrap_err();
        let noticed = begin_with_what_there_is("front 1", front(), std::future::pending).unwrap_err();
        for error in [foreseen, noticed] {
            assert_eq!(error.kind, Fatal::IoUring, "{error}");
            assert!(error.message.starts_with("front 1 can't start: ") && error.message.contains("ulimit -n"), "{error}");
        }
        return;
    }
    let name = "runtime::boot::tests::an_executor_without_descriptors_for_its_rings_is_noticed";
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said = String::from_utf8(child.stdout).unwrap();
    assert!(child.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&child.stderr));
}

#[test]
fn only_a_panic_is_called_a_defect() {
    let panic = GlommioError::BuilderError(BuilderErrorKind::ThreadPanic(Box::new("")));
    assert_eq!(ended("the keeper", panic).kind, Fatal::Invariant);
    let refused = ended("the keeper", GlommioError::IoError(std::io::Error::from_raw_os_error(libc::EMFILE)));
    assert!(refused.kind == Fatal::IoUring && refused.message.starts_with("the keeper can't start: "), "{refused}");
}

/// Whoever took the snapshot may have been ended between giving it its name and making that durable.
#[test]
fn the_names_of_snapshots_are_durable_before_a_start_builds_upon_one() {
    let dir = tempfile::tempdir().unwrap();
    let roots = Roots { data: dir.path().to_owned(), log: dir.path().to_owned() };
    let text = format!("dataDir={}\nclientPort=0\n", dir.path().display());
    let input = Input { file: Some(ConfigFile { name: "zoo.cfg", bytes: text.as_bytes() }), overrides: &[], cores_available: 1 };
    let (config, _) = check(&input).into_config().unwrap();
    let start = || {
        let boot = recover_server(&DiskFiles::new(roots.clone()), &config, &mut Prng::from_seed(7)).unwrap();
        boot.before_serving.iter().try_for_each(|script| run_script(&roots, script)).unwrap();
        boot
    };
    let steps_of = |boot: &Boot| boot.before_serving.iter().flat_map(|script| script.ops.clone()).collect::<Vec<FileOp>>();
    let keep = crate::snapshot::keep_names().ops;
    assert!(!steps_of(&start()).starts_with(&keep), "there is no snapshot yet");
    let head = Head { zxid: Zxid(0), cluster: ClusterId(0), generation: 1, checksum: 0 };
    let mut tree = Tree::new(TreeOptions { hash_seed: 7, extended_types: false, skip_digest: false });
    let mut writer = SnapshotWriter::begin(head, std::iter::empty(), tree.acl_images());
    let digest = tree.digest();
    tree.begin_scan();
    while !tree.scan_step(100, &mut writer) {}
    writer.finish(digest);
    while let Some(script) = writer.next_script() {
        run_script(&roots, &script).unwrap();
        writer.on_done();
    }
    let second = start();
    assert!(second.notes.iter().any(|note| note.text.contains("from snapshot 0x0")), "{:?}", second.notes);
    assert!(steps_of(&second).starts_with(&keep), "{:?}", steps_of(&second));
}
