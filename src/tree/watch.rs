//! stub
use crate::model::watch_kind::{EventType, WatchMode, WatcherType};
#[allow(missing_docs)]
pub struct Watches;
#[allow(missing_docs, unused)]
impl Watches {
    pub fn new(seed: u64) -> Watches {
        Watches
    }
    pub fn add(&mut self, conn: u32, path: &[u8], mode: WatchMode) {}
    pub fn contains(&self, conn: u32, path: &[u8], kind: WatcherType) -> bool {
        false
    }
    pub fn remove(&mut self, conn: u32, path: &[u8], kind: WatcherType) -> bool {
        false
    }
    pub fn drop_conn(&mut self, conn: u32) {}
    pub fn is_empty(&self) -> bool {
        true
    }
    pub fn fire(&mut self, path: &[u8], event: EventType, deliver: &mut dyn FnMut(u32)) {}
}
