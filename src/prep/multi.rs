//! Judging a multi: each operation sees the ones before it, and the first that fails takes all of them back.

use super::create::Shape;
use super::{Asker, Bench, Refusal};
use crate::model::create_mode::CreateMode;
use crate::model::error_code::ErrorCode;
use crate::model::request::{CreateOp, Request};

impl Bench<'_> {
    pub(super) fn multi(&mut self, asker: &Asker<'_>, list: &[Request<'_>]) -> Result<(), Refusal> {
        if !list.iter().all(is_decodable) {
            return Err(ErrorCode::MarshallingError.into());
        }
        self.prep.pending.begin_multi();
        self.prep.quota.begin_multi();
        for (idx, request) in list.iter().enumerate() {
            if let Err(code) = self.multi_entry(asker, request) {
                self.prep.pending.roll_back_multi();
                self.prep.quota.roll_back_multi();
                return Err(Refusal::Multi { failed_idx: idx, code, count: list.len() });
            }
        }
        self.prep.pending.keep_multi();
        Ok(())
    }

    fn multi_entry(&mut self, asker: &Asker<'_>, request: &Request<'_>) -> Result<(), ErrorCode> {
        match request {
            Request::Create(create) => {
                let shape = Shape::of_multi_entry(create, self.prep.options.extended_types)?;
                self.create(asker, create, shape)
            }
            other => self.single(asker, other),
        }
    }
}

/// Whether ZooKeeper's decoder accepts the operation inside a multi. A create without a ttl field can't have a TTL flag.
fn is_decodable(request: &Request<'_>) -> bool {
    match request {
        Request::Create(create) if create.op == CreateOp::Ttl => true,
        Request::Create(create) => CreateMode::from_flags(create.flags).is_some_and(|mode| !mode.is_ttl()),
        Request::Delete { .. } | Request::SetData { .. } | Request::Check { .. } => true,
        _ => false,
    }
}
