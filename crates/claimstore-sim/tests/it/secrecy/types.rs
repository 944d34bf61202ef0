//! The public types of the libraries, found in their sources.

use std::path::Path;

const CRATES: [&str; 5] =
    ["claimstore", "claimstore-core", "claimstore-hash", "claimstore-recovery", "claimstore-admin"];

/// A public type as it stands in a source.
pub(super) struct Type {
    pub(super) of: String,
    pub(super) name: String,
    pub(super) derives_debug: bool,
    pub(super) body: String,
}

/// The libraries of the workspace that are published and whose types nothing looks at: neither this test nor one of their own.
pub(super) fn unwatched_libraries() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let crates = std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
    let is_published = |path: &Path| {
        let manifest = std::fs::read_to_string(path.join("Cargo.toml")).unwrap_or_default();
        !manifest.contains("publish = false") && path.join("src/lib.rs").exists()
    };
    let watches_itself = |path: &Path| path.join("tests/it/secrecy.rs").exists();
    let name = |path: std::path::PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    let published = crates.filter(|path| is_published(path) && !watches_itself(path)).map(name);
    published.filter(|name| !CRATES.contains(&name.as_str())).collect()
}

pub(super) fn public_types() -> Vec<Type> {
    let mut types = Vec::new();
    for of in CRATES {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(of).join("src");
        read_dir(&root, of, &mut types);
    }
    types
}

fn read_dir(dir: &Path, of: &str, types: &mut Vec<Type>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_dir(&path, of, types);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            types.extend(types_of(&std::fs::read_to_string(&path).unwrap(), of));
        }
    }
}

/// Types that are visible outside: `unreachable_pub` keeps `pub` for those that are.
pub(super) fn types_of(source: &str, of: &str) -> Vec<Type> {
    let lines: Vec<&str> = source.lines().collect();
    let declared = lines.iter().enumerate().filter_map(|(at, line)| {
        let rest = line.trim_start();
        let rest =
            ["pub struct ", "pub enum ", "pub union "].iter().find_map(|word| rest.strip_prefix(word))?;
        let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        // Back to the end of what stands before it; an attribute may take several lines.
        let belongs = |line: &&&str| !line.trim().is_empty() && !line.ends_with(['}', ';']);
        let is_code = |line: &&&str| !line.trim_start().starts_with("//");
        let before: String = lines[..at].iter().rev().take_while(belongs).filter(is_code).copied().collect();
        let derives_debug = before.contains("derive(") && before.contains("Debug");
        Some(Type { of: of.to_owned(), name, derives_debug, body: body_of(&lines[at..]) })
    });
    declared.collect()
}

fn body_of(lines: &[&str]) -> String {
    let mut body = String::new();
    let mut depth = 0;
    for line in lines {
        let code = line.split("//").next().unwrap_or_default();
        body.push_str(code);
        body.push('\n');
        depth += code.matches(['{', '(']).count() as i64 - code.matches(['}', ')']).count() as i64;
        if depth == 0 {
            break;
        }
    }
    body
}

pub(super) fn holds_bytes(body: &str) -> bool {
    let words = body.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '['));
    words.into_iter().any(|word| {
        matches!(
            word,
            "String" | "str" | "[u8" | "PathBuf" | "Path" | "Value" | "Cow" | "KeyBytes" | "Vec<u8>"
        ) || word.ends_with("[u8")
    }) || body.contains("<u8>")
}
