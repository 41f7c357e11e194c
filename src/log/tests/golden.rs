//! The very bytes of each format: a change that isn't meant shows here.

use super::driver::{CLUSTER, head};
use crate::base::checksum::checksum;
use crate::base::ids::{ShardId, Zxid};
use crate::log::Identity;
use crate::log::batch::{Header, Local, Place, Replicated};
use crate::log::inspect;
use crate::log::mark::Mark;
use crate::log::meta::{Meta, Span};
use crate::log::record::encode_record;
use crate::log::segment::{SegmentHead, create_script, segment_number};
use crate::model::ops::OpBuf;
use crate::model::txn::OpRef;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn identity(counter: u64) -> Identity {
    Identity { zxid: Zxid::new(1, counter), checksum: 0x0102_0304_0506_0708 + counter }
}

#[test]
fn a_record() {
    let mut ops = OpBuf::default();
    ops.push(OpRef::Create { path: b"/a", data: Some(b"dd"), acl: b"acl", owner: 3, parent_cversion: 4 });
    ops.push(OpRef::Delete { path: b"/b" });
    let mut out = vec![0; 300];
    let len = encode_record(&head(Zxid::new(1, 2)), &ops, &mut out).unwrap();
    assert_eq!(hex(&out[..len]), RECORD);
}

#[test]
fn a_batch_header() {
    let replicated = Replicated {
        cluster: CLUSTER,
        first: Zxid::new(1, 8),
        last: Zxid::new(1, 9),
        body_len: 77,
        records: 2,
        body_checksum: 0xabcd,
        previous: identity(7),
        committed: Zxid::new(1, 5),
    };
    let mut block = vec![0xff; 256];
    let name = replicated.write(&mut block);
    let local = Local {
        generation: 5,
        shard: ShardId(1),
        offset: 8192,
        previous: Place { shard: ShardId(0), offset: 4096, len: 4096 },
        durable_cut: Zxid::new(1, 6),
    };
    local.write(&mut block);
    assert_eq!(hex(&block), HEADER);
    assert_eq!(Header::read(&block).unwrap(), Header { replicated, local, identity: name });
    assert_eq!(name.checksum, checksum(&block[..120]));
}

#[test]
fn a_segment_header_and_its_name() {
    let head = SegmentHead { cluster: CLUSTER, shard: ShardId(3), number: 18, generation: 5, base: 1 << 20, capacity: 65_536 };
    let block = head.encode();
    assert_eq!((hex(&block[..128]).as_str(), block.len()), (SEGMENT, 4096));
    assert_eq!(SegmentHead::decode(&block), Ok(head));
    assert_eq!(head.path().name, "log/shard-3/0000000000000012.log");
    assert_eq!((segment_number("0000000000000012.log"), segment_number("12.log"), segment_number("next.tmp")), (Some(18), None, None));
    assert_eq!(create_script(&head).ops.len(), 6);
}

#[test]
fn metadata() {
    let span = Span { generation: 4, start: identity(1), end: identity(2) };
    let meta = Meta {
        cluster: CLUSTER,
        accepted_epoch: 7,
        current_epoch: 6,
        repairing: true,
        generation: 5,
        start: identity(2),
        sequence: 9,
        ended: vec![span],
    };
    let bytes = meta.encode();
    assert_eq!(hex(&bytes), META);
    assert_eq!(Meta::decode(&bytes), Ok(meta));
    assert_eq!(inspect(&bytes, false).len(), 5);
}

#[test]
fn metadata_whose_generations_overlap_is_no_metadata() {
    let span = |generation, start, end| Span { generation, start: identity(start), end: identity(end) };
    let meta = Meta { cluster: CLUSTER, generation: 5, start: identity(6), ..Meta::first(CLUSTER) };
    let good = Meta { ended: vec![span(3, 1, 4), span(4, 4, 6)], ..meta.clone() };
    assert_eq!(Meta::decode(&good.encode()), Ok(good));
    for ended in [vec![span(3, 1, 5), span(4, 4, 6)], vec![span(4, 4, 7)], vec![span(4, 5, 4)]] {
        let bad = Meta { ended, ..meta.clone() };
        assert!(Meta::decode(&bad.encode()).is_err_and(|e| e.contains("out of range")), "{bad:?}");
    }
}

#[test]
fn a_mark() {
    let mark = Mark { cluster: CLUSTER, sequence: 11, generation: 5, durable: identity(2) };
    let bytes = mark.encode();
    assert_eq!((hex(&bytes[..64]).as_str(), hex(&bytes[504..]).as_str()), MARK);
    assert_eq!(Mark::decode(&bytes), Ok(mark));
    assert_eq!(mark.offset(), 4096);
}

const RECORD: &str = "\
    2f61646461636c2f6200f6ffffff0200000001efffffff02000000e9ffffff0300000003000000000000000400000001d7ffffff02000000\
    000000000000000000000000000000000000000000000000000000000002000000000100004d000000000000000068e5cf8b010000050000\
    0098ffffff02000000";
const HEADER: &str = "\
    524b62617463680a010000000100000021436587a9cbed0ff0debc9a78563412080000000001000009000000000100004d00000002000000\
    cdab00000000000007000000000100000f070605040302010500000000010000000000000000000000000000000000000000000000000000\
    0000000000000000d0a3aef4f874529805000000000000000020000000000000001000000000000000100000010000000600000000010000\
    0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000\
    0000000000000000000000000000000000000000000000002e86137a753bb159";
const SEGMENT: &str = "\
    524b7365676d740a010000000300000021436587a9cbed0ff0debc9a78563412120000000000000005000000000000000000100000000000\
    0000010000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000\
    00000000000000005c2bf0cb83c5214c";
const META: &str = "\
    524b65706f63680a010000000100000021436587a9cbed0ff0debc9a78563412070000000600000005000000000000000900000000000000\
    02000000000100000a0706050403020101000000000000000400000000000000010000000001000009070605040302010200000000010000\
    0a0706050403020175a7b04d4e09a1ca";
const MARK: (&str, &str) = (
    "524b6d61726b2d0a010000000000000021436587a9cbed0ff0debc9a785634120b00000000000000050000000000000002000000000100000a07060504030201",
    "d345025dfb77f99c",
);
