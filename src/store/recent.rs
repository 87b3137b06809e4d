//! The objects used last, which stay in memory though no handle is open on them.

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;

use hashlink::LruCache;

/// How many objects of one collection stay, for each account: at most some 50 MB of channels and 10
/// MB of inbound sessions, 30 MB if messages of all of them were read, in an account that has so many.
pub(crate) const KEPT: usize = 10_000;

type Object = Arc<dyn Any + Send + Sync>;

/// Strong references, by collection and in the order of their last use. An object's address is its
/// key: it takes less memory than another copy of the record's.
#[derive(Default)]
pub(super) struct Recent {
    collections: HashMap<&'static str, LruCache<usize, Object>>,
}

impl Recent {
    /// Notes a use. Gives what has to make room, to be dropped by the caller.
    #[must_use]
    pub(super) fn insert(&mut self, collection: &'static str, object: Object) -> Option<Object> {
        let objects = self.collections.entry(collection).or_insert_with(LruCache::new_unbounded);
        let known = objects.insert(address(Arc::as_ptr(&object)), object);
        if objects.len() > KEPT { objects.remove_lru().map(|(_, object)| object) } else { known }
    }

    #[must_use]
    pub(super) fn remove(&mut self, collection: &str, address: usize) -> Option<Object> {
        self.collections.get_mut(collection)?.remove(&address)
    }
}

/// Where an object is; as long as it is here, nothing else is there.
pub(super) fn address<T: ?Sized>(object: *const T) -> usize {
    object.cast::<()>().addr()
}
