//! stub
use super::{Cx, Keeper};
use crate::base::ids::Zxid;
use crate::base::memory::BatchMemory;
use crate::base::prng::Prng;
use crate::log::DiskDone;
use crate::model::file::Ticket;
use crate::model::image::NodeImage;
#[allow(missing_docs)]
#[derive(Clone, Debug)]
pub struct SnapshotOptions;
pub(super) struct Snapshots;
#[allow(unused)]
impl Snapshots {
    pub(super) fn new(o: SnapshotOptions, z: Option<Zxid>, a: Zxid, p: &mut Prng) -> Snapshots {
        Snapshots
    }
    pub(super) fn old_image(&mut self, image: NodeImage<'_>) {}
    pub(super) fn on_applied(&mut self) {}
    pub(super) fn owns(&self, t: Ticket) -> bool {
        false
    }
    pub(super) fn wants_turn(&self) -> bool {
        false
    }
}
#[allow(unused)]
impl<M: BatchMemory> Keeper<M> {
    pub(super) fn step_snapshot(&mut self, cx: &mut Cx<'_, M>) {}
    pub(super) fn on_snapshot_disk(&mut self, cx: &mut Cx<'_, M>, done: DiskDone) {}
}
