//! The roles of a server and what they need to know at their start: configuration, four-letter words.

pub mod config;
pub mod words;
