//! The objects used last, which stay in memory though no handle is open on them.

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;

use hashlink::LruCache;

use super::record_key::RecordKey;

/// How many objects of one collection stay, for each account: at most some 50 MB of channels and 10
/// MB of inbound sessions, in an account that has so many.
pub(crate) const KEPT: usize = 10_000;

type Object = Arc<dyn Any + Send + Sync>;

/// Strong references, by collection and in the order of their last use.
#[derive(Default)]
pub(super) struct Recent {
    collections: HashMap<&'static str, LruCache<RecordKey, Object>>,
}

impl Recent {
    /// Notes a use. Gives what has to make room, to be dropped by the caller.
    #[must_use]
    pub(super) fn insert(&mut self, key: &RecordKey, object: Object) -> Option<Object> {
        let objects =
            self.collections.entry(key.collection).or_insert_with(LruCache::new_unbounded);
        if let Some(known) = objects.get_mut(key) {
            return Some(std::mem::replace(known, object));
        }
        objects.insert(key.clone(), object);
        if objects.len() > KEPT { objects.remove_lru().map(|(_, object)| object) } else { None }
    }

    #[must_use]
    pub(super) fn remove(&mut self, key: &RecordKey) -> Option<Object> {
        self.collections.get_mut(key.collection)?.remove(key)
    }
}
