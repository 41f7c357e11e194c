//! The keeper from the outside: requests in, what clients receive out.

mod answers;
mod bench;
mod watches;
mod cluster;
