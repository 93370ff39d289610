//! The clouds of a batch that are kept for pairs to come.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::Result;

/// Shared values by key, the least recently used of which are dropped when all of them together grow too large.
pub(super) struct Kept<K, V> {
    most_bytes: usize,
    shelf: Mutex<Shelf<K, V>>,
}

struct Shelf<K, V> {
    entries: HashMap<K, Entry<V>>,
    bytes: usize,
    /// Counts uses.
    clock: u64,
}

struct Entry<V> {
    place: Arc<Place<V>>,
    bytes: usize,
    used: u64,
}

/// A value, once it is there. The lock is held while it is made, so that it is made once.
type Place<V> = Mutex<Option<Arc<V>>>;

impl<K: Eq + Hash + Clone, V> Kept<K, V> {
    pub fn new(most_bytes: usize) -> Self {
        let shelf = Mutex::new(Shelf { entries: HashMap::new(), bytes: 0, clock: 0 });
        Self { most_bytes, shelf }
    }

    /// The value of `key`, made where it is not kept; others who ask for it wait meanwhile. An error is not kept.
    pub fn get_or(&self, key: &K, make: impl FnOnce() -> Result<Arc<V>>) -> Result<Arc<V>> {
        let place = self.shelf().place(key);
        let mut value = place.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = &*value {
            return Ok(value.clone());
        }
        let made = make()?;
        *value = Some(made.clone());
        Ok(made)
    }

    /// Notes the size of a value, and drops those that were not used for longest until the others fit. Whoever still
    /// works with one of them keeps it until then.
    pub fn weigh(&self, key: &K, bytes: usize) {
        let mut shelf = self.shelf();
        shelf.weigh(key, bytes);
        while shelf.bytes > self.most_bytes && shelf.drop_oldest() {}
    }

    /// Drops all values. Whoever still works with one of them keeps it until then.
    pub fn clear(&self) {
        // Dropped when others may reach the shelf again: a value may be large.
        let _dropped = self.shelf().clear();
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf<K, V>> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash + Clone, V> Shelf<K, V> {
    fn place(&mut self, key: &K) -> Arc<Place<V>> {
        self.clock += 1;
        let new = || Entry { place: Arc::default(), bytes: 0, used: 0 };
        let entry = self.entries.entry(key.clone()).or_insert_with(new);
        entry.used = self.clock;
        entry.place.clone()
    }

    fn weigh(&mut self, key: &K, bytes: usize) {
        if let Some(entry) = self.entries.get_mut(key) {
            self.bytes = self.bytes - entry.bytes + bytes;
            entry.bytes = bytes;
        }
    }

    fn clear(&mut self) -> HashMap<K, Entry<V>> {
        self.bytes = 0;
        std::mem::take(&mut self.entries)
    }

    /// Whether there was one.
    fn drop_oldest(&mut self) -> bool {
        let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.used).map(|(key, _)| key.clone());
        let dropped = oldest.and_then(|key| self.entries.remove(&key));
        self.bytes -= dropped.as_ref().map_or(0, |entry| entry.bytes);
        dropped.is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::error::Error;

    /// What is made for the keys asked for one after another, each value weighing 10.
    fn made(most_bytes: usize, keys: &[u32]) -> Vec<u32> {
        let (kept, mut made) = (Kept::new(most_bytes), Vec::new());
        for key in keys {
            kept.get_or(key, || {
                made.push(*key);
                Ok(Arc::new(*key))
            })
            .unwrap();
            kept.weigh(key, 10);
        }
        made
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        assert_eq!(made(100, &[1, 2, 3, 1, 2, 3]), [1, 2, 3]);
        assert_eq!(made(20, &[1, 2, 1, 3, 1, 2]), [1, 2, 3, 2]);
        assert_eq!(made(0, &[1, 1, 2]), [1, 1, 2]);
    }

    #[test]
    fn a_value_that_grows_is_weighed_anew() {
        let kept = Kept::new(25);
        for (key, bytes) in [(1, 10), (2, 10), (2, 20)] {
            kept.get_or(&key, || Ok(Arc::new(key))).unwrap();
            kept.weigh(&key, bytes);
        }
        assert_eq!(*kept.get_or(&2, || Ok(Arc::new(7))).unwrap(), 2);
        assert_eq!(*kept.get_or(&1, || Ok(Arc::new(7))).unwrap(), 7);
    }

    #[test]
    fn an_error_is_not_kept() {
        let kept = Kept::new(100);
        let failed = kept.get_or(&1, || Err(Error::Config("no".into())));
        assert!(failed.is_err());
        assert_eq!(*kept.get_or(&1, || Ok(Arc::new(3))).unwrap(), 3);
    }

    #[test]
    fn a_value_is_made_once_however_many_ask_for_it() {
        let (kept, made) = (Kept::new(100), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope
                    .spawn(|| kept.get_or(&1, || Ok(Arc::new(made.fetch_add(1, Ordering::SeqCst)))).unwrap());
            }
        });
        assert_eq!(made.load(Ordering::SeqCst), 1);
    }
}
