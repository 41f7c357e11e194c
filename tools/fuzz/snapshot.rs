//! Reading a snapshot and building the tree from it.

use super::meter;
use super::snapshot_grammar::{change, damage, draw, write};
use super::target::{Tally, Target, without_numbers};
use ringkeeper::base::ids::ServerId;
use ringkeeper::base::prng::Prng;
use ringkeeper::base::time::MonoMs;
use ringkeeper::model::image::{AclImage, NodeImage, SessionImage};
use ringkeeper::session::{SessionOptions, Sessions};
use ringkeeper::snapshot::{Head, SnapshotSink, read, verify};
use ringkeeper::tree::{LoadError, Tree, TreeLoader, TreeOptions};

/// See the module.
pub struct Snapshots;

/// What loading may hold for each byte of the file: a session of 28 bytes becomes an entry of some hundred.
const HELD_FOR_EACH_BYTE_MAX: usize = 16;
/// For each node: one that lies far from all others opens a piece of the arena of its own.
const HELD_FOR_EACH_NODE_MAX: usize = 192 << 10;
/// A tree with nodes at higher places isn't written again: a scan goes over every place, and that would take seconds.
const PLACE_MAX: u32 = 1 << 21;
/// For the table of pieces, which reaches to the highest place that a node may have.
const HELD_MIN: usize = 64 << 20;

/// Parts of the sentences that the reader may say.
const READER: [&str; 13] = [
    "the chunk's checksum",
    "no chunk begins here",
    "format version",
    "in the chunk's body",
    "is unknown",
    "the first chunk is no head",
    "where chunk",
    "bytes too many",
    "should follow",
    "is no list",
    "the trailer counts",
    "after the trailer",
    "comes twice",
];

impl Target for Snapshots {
    fn name(&self) -> &'static str {
        "snapshot"
    }

    fn expected(&self) -> Vec<(&'static str, String)> {
        let mut all = vec![("accepted", "whole".to_owned()), ("accepted", "forged".to_owned())];
        let load = ["Acl", "UnknownAcl", "Place", "Name", "Parent", "DuplicatePath", "Circle", "BuiltInMissing", "Digest"];
        all.extend(load.map(|item| ("refused by the tree", item.to_owned())));
        all.extend(READER.map(|item| ("refused by the reader", item.to_owned())));
        all
    }

    fn try_one(&self, prng: &mut Prng, tally: &mut Tally) -> Result<(), String> {
        let options = TreeOptions { hash_seed: prng.next_u64(), extended_types: prng.chance(1, 2), skip_digest: prng.chance(1, 2) };
        let (mut tree, sessions) = draw(prng, options);
        let mut file = write(&mut tree, &sessions);
        let (mut other_tree, other_sessions) = draw(prng, options);
        let other = write(&mut other_tree, &other_sessions);
        let (damaged, forged) = damage(prng, &mut file, &other);
        tally.input("snapshot", &file);
        let bytes_max = HELD_MIN + file.len() * HELD_FOR_EACH_BYTE_MAX + file.len() / 80 * HELD_FOR_EACH_NODE_MAX;
        let loaded = meter::bounded("loading a snapshot", bytes_max, || load(&file, options))?;
        let verified = verify("file", &file);
        match loaded {
            Err(Refusal::Reader(what)) => {
                let class = READER.into_iter().find(|item| what.contains(item));
                tally.met("refused by the reader", class.map_or_else(|| without_numbers(&what), str::to_owned));
                // Nobody keeps all sessions in mind while a file is only verified; one that comes twice was forged.
                let found_late = forged && what.contains("comes twice");
                if !damaged || (verified.is_ok() && !found_late) {
                    return Err(format!("damaged {damaged}, verified {}, but the load is refused: {what}", verified.is_ok()));
                }
            }
            Err(Refusal::Tree(error)) => {
                tally.met("refused by the tree", variant(&error));
                if !damaged || !forged {
                    return Err(format!("a snapshot that wasn't forged is refused by the tree: {error}"));
                }
            }
            Ok((loaded, loaded_sessions, handy)) => {
                tally.accepted += 1;
                tally.met("accepted", if damaged { "forged" } else { "whole" });
                if verified.is_err() || (damaged && !forged) {
                    return Err(format!("accepted, though damaged with wrong checksums ({:?})", verified.err()));
                }
                if !damaged && loaded.digest() != tree.digest() {
                    return Err("a whole snapshot gives another tree".to_owned());
                }
                if handy {
                    use_it(prng, loaded, &loaded_sessions, options)?;
                }
            }
        }
        Ok(())
    }
}

enum Refusal {
    Reader(String),
    Tree(LoadError),
}

/// As a start loads a snapshot.
struct Into {
    loader: TreeLoader,
    sessions: Sessions,
    refused: Option<LoadError>,
    /// Highest place of a node.
    highest: u32,
}

impl Into {
    fn keep(&mut self, result: Result<(), LoadError>) -> Result<(), String> {
        result.map_err(|error| {
            let text = error.to_string();
            self.refused = Some(error);
            text
        })
    }
}

impl SnapshotSink for Into {
    fn head(&mut self, _: &Head) -> Result<(), String> {
        Ok(())
    }

    fn session(&mut self, image: SessionImage) -> Result<(), String> {
        if self.sessions.get(image.session).is_some() {
            return Err(format!("session {} comes twice", image.session));
        }
        self.sessions.apply_create(MonoMs(0), image.session, image.timeout_ms, &image.password);
        Ok(())
    }

    fn acl(&mut self, image: AclImage<'_>) -> Result<(), String> {
        let result = self.loader.acl(image);
        self.keep(result)
    }

    fn node(&mut self, image: NodeImage<'_>) -> Result<(), String> {
        self.highest = self.highest.max(image.slot);
        let result = self.loader.node(image);
        self.keep(result)
    }
}

/// The tree, the sessions, and whether the nodes' places are such that going over all of them takes no minutes.
fn load(file: &[u8], options: TreeOptions) -> Result<(Tree, Sessions, bool), Refusal> {
    let session_options = SessionOptions { tick_ms: 2000, timeout_ms_min: 4000, timeout_ms_max: 40_000, server_id: ServerId::STANDALONE };
    let mut sink = Into { loader: TreeLoader::new(options), sessions: Sessions::new(session_options), refused: None, highest: 0 };
    let summary = match (read("file", file, &mut sink), sink.refused.take()) {
        (_, Some(error)) => return Err(Refusal::Tree(error)),
        (Err(damage), None) => return Err(Refusal::Reader(damage.what)),
        (Ok(summary), None) => summary,
    };
    let tree = sink.loader.finish(summary.head.zxid, summary.digest).map_err(Refusal::Tree)?;
    Ok((tree, sink.sessions, sink.highest < PLACE_MAX))
}

fn variant(error: &LoadError) -> &'static str {
    match error {
        LoadError::Acl(_) => "Acl",
        LoadError::UnknownAcl { .. } => "UnknownAcl",
        LoadError::Place(_) => "Place",
        LoadError::Name(_) => "Name",
        LoadError::Parent { .. } => "Parent",
        LoadError::DuplicatePath(_) => "DuplicatePath",
        LoadError::Circle(_) => "Circle",
        LoadError::BuiltInMissing(_) => "BuiltInMissing",
        LoadError::BuiltInKind(_) => "BuiltInKind",
        LoadError::Digest { .. } => "Digest",
    }
}

/// A tree that was accepted is whole: it is written and read back as the same, and further transactions find nothing broken.
fn use_it(prng: &mut Prng, mut tree: Tree, sessions: &Sessions, options: TreeOptions) -> Result<(), String> {
    let images: Vec<SessionImage> = sessions.images().collect();
    for changes in [0, 12] {
        change(prng, &mut tree, changes);
        let file = write(&mut tree, &images);
        let (again, ..) = load(&file, options).map_err(|refusal| match refusal {
            Refusal::Reader(what) => format!("written again, it is refused after {changes} changes: {what}"),
            Refusal::Tree(error) => format!("written again, it is refused after {changes} changes: {error}"),
        })?;
        if again.digest() != tree.digest() || again.node_count() != tree.node_count() || again.last_zxid() != tree.last_zxid() {
            return Err(format!("written again, it reads differently after {changes} changes"));
        }
    }
    Ok(())
}
