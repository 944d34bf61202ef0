//! HMAC-SHA-256 (RFC 2104), for the feature `sha2`.

use sha2::{Digest, Sha256};

const BLOCK_BYTES: usize = 64;

#[derive(Clone)]
pub(crate) struct HmacSha256 {
    inner: Sha256,
    /// Has hashed the key's outer block already.
    outer: Sha256,
}

impl HmacSha256 {
    /// `key` is at most one block long: no caller has a longer one, and the bytes beyond would be ignored.
    pub(crate) fn new(key: &[u8]) -> HmacSha256 {
        debug_assert!(key.len() <= BLOCK_BYTES);
        let mut block = [0; BLOCK_BYTES];
        block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
        HmacSha256 {
            inner: Sha256::new_with_prefix(block.map(|byte| byte ^ 0x36)),
            outer: Sha256::new_with_prefix(block.map(|byte| byte ^ 0x5c)),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.inner.update(bytes);
    }

    pub(crate) fn finish(mut self) -> [u8; 32] {
        self.outer.update(self.inner.finalize());
        self.outer.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Test cases 1, 2, 3 and 4 of RFC 4231; those with longer keys or cut results are not used here.
    #[test]
    fn the_vectors_of_rfc_4231() {
        let check = |key: &[u8], data: &[u8], expected: &str| {
            let mut hmac = HmacSha256::new(key);
            hmac.update(data);
            assert_eq!(crate::hex::hex(&hmac.finish()), expected);
        };
        check(&[0x0b; 20], b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
        check(
            b"Jefe",
            b"what do ya want for nothing?",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        );
        check(&[0xaa; 20], &[0xdd; 50], "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
        let counting: Vec<u8> = (1..=25).collect();
        check(&counting, &[0xcd; 50], "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b");
    }
}
