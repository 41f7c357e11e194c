//! The roles: fronts own connections, the keeper owns all state, log shards own the disk. This module composes the deciding
//! machines into them and says what they hand each other; who runs them where is a host's affair (`runtime`, `sim`).
//!
//! ```text
//!  clients ══► front (one per core) ──Burst──► keeper (one) ──DiskEffect──► log shard (K)
//!              frames, words        ◄─Outbox──  sessions, tree, ◄─DiskDone── write + sync
//!                                               watches, prep, log
//! ```
//! Nobody ever waits: a role is handed mail, leaves effects and returns.

pub mod boot;
mod findings;
pub mod config;
pub mod front;
pub mod keeper;
pub mod links;
pub mod mail;
pub mod note;
pub mod peer_mail;
pub mod words;
