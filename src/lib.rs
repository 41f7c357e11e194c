//! Ringkeeper: a coordination service that every ZooKeeper client can use unchanged.
//!
//! The modules stand in layer order; each imports only from the ones above it (`tests/tidy.rs` checks that):
//! words everybody uses ([`base`]), values ([`model`]), the deciding machines, the bytes on the wire ([`wire`]),
//! the roles that compose them ([`server`]), and the two hosts that run the roles: `runtime` (io_uring) and `sim` (a seed).
//! Everything from `base` to `server` is synchronous and deterministic: no clock, no I/O, no randomness of its own.

#![deny(unsafe_op_in_unsafe_fn, unreachable_pub, missing_docs)]
#![deny(clippy::unwrap_used, clippy::dbg_macro, clippy::todo, clippy::undocumented_unsafe_blocks)]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may stop at the first surprise"))]

pub mod base;
pub mod doctor;
pub mod model;
pub mod tree;
pub mod session;
pub mod auth;
pub mod prep;
pub mod zab;
pub mod log;
pub mod snapshot;
pub mod wire;
pub mod server;
pub mod runtime;
pub mod sim;
pub mod cli;
