//! The configuration text of an ensemble, to the byte as ZooKeeper writes it: the data of `/zookeeper/config`, the end of the
//! four-letter word `conf`. Curator and others read it. Leaves to others: when it changes and who stores it.

use super::membership::{Member, Membership};
use std::collections::BTreeMap;
use std::fmt::Write;

/// One `server.N=` line for each member, `group.G=` and `weight.N=` lines of a hierarchical quorum, then `version=` in hexadecimal
/// digits without a newline behind it (ZooKeeper: `QuorumMaj.toString`, `QuorumHierarchical.toString`).
///
/// A member whose line gives no client port has no part after `;`: what this server's own `clientPort` says isn't told to others.
#[must_use]
pub fn membership_text(membership: &Membership) -> String {
    let mut out = String::new();
    // Writing to a String can't fail.
    for member in membership.members() {
        let _ = writeln!(out, "server.{}={}", member.id.0, server_text(member));
    }
    if membership.members().any(|m| m.group != 0 || m.weight != 1) {
        hierarchy(&mut out, membership);
    }
    let _ = write!(out, "version={:x}", membership.version());
    out
}

/// `host:quorumPort:electionPort:role[;clientHost:clientPort]`.
fn server_text(member: &Member) -> String {
    // As in the address of a URL, IPv6 stands in brackets.
    let host = if member.host.contains(':') { format!("[{}]", member.host) } else { member.host.clone() };
    let role = if member.votes { "participant" } else { "observer" };
    let client = member.client.as_ref().map_or_else(String::new, |client| format!(";{client}"));
    format!("{host}:{}:{}:{role}{client}", member.quorum_port, member.election_port)
}

/// ZooKeeper lists the voters here, who alone are in a group.
fn hierarchy(out: &mut String, membership: &Membership) {
    let mut groups: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for member in membership.members().filter(|m| m.votes) {
        groups.entry(member.group).or_default().push(member.id.0.to_string());
    }
    for (group, members) in groups {
        let _ = writeln!(out, "group.{group}={}", members.join(":"));
    }
    for member in membership.members().filter(|m| m.votes) {
        let _ = writeln!(out, "weight.{}={}", member.id.0, member.weight);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::ServerId;

    fn member(id: u8, votes: bool, client: Option<&str>) -> Member {
        let (host, client) = ("127.0.0.1".to_owned(), client.map(str::to_owned));
        Member { id: ServerId(id), votes, weight: 1, group: 0, host, quorum_port: 2888, election_port: 3888, client }
    }

    #[test]
    fn the_text_of_three_voters_and_an_observer_is_zookeepers() {
        // As a server of 3.9.5 answered `conf`.
        let m = Membership::new(0, (1..=4).map(|id| member(id, id < 4, None)));
        assert_eq!(
            membership_text(&m),
            "server.1=127.0.0.1:2888:3888:participant\nserver.2=127.0.0.1:2888:3888:participant\n\
             server.3=127.0.0.1:2888:3888:participant\nserver.4=127.0.0.1:2888:3888:observer\nversion=0"
        );
    }

    #[test]
    fn client_ports_and_the_version_are_written_as_zookeeper_does() {
        let mut six = member(6, true, Some("[2001:db8::1]:2181"));
        six.host = "2001:db8::1".to_owned();
        let m = Membership::new(1 << 32, [six, member(1, true, Some("0.0.0.0:2181"))]);
        assert_eq!(
            membership_text(&m),
            "server.1=127.0.0.1:2888:3888:participant;0.0.0.0:2181\n\
             server.6=[2001:db8::1]:2888:3888:participant;[2001:db8::1]:2181\nversion=100000000"
        );
    }

    #[test]
    fn groups_and_weights_stand_before_the_version() {
        let mut all: Vec<Member> = (1..=3).map(|id| member(id, id < 3, None)).collect();
        (all[0].group, all[1].group, all[1].weight) = (1, 2, 10);
        let text = membership_text(&Membership::new(10, all));
        assert!(text.ends_with("3888:observer\ngroup.1=1\ngroup.2=2\nweight.1=1\nweight.2=10\nversion=a"), "{text}");
    }
}
