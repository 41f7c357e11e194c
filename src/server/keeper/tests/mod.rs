//! The keeper from the outside: requests in, what clients receive out.

mod answers;
mod bench;
mod bounds;
mod watches;
mod cluster;
