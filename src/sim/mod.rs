//! The simulated world: servers, clients, disks and networks driven from one seed, and the oracles that judge what clients
//! saw. The [`model`] is the oracle for what an operation must answer.

pub mod model;
#[cfg(test)]
mod test_agreement;
