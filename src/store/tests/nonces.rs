//! No two values are ever encrypted under one nonce.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use super::{KEY, Shared};
use crate::base::environment::SystemRandom;
use crate::error::Result;
use crate::store::record_store::{Change, Durability, Entry, RecordStore};
use crate::store::seal::NONCE_LENGTH;
use crate::store::user_key::UserKey;
use crate::store::{Batch, Vault};

/// Keeps the nonce of every value that was ever committed, with its collection.
struct Noted(Shared, Arc<Mutex<Vec<Nonce>>>);

/// With the collection of its value.
type Nonce = (&'static str, Vec<u8>);

impl RecordStore for Noted {
    fn get(&self, collection: &str, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.0.get(collection, key)
    }
    fn scan(&self, collection: &str, after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>> {
        self.0.scan(collection, after, limit)
    }
    fn commit(&self, changes: Vec<Change>, durability: Durability) -> Result<()> {
        let values =
            changes.iter().filter_map(|change| Some((change.collection, change.value.as_ref()?)));
        let nonces = values.map(|(collection, value)| (collection, value[..NONCE_LENGTH].to_vec()));
        self.1.lock().unwrap().extend(nonces);
        self.0.commit(changes, durability)
    }
    fn close(&self) -> Result<()> {
        self.0.close()
    }
}

#[test]
fn no_record_node_or_manifest_has_a_nonce_that_another_value_ever_had() {
    let nonces = Arc::new(Mutex::new(Vec::new()));
    let store = Box::new(Noted(Shared::new(), Arc::clone(&nonces)));
    let vault = Vault::open(store, UserKey::Key(&KEY), Arc::new(SystemRandom)).unwrap();
    // The header has other values.
    nonces.lock().unwrap().clear();
    for round in 0..50_usize {
        let mut batch = Batch::new();
        for number in 0..20 {
            let name = (round * 20 + number).to_string();
            batch.put(&vault.key("olm_channel", &[&name]), &"value").unwrap();
        }
        // One that is written again in every round.
        batch.put(&vault.key("account", &["@a:hs", "A"]), &round).unwrap();
        vault.commit(batch).unwrap();
    }
    let nonces = nonces.lock().unwrap();
    let collections: HashSet<_> = nonces.iter().map(|(collection, _)| *collection).collect();
    assert!(collections.len() >= 4, "records of two kinds, nodes and manifests: {collections:?}");
    let different: HashSet<_> = nonces.iter().map(|(_, nonce)| nonce).collect();
    assert_eq!(different.len(), nonces.len());
}
