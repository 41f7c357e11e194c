//! Client sessions: the replicated facts (id, timeout, password) and what only this server knows of them (deadline, connection).
//!
//! Guarantees that a session never expires before its timeout has passed since the last touch, and that everything here is a
//! function of the calls: no clock, no randomness. Leaves to others: ephemeral nodes (`tree`), drawing passwords (the host),
//! writing the transactions that create and close sessions (`prep`, `log`), who a connection is known as (`auth`).

mod expiry;
mod ids;
mod table;

pub use ids::SessionIds;
pub use table::{Session, SessionOptions, Sessions};

#[cfg(test)]
mod tests;
