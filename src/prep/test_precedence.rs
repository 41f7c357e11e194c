//! Every row of the lists of checks (T13 to T22): a request that breaks one rule and, where that can be, all later ones too
//! must get the error of the first.

use super::test_bench::*;
use super::{PrepOptions, Refusal};
use crate::base::ids::SessionId;
use crate::base::time::MonoMs;
use crate::model::acl::{AclEntry, Identity, OPEN_UNSAFE, READ_UNSAFE, encode, perms};
use crate::model::error_code::ErrorCode::{self, *};
use crate::model::request::{Create, CreateOp, Request};
use crate::model::txn::OpRef;

const ALL: PrepOptions = PrepOptions { skip_acl: false, extended_types: true, enforce_quota: true, reconfig_enabled: false };
/// A session whose closing is outstanding in [`stage`].
const CLOSING: SessionId = OTHER;

/// `/a` with child `/a/b`; `/ro` and `/ro/x` that only READ; `/wo` that only WRITE; `/eph` of [`ME`]; `/q` and `/q/x` at
/// their hard limits; a quota of nothing on `/eph`.
fn stage(options: PrepOptions) -> World {
    let mut world = World::new(options).with(&["/a", "/a/b", "/ro", "/ro/x", "/wo", "/q", "/q/x"]);
    world.must(&create_of("/eph", CreateOp::Create, 1, Some(OPEN_UNSAFE)));
    let write_only = encode([AclEntry { perms: perms::WRITE, scheme: b"world", id: b"anyone" }]);
    for (path, list) in [("/ro/x", READ_UNSAFE), ("/ro", READ_UNSAFE), ("/wo", &write_only)] {
        world.must(&set_acl(path, list, -1));
    }
    world.apply_all();
    for (path, limits) in [("/q", "count=-1,bytes=-1=;countHardLimit=2;byteHardLimit=8"), ("/eph", "count=-1,bytes=-1=;countHardLimit=0")] {
        let root = format!("/zookeeper/quota{path}");
        world.must(&create(&root));
        let limits_path = format!("{root}/zookeeper_limits");
        world.must(&Request::Create(Create {
            op: CreateOp::Create,
            path: limits_path.as_bytes(),
            data: Some(limits.as_bytes()),
            acl: Some(OPEN_UNSAFE),
            flags: 0,
            ttl_ms: 0,
        }));
        world.must(&create(&format!("{root}/zookeeper_stats")));
    }
    world.apply_all();
    assert!(world.close(CLOSING));
    world
}

fn expect(rows: &[(SessionId, Request<'_>, ErrorCode)]) {
    for (session, request, code) in rows {
        assert_eq!(stage(ALL).code(*session, request), *code, "{request:?}");
    }
}

#[test]
fn create_gives_the_first_error() {
    let of = |path, flags| create_of(path, CreateOp::Create, flags, Some(BAD_ACL));
    let open = |path| create_of(path, CreateOp::Create2, 0, Some(OPEN_UNSAFE));
    let no_ttl = PrepOptions { extended_types: false, ..ALL };
    assert_eq!(stage(no_ttl).code(CLOSING, &create_ttl("x", 0)), Unimplemented);
    assert_eq!(stage(no_ttl).code(CLOSING, &of("x", 5)), Unimplemented);
    expect(&[
        (CLOSING, of("/none/x", 9), BadArguments),
        (CLOSING, of("/none/x", -1), BadArguments),
        (CLOSING, of("/none/x", 6), BadArguments),
        (CLOSING, create_ttl("/none/x", 0), BadArguments),
        (CLOSING, create_ttl("/none/x", 0x100_0000_0000), BadArguments),
        (CLOSING, of("x", 0), SessionExpired),
        (CLOSING, of("x", 1), SessionExpired),
        (ME, of("x", 0), BadArguments),
        (ME, of("", 2), BadArguments),
        (ME, of("/none/\0", 0), BadArguments),
        (ME, of("/none/x", 0), InvalidAcl),
        (ME, create_of("/none/x", CreateOp::Create, 0, None), InvalidAcl),
        (ME, open("none/x"), NoNode),
        (ME, open("/none/.."), NoNode),
        (ME, open("/ro/.."), NoAuth),
        (ME, open("/ro/x"), NoAuth),
        (ME, open("/eph/.."), BadArguments),
        (ME, open("/a/"), BadArguments),
        (ME, open("//a"), BadArguments),
        (ME, open("/q/x"), NodeExists),
        (ME, open("/"), NodeExists),
        (ME, open("/eph/c"), NoChildrenForEphemerals),
        (ME, open("/q/y"), QuotaExceeded),
    ]);
}

#[test]
fn delete_gives_the_first_error() {
    expect(&[
        (CLOSING, delete("/", 7), SessionExpired),
        (ME, delete("/", 7), BadArguments),
        (ME, delete("/zookeeper", 7), BadArguments),
        (ME, delete("/zookeeper/quota", 7), BadArguments),
        (ME, delete("/zookeeper/config", 7), BadArguments),
        (ME, delete("a", 7), BadArguments),
        (ME, delete("/none\0", 7), BadArguments),
        (ME, delete("/none/x", 7), NoNode),
        (ME, delete("/ro/none", 7), NoAuth),
        (ME, delete("/ro/x", 7), NoAuth),
        (ME, delete("/none", 7), NoNode),
        (ME, delete("/a/", 7), NoNode),
        (ME, delete("/a", 7), BadVersion),
        (ME, delete("/a", 0), NotEmpty),
        (ME, delete("/a", -1), NotEmpty),
    ]);
}

#[test]
fn set_data_gives_the_first_error() {
    let bytes = Request::SetData { path: b"/q/x", data: Some(b"longer"), version: 7 };
    expect(&[
        (CLOSING, set("none", 7), SessionExpired),
        (ME, set("none", 7), BadArguments),
        (ME, set("/ro/", 7), BadArguments),
        (ME, set("/none", 7), NoNode),
        (ME, set("/ro", 7), NoAuth),
        (ME, bytes, QuotaExceeded),
        (ME, set("/a", 7), BadVersion),
    ]);
}

#[test]
fn set_acl_gives_the_first_error() {
    expect(&[
        (CLOSING, set_acl("none", BAD_ACL, 7), SessionExpired),
        (ME, set_acl("none", BAD_ACL, 7), BadArguments),
        (ME, set_acl("/none", BAD_ACL, 7), InvalidAcl),
        (ME, set_acl("/none", OPEN_UNSAFE, 7), NoNode),
        (ME, set_acl("/ro", OPEN_UNSAFE, 7), NoAuth),
        (ME, set_acl("/a", OPEN_UNSAFE, 7), BadVersion),
    ]);
}

/// What a multi with only `request` fails with.
fn code_in_multi(world: &mut World, session: SessionId, request: Request<'_>) -> ErrorCode {
    match world.judge_as(session, &Request::Multi(vec![request])) {
        Err(Refusal::Multi { failed_idx: 0, code, count: 1 }) => code,
        other => panic!("{other:?}"),
    }
}

#[test]
fn check_gives_the_first_error_in_a_multi_and_none_outside() {
    assert_eq!(stage(ALL).code(ME, &check("/a", 0)), Unimplemented);
    for (session, request, code) in [
        (CLOSING, check("none", 7), SessionExpired),
        (ME, check("none", 7), BadArguments),
        (ME, check("/none", 7), NoNode),
        (ME, check("/wo", 7), NoAuth),
        (ME, check("/ro", 7), BadVersion),
    ] {
        assert_eq!(code_in_multi(&mut stage(ALL), session, request.clone()), code, "{request:?}");
    }
}

#[test]
fn flags_inside_a_multi_decide_by_themselves() {
    let multi = |request: Request<'static>| stage(ALL).judge(&Request::Multi(vec![create("/new"), request]));
    for undecodable in [
        create_of("/c", CreateOp::Create, 5, Some(OPEN_UNSAFE)),
        create_of("/c", CreateOp::Container, 7, Some(OPEN_UNSAFE)),
        Request::GetData { path: b"/a", watch: false },
        set_acl("/a", OPEN_UNSAFE, -1),
    ] {
        assert_eq!(multi(undecodable).unwrap_err(), Refusal::Code(MarshallingError));
    }
    let owner = |request| match multi(request).unwrap().get(1) {
        Some(OpRef::Create { owner, .. }) => owner,
        other => panic!("{other:?}"),
    };
    assert_eq!(owner(create_of("/c", CreateOp::Create, 4, Some(OPEN_UNSAFE))), i64::MIN);
    assert_eq!(owner(create_of("/c", CreateOp::Container, 1, Some(OPEN_UNSAFE))), ME.0);
    assert_eq!(owner(create_of("/c", CreateOp::Ttl, 0, Some(OPEN_UNSAFE))), 0);
    assert_eq!(owner(create_ttl("/c", 9)), 0xff00_0000_0000_0009_u64.cast_signed());
    assert!(matches!(multi(create_of("/c", CreateOp::Ttl, 8, Some(OPEN_UNSAFE))), Err(Refusal::Multi { code: BadArguments, .. })));
}

#[test]
fn opcode_decides_the_kind_outside_a_multi() {
    let owner = |request| match stage(ALL).must(&request).get(0) {
        Some(OpRef::Create { owner, .. }) => owner,
        other => panic!("{other:?}"),
    };
    assert_eq!(owner(create_of("/c", CreateOp::Create, 4, Some(OPEN_UNSAFE))), 0);
    assert_eq!(owner(create_of("/c", CreateOp::Container, 0, Some(OPEN_UNSAFE))), i64::MIN);
    assert_eq!(owner(create_of("/c", CreateOp::Create2, 1, Some(OPEN_UNSAFE))), ME.0);
}

#[test]
fn reconfig_is_refused() {
    let request = Request::Reconfig { joining: b"", leaving: b"", members: b"", config_id: -1 };
    assert_eq!(stage(ALL).code(CLOSING, &request), ReconfigDisabled);
    let enabled = PrepOptions { reconfig_enabled: true, ..ALL };
    assert_eq!(stage(enabled).code(CLOSING, &request), SessionExpired);
    assert_eq!(stage(enabled).code(ME, &request), Unimplemented);
}

#[test]
fn skip_acl_and_super_pass_every_list() {
    let mut open = stage(PrepOptions { skip_acl: true, ..ALL });
    open.must(&create("/ro/new"));
    open.must(&set_acl("/ro", OPEN_UNSAFE, -1));
    let mut world = stage(ALL);
    world.identities.push(Identity { scheme: b"super".into(), id: b"".into() });
    world.must(&delete("/ro/x", -1));
}

#[test]
fn names_count_creations_that_are_outstanding_or_gone() {
    let mut world = World::new(ALL).with(&["/q", "/q/byhand"]);
    let next = |world: &mut World| created(&world.must(&create_of("/q/n-", CreateOp::Create, 2, Some(OPEN_UNSAFE))));
    assert_eq!(next(&mut world), "/q/n-0000000001");
    world.must(&delete("/q/n-0000000001", -1));
    assert_eq!(next(&mut world), "/q/n-0000000002");
    world.must(&create("/q/n-0000000004"));
    assert_eq!(world.code(ME, &create_of("/q/n-", CreateOp::Create, 2, Some(OPEN_UNSAFE))), NodeExists);
    world.apply_all();
    assert_eq!(created(&world.must(&create_of("/q/", CreateOp::Create, 3, Some(OPEN_UNSAFE)))), "/q/0000000004");
    assert_eq!(created(&world.must(&create_of("/", CreateOp::Create, 2, Some(OPEN_UNSAFE)))), "/0000000001");
}

#[test]
fn outstanding_writes_use_up_a_quota_until_they_are_applied_or_taken_back() {
    let mut world = stage(ALL);
    world.must(&delete("/q/x", -1));
    world.must(&create("/q/y"));
    assert_eq!(world.code(ME, &create("/q/z")), QuotaExceeded);
    let failing = Request::Multi(vec![delete("/q/y", -1), check("/none", 1)]);
    assert!(world.judge(&failing).is_err());
    assert_eq!(world.code(ME, &create("/q/z")), QuotaExceeded);
    world.apply_all();
    assert_eq!(world.code(ME, &create("/q/z")), QuotaExceeded);
    world.must(&delete("/q/y", -1));
    world.apply_all();
    world.must(&create("/q/z"));
}

#[test]
fn only_a_container_or_ttl_node_that_is_due_is_reaped() {
    let mut world = World::new(ALL).with(&["/plain"]);
    for request in [create_of("/c", CreateOp::Container, 4, Some(OPEN_UNSAFE)), create_ttl("/t", 100), create("/c/kid")] {
        world.must(&request);
    }
    world.apply_all();
    let code = |refused: Result<(), Refusal>| refused.unwrap_err();
    assert_eq!(code(world.reap("/plain")), Refusal::Code(BadVersion));
    assert_eq!(code(world.reap("/gone")), Refusal::Code(NoNode));
    assert_eq!(code(world.reap("/c")), Refusal::Code(NotEmpty));
    world.must(&delete("/c/kid", -1));
    world.reap("/c").unwrap();
    assert_eq!(code(world.reap("/c")), Refusal::Code(NoNode));
    world.now = MonoMs(100);
    assert_eq!(code(world.reap("/t")), Refusal::Code(BadVersion));
    world.now = MonoMs(101);
    // An outstanding write makes the node young again, an outstanding child keeps it.
    world.must(&set("/t", -1));
    assert_eq!(code(world.reap("/t")), Refusal::Code(BadVersion));
    world.apply_all();
    world.now = MonoMs(300);
    world.must(&create("/t/kid"));
    assert_eq!(code(world.reap("/t")), Refusal::Code(NotEmpty));
    world.must(&delete("/t/kid", -1));
    world.reap("/t").unwrap();
    world.apply_all();
    assert!(world.tree.find(b"/t").is_none() && world.tree.find(b"/c").is_none());
}
