//! A buffer for serialising secrets that leaves no copies behind as it grows.

use std::io;

use zeroize::Zeroizing;

/// A growing buffer. `Vec` would free its old memory unwiped when it grows;
/// this moves to larger memory itself and wipes what it leaves.
pub(super) struct SecretBuffer {
    bytes: Zeroizing<Vec<u8>>,
}

impl SecretBuffer {
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self { bytes: Zeroizing::new(Vec::with_capacity(capacity)) }
    }

    // Keys are serialised byte by byte: the short way is inlined, growing is not.
    #[inline]
    pub(super) fn extend(&mut self, more: &[u8]) {
        if more.len() > self.bytes.capacity().saturating_sub(self.bytes.len()) {
            self.grow(more.len());
        }
        self.bytes.extend_from_slice(more);
    }

    #[cold]
    fn grow(&mut self, by: usize) {
        let needed = self.bytes.len().saturating_add(by);
        let capacity = needed.max(self.bytes.capacity().saturating_mul(2));
        let mut larger = Zeroizing::new(Vec::with_capacity(capacity));
        larger.extend_from_slice(&self.bytes);
        self.bytes = larger;
    }

    pub(super) fn into_inner(self) -> Zeroizing<Vec<u8>> {
        self.bytes
    }
}

impl io::Write for SecretBuffer {
    #[inline]
    fn write_all(&mut self, more: &[u8]) -> io::Result<()> {
        self.extend(more);
        Ok(())
    }

    fn write(&mut self, more: &[u8]) -> io::Result<usize> {
        self.extend(more);
        Ok(more.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
