//! Limits of the connections to a service.

/// The bounds of connections.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Most connections at a time.
    pub(crate) places: usize,
    /// Most of them for one process.
    pub(crate) places_each: usize,
    /// How long a connection may be silent between two requests.
    pub(crate) idle_ms: u64,
    /// How long a request or an answer may take to get through, from its first byte to its last.
    pub(crate) transfer_ms: u64,
    /// How long an export may take, beside the time for its bytes.
    pub(crate) export_ms: u64,
    /// How many bytes of an export go through in a second, at least.
    pub(crate) export_pace: u64,
}

/// What they take where nothing else is said.
pub(crate) const BOUNDS: Bounds = Bounds {
    places: 8,
    places_each: 4,
    idle_ms: 30_000,
    transfer_ms: 5_000,
    export_ms: 60_000,
    export_pace: 256 << 10,
};
