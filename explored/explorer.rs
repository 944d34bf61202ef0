//! A build script: switches the package over to its explorer, as `--cfg shuttle` or `--cfg loom` would.

fn main() {
    println!("cargo::rerun-if-changed=../explorer.rs");
    println!("cargo::rustc-check-cfg=cfg(shuttle, loom, planted, fuzzing)");
    let explorer =
        if std::env::var("CARGO_PKG_NAME").as_deref() == Ok("explored-baton") { "loom" } else { "shuttle" };
    println!("cargo::rustc-cfg={explorer}");
}
