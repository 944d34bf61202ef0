//! A build script, so that the build dependencies of this crate count.
fn main() {}
