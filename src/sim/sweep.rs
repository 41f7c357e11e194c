//! Sweeps over crash points: one workload, crashed at every step of the disk, or with every subset of its unsynced sectors.

use super::options::Options;
use super::run::run;
use super::world::World;
use crate::base::ids::Zxid;
use crate::model::txn::OpRef;
use crate::tree::{IgnoreChanges, Tree, TreeOptions};

/// A workload that is short enough to be repeated for each of its disk steps.
#[must_use]
pub fn workload(seed: u64, shards: u8) -> Options {
    Options {
        shards,
        clients: 3,
        requests: 60,
        pipeline: 3,
        endings: 0,
        fail_op: 0,
        full_ms: 0,
        rot: 0,
        wall_jumps: 0,
        session_timeout_ms: 2000,
        tick_ms: 200,
        snap_count: 8,
        segment_kb: 16,
        ..Options::draw(seed)
    }
}

/// The plans of a crash sweep: the power fails at each disk step of the workload, boot and segment changes included.
#[must_use]
pub fn crash_points(base: &Options) -> Vec<Options> {
    let steps = run(base, false).disk_steps;
    (1..=steps).map(|at| Options { crash_at_step: at, ..base.clone() }).collect()
}

/// Unsynced sectors and names of a crash point of which every subset is tried.
pub const CHOICES_MAX: usize = 12;

/// What a sector sweep went through.
#[derive(Clone, Debug, Default)]
pub struct Swept {
    /// Crash points with an append on its way, of which every subset was tried.
    pub appending: u64,
    /// Crash points of which every subset was tried, by the number of their choices.
    pub points: [u64; CHOICES_MAX + 1],
    /// Crash points with more choices; of each a few subsets were tried.
    pub larger: u64,
    /// Starts of a server.
    pub starts: u64,
}

impl Swept {
    /// Crash points of which every subset was tried.
    #[must_use]
    pub fn whole(&self) -> u64 {
        self.points[1..].iter().sum()
    }
}

/// Digests of the tree by zxid, led along by the transactions that were written.
struct Ladder {
    tree: Tree,
    digests: Vec<u64>,
}

impl Ladder {
    fn new(extended_types: bool) -> Ladder {
        let tree = Tree::new(TreeOptions { hash_seed: 1, extended_types, skip_digest: false });
        let digests = vec![tree.digest()];
        Ladder { tree, digests }
    }

    fn climb(&mut self, world: &World) {
        for txn in world.history().ledger.log_of(0).skip(self.digests.len() - 1) {
            for op in txn.ops.iter().filter(|op| !matches!(op, OpRef::CreateSession { .. })) {
                self.tree.apply(&txn.head, op, &mut IgnoreChanges);
            }
            self.tree.end_txn(txn.head.zxid);
            self.digests.push(self.tree.digest());
        }
    }

    fn judge(&self, (zxid, digest): (Zxid, u64)) -> Result<(), String> {
        let wanted = self.digests.get(zxid.0 as usize).copied();
        if wanted == Some(digest) { Ok(()) } else { Err(format!("recovered {zxid} with digest {digest:x}, expected {wanted:x?}")) }
    }
}

/// Runs the workload once; at each crash point with at most [`CHOICES_MAX`] choices (until `points_max` of them
/// had an append on its way, or the time is up) starts a server on every subset.
///
/// # Errors
/// The first subset that loses something, in words.
pub fn sectors(base: &Options, points_max: u64, go_on: &dyn Fn() -> bool, swept: &mut Swept) -> Result<(), String> {
    let mut world = World::new(base.clone(), false)?;
    let mut ladder = Ladder::new(base.extended_types);
    world
        .run_watched(&mut |world| {
            ladder.climb(world);
            if swept.appending >= points_max || !go_on() {
                return Ok(());
            }
            sweep_point(world, &ladder, swept)
        })
        .map(drop)
}

fn sweep_point(world: &World, ladder: &Ladder, swept: &mut Swept) -> Result<(), String> {
    let disk = world.disk_in_flight();
    let choices = disk.choices();
    let masks: Vec<u64> = if choices <= CHOICES_MAX {
        swept.points[choices] += 1;
        swept.appending += u64::from(choices > 0 && world.is_appending());
        (0..1 << choices).collect()
    } else {
        swept.larger += 1;
        vec![0, u64::MAX, 0x5555_5555_5555_5555, 0xaaaa_aaaa_aaaa_aaaa]
    };
    for mask in masks {
        let (mut after, mut at) = (disk.clone(), 0);
        after.power_fails(&mut || {
            at += 1;
            mask >> ((at - 1) % 64) & 1 == 1
        });
        swept.starts += 1;
        let recovered = world.recover_from(&after).and_then(|found| ladder.judge(found));
        recovered.map_err(|what| format!("step {}, subset {mask:b} of {choices} sectors and names: {what}", world.disk_steps()))?;
    }
    Ok(())
}
