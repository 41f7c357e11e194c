//! Any bytes at all: no panic, no allocation by an unverified length, and records that come back as they went in.

use super::disk::Disk;
use super::driver::{CLUSTER, after, head, tiny};
use crate::base::ids::{ShardId, Zxid};
use crate::log::batch::{Header, RUNNING_NUMBER_MAX, Replicated};
use crate::log::mark::{Mark, mark_path};
use crate::log::meta::{Meta, meta_path};
use crate::log::record::{Records, encode_record, record_bytes_bound};
use crate::log::segment::SegmentHead;
use crate::log::{Identity, Record, accept_loss, inspect, recover};
use crate::model::ops::OpBuf;
use crate::model::txn::OpRef;
use proptest::prelude::*;

fn bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..max)
}

type Raw = (u8, Vec<u8>, Option<Vec<u8>>, Vec<u8>, i64, i32);

fn push(ops: &mut OpBuf, (kind, path, data, acl, number, version): &Raw) {
    let password = [*kind; 16];
    ops.push(match kind % 6 {
        0 => OpRef::Create { path, data: data.as_deref(), acl, owner: *number, parent_cversion: *version },
        1 => OpRef::Delete { path },
        2 => OpRef::SetData { path, data: data.as_deref(), version: *version },
        3 => OpRef::SetAcl { path, acl, aversion: *version },
        4 => OpRef::CreateSession { timeout_ms: version.unsigned_abs(), password: &password },
        _ => OpRef::CloseSession,
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn records_come_back_as_they_went_in(raw in proptest::collection::vec((any::<u8>(), bytes(40), proptest::option::of(bytes(60)), bytes(30), any::<i64>(), any::<i32>()), 0..6)) {
        let mut ops = OpBuf::default();
        raw.iter().for_each(|r| push(&mut ops, r));
        let mut out = vec![0xaa; record_bytes_bound(&ops)];
        let len = encode_record(&head(Zxid::new(3, 4)), &ops, &mut out).unwrap();
        prop_assert!(len + 4 <= record_bytes_bound(&ops));
        let record = Record::access(&out[..len]).unwrap();
        prop_assert_eq!(record.head(), head(Zxid::new(3, 4)));
        prop_assert!(record.ops().eq(ops.iter()));
        for short in 0..len {
            prop_assert!(encode_record(&head(Zxid::new(3, 4)), &ops, &mut out[..short]).is_err());
        }
    }

    #[test]
    fn a_changed_record_is_refused_or_read_without_panic(data in bytes(40), at in any::<prop::sample::Index>(), by in any::<u8>()) {
        let mut ops = OpBuf::default();
        ops.push(OpRef::Create { path: b"/p/q", data: Some(&data), acl: b"acl", owner: 1, parent_cversion: 2 });
        ops.push(OpRef::SetData { path: b"/p", data: None, version: 2 });
        let mut out = vec![0; 400];
        let len = encode_record(&head(Zxid::new(3, 4)), &ops, &mut out).unwrap();
        out[at.index(len)] = by;
        if let Ok(record) = Record::access(&out[..len]) {
            prop_assert!(record.ops().count() <= len);
        }
    }

    #[test]
    fn a_running_number_that_leaves_no_next_one_is_refused(number in RUNNING_NUMBER_MAX + 1..) {
        let mark = Mark { cluster: CLUSTER, sequence: 1, generation: 1, durable: Identity::default() };
        let meta = Meta::first(CLUSTER);
        let head = SegmentHead { cluster: CLUSTER, shard: ShardId(0), number: 1, generation: 1, base: 0, capacity: 4096 };
        let good = (Mark::decode(&mark.encode()).is_ok(), Meta::decode(&meta.encode()).is_ok(), SegmentHead::decode(&head.encode()).is_ok());
        prop_assert_eq!(good, (true, true, true));
        let refused = [
            Mark::decode(&Mark { generation: number, ..mark }.encode()).is_err(),
            Mark::decode(&Mark { sequence: number, ..mark }.encode()).is_err(),
            Meta::decode(&Meta { generation: number, ..meta.clone() }.encode()).is_err(),
            Meta::decode(&Meta { sequence: number, ..meta }.encode()).is_err(),
            SegmentHead::decode(&SegmentHead { generation: number, ..head }.encode()).is_err(),
        ];
        prop_assert_eq!(refused, [true; 5]);
    }

    #[test]
    fn garbage_is_refused_everywhere(junk in bytes(9000), place in 0..5usize) {
        let _ = (Record::access(&junk).is_ok(), Records::new(&junk).count(), Header::read(&junk).is_ok(), Replicated::read(&junk).is_ok());
        let _ = (Meta::decode(&junk).is_ok(), Mark::decode(&junk).is_ok(), inspect(&junk, true));
        let mut disk = Disk::default();
        let start = recover(&disk, after(Zxid::ZERO), &tiny(2), CLUSTER).start.unwrap();
        start.scripts.iter().flat_map(|s| &s.ops).for_each(|op| disk.apply(op).unwrap());
        let names = [meta_path(0).name, meta_path(1).name, mark_path().name, "log/shard-0/0000000000000001.log".to_owned(), "log/shard-1/ffffffffffffffff.log".to_owned()];
        disk.put(&names[place], junk);
        let _ = (recover(&disk, after(Zxid::ZERO), &tiny(2), CLUSTER).case, accept_loss(&disk, after(Zxid::new(0, 7)), &tiny(2), CLUSTER).case);
    }
}
