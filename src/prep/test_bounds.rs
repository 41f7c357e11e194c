//! Requests that grow while they are judged: small on the wire, large in the log or in memory.

use super::test_bench::{ME, World};
use super::{Asker, PrepOptions, Refusal};
use crate::model::acl::{AclEntry, OPEN_UNSAFE, encode};
use crate::model::error_code::ErrorCode;
use crate::model::ops::OpBuf;
use crate::model::request::{Create, CreateOp, Request};

fn create<'a>(path: &'a str, acl: &'a [u8]) -> Request<'a> {
    Request::Create(Create { op: CreateOp::Create, path: path.as_bytes(), data: None, acl: Some(acl), flags: 0, ttl_ms: 0 })
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("/n{n}")).collect()
}

#[test]
fn lists_may_grow_so_much_in_a_request_however_many_there_are() {
    let mut world = World::new(PrepOptions::default());
    let long = encode([AclEntry { perms: 31, scheme: b"digest", id: &[b'x'; 200_000] }]);
    let grows = |_: Option<&[u8]>, out: &mut Vec<u8>| {
        out.extend_from_slice(&long);
        Ok(())
    };
    let asker = Asker { session: ME, identities: &[], resolve: &grows };
    let (names, mut ops) = (names(20), OpBuf::default());
    let list: Vec<Request<'_>> = names.iter().map(|name| create(name, OPEN_UNSAFE)).collect();
    let judged = world.prep.judge(&world.tree, &asker, &Request::Multi(list), world.next_zxid(), &mut ops);
    assert_eq!(judged, Err(Refusal::Multi { failed_idx: 5, code: ErrorCode::InvalidAcl, count: 20 }));
    assert_eq!((ops.len(), world.prep.outstanding()), (0, 0));
    // Each request begins anew.
    for name in &names {
        assert_eq!(world.prep.judge(&world.tree, &asker, &create(name, OPEN_UNSAFE), world.next_zxid(), &mut ops), Ok(()));
        world.prep.clear();
    }
}

#[test]
fn a_transaction_that_no_record_holds_is_refused() {
    let mut world = World::new(PrepOptions::default());
    world.must(&create("/a", OPEN_UNSAFE));
    let data = vec![1; 1 << 20];
    let set = Request::SetData { path: b"/a", data: Some(&data), version: -1 };
    let judged = world.judge(&Request::Multi(vec![set; 200]));
    assert_eq!(judged.err(), Some(Refusal::Multi { failed_idx: 127, code: ErrorCode::MarshallingError, count: 200 }));
    world.apply_all();
    assert_eq!(world.prep.outstanding(), 0);
}

#[test]
fn a_parents_long_list_is_not_copied_for_each_child() {
    let mut world = World::new(PrepOptions::default());
    let long = encode((0..4000).map(|_| AclEntry { perms: 31, scheme: b"world", id: b"anyone" }));
    world.must(&create("/p", &long));
    world.apply_all();
    let names: Vec<String> = names(1000).iter().map(|name| format!("/p{name}")).collect();
    let list: Vec<Request<'_>> = names.iter().map(|name| create(name, OPEN_UNSAFE)).collect();
    world.must(&Request::Multi(list));
    let kept = world.prep.pending.acl_bytes();
    assert!(kept < 2 * names.len() * OPEN_UNSAFE.len(), "{kept} bytes of lists for a thousand children of a parent with {}", long.len());
    world.apply_all();
    assert_eq!(world.prep.outstanding(), 0);
}
