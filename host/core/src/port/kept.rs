//! What tools and agents keep between two calls of one try. It must not know what that is.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// What tools and agents put aside for the next call of the same try of a step. It belongs to the try, and goes with it: nothing
/// in it reaches another step, another try or another run.
#[derive(Default)]
pub struct Kept(Mutex<BTreeMap<String, Box<dyn Any + Send>>>);

impl Kept {
    /// Takes out what is kept under a key. Whoever comes meanwhile finds nothing.
    pub fn take<T: Any>(&self, key: &str) -> Option<T> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.remove(key)?.downcast::<T>();
        found.ok().map(|value| *value)
    }

    /// What all that ask for it share under a key; the first makes it.
    pub fn share<T: Any + Default + Send + Sync>(&self, key: &str) -> Arc<T> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = kept.entry(key.to_owned()).or_insert_with(|| Box::new(Arc::<T>::default()));
        if let Some(shared) = slot.downcast_ref::<Arc<T>>() {
            return Arc::clone(shared);
        }
        let made = Arc::<T>::default();
        *slot = Box::new(Arc::clone(&made));
        made
    }

    /// Keeps a value; what was there under the key is dropped.
    pub fn put<T: Any + Send>(&self, key: String, value: T) {
        let replaced = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, Box::new(value));
        // Not under the lock: dropping may take a while.
        drop(replaced);
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kept")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_out_is_gone_until_it_is_put_back() {
        let kept = Kept::default();
        kept.put("a".to_owned(), 1_u8);
        assert_eq!(kept.take::<u8>("b"), None);
        assert_eq!(kept.take::<u8>("a"), Some(1));
        assert_eq!(kept.take::<u8>("a"), None);
        kept.put("a".to_owned(), 2_u8);
        kept.put("a".to_owned(), 3_u8);
        assert_eq!(kept.take::<u8>("a"), Some(3));
    }
    #[test]
    fn what_is_shared_is_one_for_all() {
        let kept = Kept::default();
        let one = kept.share::<Mutex<u8>>("a");
        *one.lock().unwrap() = 7;
        assert_eq!(*kept.share::<Mutex<u8>>("a").lock().unwrap(), 7);
        assert_eq!(*kept.share::<Mutex<u8>>("b").lock().unwrap(), 0);
    }
}
