//! The default codec. No other file names `bincode`.

/// The limit keeps a hostile length from allocating.
const CONFIG: bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Varint,
    bincode::config::Limit<16>,
> = bincode::config::standard().with_limit::<16>();

/// Appends `value` in its shortest form.
#[inline]
pub(super) fn put(value: u64, out: &mut Vec<u8>) {
    let mut bytes = [0u8; 9];
    let used = bincode::encode_into_slice(value, &mut bytes, CONFIG).unwrap_or(0);
    out.extend_from_slice(bytes.get(..used).unwrap_or_default());
}

/// The integer that `bytes` begin with, and how many bytes it takes.
#[inline]
pub(super) fn read(bytes: &[u8]) -> Option<(u64, usize)> {
    bincode::decode_from_slice::<u64, _>(bytes, CONFIG).ok()
}
