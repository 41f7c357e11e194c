//! Jute, ZooKeeper's record encoding: big-endian numbers, lengths of 32 bits with -1 for null, fields in order, no tags.

pub mod reader;
pub mod writer;
