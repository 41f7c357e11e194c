//! Values: what clients ask for, what is replicated, what a node looks like. No bytes of any format but one (the ACL list,
//! which is kept in the form in which clients send it), and no behaviour beyond the values themselves.

pub mod acl;
pub mod create_mode;
pub mod error_code;
pub mod file;
pub mod image;
pub mod membership;
pub mod membership_text;
pub mod op_code;
pub mod ops;
pub mod path;
pub mod peer;
pub mod position;
pub mod request;
pub mod stat;
pub mod txn;
pub mod watch_kind;
