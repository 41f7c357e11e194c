//! Who belongs to an ensemble, as one versioned value that is handed to whoever judges by it.
//!
//! Guarantees: [`Membership::is_quorum`] is the only place that says which sets of servers decide; two quorums always meet in
//! a voter. Leaves to others: where the value comes from (`server::config`), who is alive (`zab`).

use crate::base::ids::ServerId;
use std::collections::{BTreeMap, BTreeSet};

/// One member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// `N` of `server.N`.
    pub id: ServerId,
    /// Whether it votes (ZooKeeper: participant); else it is an observer.
    pub votes: bool,
    /// Weight of its vote (`weight.N`, 1 unless groups are configured). A weight of 0 counts in no quorum.
    pub weight: u64,
    /// Group of a hierarchical quorum (`group.G`), 0 without groups.
    pub group: u32,
    /// `host` as configured; resolved at each attempt to connect.
    pub host: String,
    /// Port of the ordered and the bulk lane (`server.N`'s first port).
    pub quorum_port: u16,
    /// Port of the pulse lane (its second port).
    pub election_port: u16,
    /// Where clients find it, as `host:port`, if it is known.
    pub client: Option<String>,
}

/// All members. Never changed in place: another membership is another value with a higher version.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Membership {
    version: u64,
    members: BTreeMap<ServerId, Member>,
}

impl Membership {
    /// The members of `version`. The last of two with one id counts; configuration refuses that before.
    #[must_use]
    pub fn new(version: u64, members: impl IntoIterator<Item = Member>) -> Membership {
        Membership { version, members: members.into_iter().map(|m| (m.id, m)).collect() }
    }

    /// Grows with each change.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// All members, by ascending id.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, id: ServerId) -> Option<&Member> {
        self.members.get(&id)
    }

    /// Whether `id` is a member that votes.
    #[must_use]
    pub fn votes(&self, id: ServerId) -> bool {
        self.members.get(&id).is_some_and(|m| m.votes)
    }

    /// Ids of those that vote, ascending.
    pub fn voters(&self) -> impl Iterator<Item = ServerId> {
        self.members.values().filter(|m| m.votes).map(|m| m.id)
    }

    /// Whether `set` decides: more than half of the weight in more than half of the groups that have any weight (ZooKeeper:
    /// `QuorumHierarchical`; without groups that is a plain majority of the voters). Who doesn't vote counts for nothing.
    #[must_use]
    pub fn is_quorum(&self, set: &BTreeSet<ServerId>) -> bool {
        let mut groups: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
        for member in self.members.values().filter(|m| m.votes && m.weight > 0) {
            let (all, there) = groups.entry(member.group).or_default();
            *all += member.weight;
            if set.contains(&member.id) {
                *there += member.weight;
            }
        }
        let won = groups.values().filter(|(all, there)| there * 2 > *all).count();
        won * 2 > groups.len()
    }

    /// Whether all members together can lose one and still decide; else an ensemble tolerates no failure at all.
    #[must_use]
    pub fn tolerates_one_failure(&self) -> bool {
        let all: BTreeSet<ServerId> = self.voters().collect();
        !all.is_empty()
            && all.iter().all(|gone| {
                let rest = all.iter().filter(|id| *id != gone).copied().collect();
                self.is_quorum(&rest)
            })
    }

    /// A number that differs when who votes, with which weight, differs: exchanged at handshakes.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let mut bytes = Vec::new();
        for m in self.members.values() {
            bytes.extend([m.id.0, u8::from(m.votes)]);
            bytes.extend(m.weight.to_le_bytes());
            bytes.extend(m.group.to_le_bytes());
        }
        crate::base::checksum::checksum(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: u8, group: u32, weight: u64) -> Member {
        let host = "localhost".to_owned();
        Member { id: ServerId(id), votes: true, weight, group, host, quorum_port: 1, election_port: 2, client: None }
    }

    fn set(ids: &[u8]) -> BTreeSet<ServerId> {
        ids.iter().map(|id| ServerId(*id)).collect()
    }

    #[test]
    fn a_majority_of_voters_decides() {
        let mut members: Vec<Member> = (1..=4).map(|id| member(id, 0, 1)).collect();
        members[3].votes = false;
        let three = Membership::new(1, members);
        assert!(three.is_quorum(&set(&[1, 3])) && !three.is_quorum(&set(&[1, 4])) && !three.is_quorum(&set(&[])));
        assert!(three.tolerates_one_failure());
        assert!(!Membership::new(1, [member(1, 0, 1), member(2, 0, 1)]).tolerates_one_failure());
        assert!(!Membership::default().is_quorum(&set(&[1])), "nobody decides for nobody");
    }

    #[test]
    fn groups_need_a_majority_of_groups_each_with_a_majority_of_its_weight() {
        let all = (1..=9).map(|id| member(id, u32::from((id - 1) / 3), 1));
        let m = Membership::new(1, all);
        assert!(m.is_quorum(&set(&[1, 2, 4, 5])), "two of three groups");
        assert!(!m.is_quorum(&set(&[1, 2, 3, 4, 7])), "one group and a third of two others");
        let weighted = Membership::new(1, [member(1, 0, 3), member(2, 0, 1), member(3, 0, 1), member(4, 0, 0)]);
        assert!(weighted.is_quorum(&set(&[1])) && !weighted.is_quorum(&set(&[2, 3, 4])));
    }

    #[test]
    fn any_two_quorums_meet() {
        let m = Membership::new(1, (1..=6).map(|id| member(id, u32::from(id % 2), u64::from(id))));
        let subsets: Vec<BTreeSet<ServerId>> =
            (0u8..64).map(|bits| (1..=6).filter(|id| bits >> (id - 1) & 1 == 1).map(ServerId).collect()).collect();
        for a in subsets.iter().filter(|s| m.is_quorum(s)) {
            for b in subsets.iter().filter(|s| m.is_quorum(s)) {
                assert!(a.intersection(b).next().is_some(), "{a:?} {b:?}");
            }
        }
    }
}
