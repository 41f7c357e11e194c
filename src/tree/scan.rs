//! Handing every node to a snapshot, exact at one zxid, a bounded step at a time while transactions go on.
//!
//! The scan goes through the places in order. Before a transaction changes or deletes a node that the scan hasn't reached,
//! the node's old image goes to the sink, and the scan passes over its place; nodes created meanwhile are passed over too.
//! So every node of the scan's zxid is handed out exactly once, as it was then. The ACL numbers in the images are those of
//! the table as [`Tree::acl_images`] gives it when the scan begins: an unchanged node holds on to its number, and a changed
//! one was handed out before.

use super::{ApplySink, Tree};
use crate::invariant;
use crate::model::image::{AclImage, ImageSink};
use crate::mutant;

/// A scan under way.
pub(super) struct Scan {
    next: u32,
    end: u32,
    /// One bit for each place: handed out already, or not part of the scan.
    passed: Vec<u64>,
}

impl Scan {
    /// Makes the scan leave out `slot`. False if it is past it or leaves it out already.
    pub(super) fn pass_over(&mut self, slot: u32) -> bool {
        if slot < self.next || slot >= self.end || self.is_passed(slot) {
            return false;
        }
        self.passed[slot as usize / 64] |= 1 << (slot % 64);
        true
    }

    fn is_passed(&self, slot: u32) -> bool {
        self.passed[slot as usize / 64] & (1 << (slot % 64)) != 0
    }
}

impl Tree {
    /// Begins a scan at [`Tree::last_zxid`]. Its digest is [`Tree::digest`] as of now, and it will hand out
    /// `node_count() - 1` images.
    ///
    /// # Panics
    /// If one is under way already, or within a transaction.
    pub fn begin_scan(&mut self) {
        invariant!(self.scan.is_none(), "a scan begins while another is under way");
        invariant!(!self.in_txn, "a scan begins within a transaction after {}", self.last_zxid);
        let end = self.arena.end();
        self.scan = Some(Scan { next: 0, end, passed: vec![0; (end as usize).div_ceil(64)] });
    }

    /// Whether a scan is under way.
    #[must_use]
    pub fn is_scanning(&self) -> bool {
        self.scan.is_some()
    }

    /// Looks at up to `nodes_max` places. True when the scan is done (also when there is none).
    pub fn scan_step(&mut self, nodes_max: usize, sink: &mut dyn ImageSink) -> bool {
        let Some(scan) = &mut self.scan else { return true };
        let upto = scan.next.saturating_add(u32::try_from(nodes_max).unwrap_or(u32::MAX)).min(scan.end);
        for slot in scan.next..upto {
            if !scan.is_passed(slot) && self.arena.contains(slot) {
                sink.node(self.arena.image(slot));
            }
        }
        scan.next = upto;
        let done = upto == scan.end;
        if done {
            self.scan = None;
        }
        done
    }

    /// Gives the scan up.
    pub fn abort_scan(&mut self) {
        self.scan = None;
    }

    /// The ACL table, to be taken when a scan begins.
    pub fn acl_images(&self) -> impl Iterator<Item = AclImage<'_>> {
        self.acls.iter().map(|(acl, list)| AclImage { acl, list })
    }

    /// Hands out the node as it is, if a scan hasn't come to it yet; to be called before every change.
    pub(super) fn keep_old_image(&mut self, slot: u32, sink: &mut dyn ApplySink) {
        if let Some(scan) = &mut self.scan
            && !mutant!("tree-old-image-skipped")
            && scan.pass_over(slot)
        {
            sink.old_image(self.arena.image(slot));
        }
    }
}
