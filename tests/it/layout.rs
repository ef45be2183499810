//! The rules of the house that a program can hold: what may import what, and how a file begins.

use std::fs;
use std::path::{Path, PathBuf};

/// Every part under `src/`, from the top down. A part imports only from lines below its own; `building blocks` stand one a
/// line, in the order in which they may lean on each other.
const LAYERS: &[&[&str]] = &[
    &["main", "cli"],
    &["engine"],
    &["config"],
    // Front doors: they never import each other.
    &["mqtt", "http", "replay"],
    &["pipeline"],
    // Building blocks.
    &["auth"],
    &["tls"],
    &["rejected"],
    &["backup"],
    &["follow"],
    &["wire"],
    &["sink"],
    &["store"],
    &["journal"],
    &["geo"],
    &["live"],
    &["telemetry"],
    // Vocabulary: one layer that may import within itself.
    VOCABULARY,
];

const VOCABULARY: &[&str] = &["fix", "codec", "units", "ids", "clock", "counts", "limits", "packed"];

/// `lib.rs` names the parts and is none.
const ROOT: &str = "lib";

fn layer_of(part: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&part))
}

/// Whether a part may name another.
fn may_import(from: &str, to: &str) -> bool {
    let is_vocabulary = |part| VOCABULARY.contains(&part);
    let is_program = |part| LAYERS[0].contains(&part);
    from == to
        || (is_vocabulary(from) && is_vocabulary(to))
        || (is_program(from) && is_program(to))
        || matches!((layer_of(from), layer_of(to)), (Some(upper), Some(lower)) if upper < lower)
}

/// The parts that a file names by `crate::part` (or `rhumb::part`, from the program), with their lines.
fn imports(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for root in ["crate::", "rhumb::"] {
        for (offset, _) in text.match_indices(root) {
            let line_begin = text[..offset].rfind('\n').map_or(0, |newline| newline + 1);
            let is_comment = text[line_begin..offset].contains("//");
            // `rhumb::` may be the end of another word, or of a text such as a log filter.
            let before = text[..offset].chars().next_back();
            if is_comment || before.is_some_and(|char| char.is_alphanumeric() || "_\"=,:".contains(char)) {
                continue;
            }
            let line = 1 + text[..offset].matches('\n').count();
            let rest = &text[offset + root.len()..];
            let parts = if let Some(group) = rest.strip_prefix('{') { heads(group) } else { vec![word(rest)] };
            found.extend(parts.into_iter().filter(|part| !part.is_empty()).map(|part| (line, part.to_owned())));
        }
    }
    found
}

/// The first words of the members of a group, up to the brace that closes it.
fn heads(group: &str) -> Vec<&str> {
    let mut heads = Vec::new();
    let mut depth = 0;
    let mut begin = 0;
    for (offset, char) in group.char_indices() {
        match char {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                heads.push(word(group[begin..offset].trim_start()));
                begin = offset + 1;
                if char == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    heads
}

fn word(text: &str) -> &str {
    text.split(|char: char| !char.is_alphanumeric() && char != '_').next().unwrap_or_default()
}

/// What is wrong with the imports of a file, a line each.
fn violations(file: &Path, part: &str, text: &str) -> Vec<String> {
    let mut violations = Vec::new();
    for (line, imported) in imports(text) {
        // Modules are lower case: what else stands at the root is a macro or the library's own.
        let is_part = imported != "self" && imported.chars().all(|char| char.is_ascii_lowercase() || char == '_');
        if is_part && !may_import(part, &imported) {
            violations.push(format!("{}:{line}: {part} imports {imported}", file.display()));
        }
    }
    violations
}

/// Every Rust file under `src/` with the part it belongs to.
fn sources() -> Vec<(PathBuf, String, String)> {
    fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, files);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    walk(&root.join("src"), &mut files);
    files.sort();
    let describe = |path: PathBuf| {
        let within = path.strip_prefix(root.join("src")).unwrap();
        let part = within.iter().next().unwrap().to_string_lossy().trim_end_matches(".rs").to_owned();
        let text = fs::read_to_string(&path).unwrap();
        (path.strip_prefix(root).unwrap().to_owned(), part, text)
    };
    files.into_iter().map(describe).collect()
}

#[test]
fn parts_import_only_from_parts_below_them() {
    let mut found = Vec::new();
    for (file, part, text) in sources() {
        if part == ROOT {
            continue;
        }
        if layer_of(&part).is_none() {
            found.push(format!(
                "{}: {part} has no layer: give it its place in this test and in the layout",
                file.display()
            ));
        }
        found.extend(violations(&file, &part, &text));
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn a_file_says_its_job_in_its_first_line() {
    // The tests of a module are its own job, in a file of their own where they are long.
    let silent = sources()
        .into_iter()
        .filter(|(file, _, text)| !text.starts_with("//! ") && file.file_name().is_none_or(|name| name != "tests.rs"));
    let silent: Vec<String> = silent.map(|(file, ..)| file.display().to_string()).collect();
    assert!(silent.is_empty(), "no //! in the first line of {silent:?}");
}

#[test]
fn a_violation_names_file_and_line() {
    let file = Path::new("src/mqtt/session.rs");
    let text = "//! Sessions.\n\nuse crate::pipeline::Ingress;\nuse crate::{\n    fix::Fix,\n    http::{Config, problem},\n    ids,\n};\n";
    assert_eq!(violations(file, "mqtt", text), ["src/mqtt/session.rs:4: mqtt imports http"]);
    let cases = [
        ("geo", "fn f() { crate::pipeline::go() }", 1),
        ("geo", "use crate::units::Position;", 0),
        ("store", "use crate::journal::JournalPosition;", 0),
        ("journal", "use crate::store::Store;", 1),
        ("ids", "use crate::limits::X;\nuse crate::geo::Y;", 1),
        ("http", "use crate::replay;", 1),
        ("config", "use crate::mqtt;", 0),
        ("mqtt", "use crate::config::Config;", 1),
        ("mqtt", "// crate::http is another door\n/// [`crate::http`]", 0),
        ("cli", "use rhumb::engine; // top of all", 0),
        ("engine", "filter(\"rhumb::mqtt=debug\")", 0),
        ("pipeline", "use crate::{self, geo::GeoIndex, auth};", 0),
    ];
    for (part, text, count) in cases {
        assert_eq!(violations(file, part, text).len(), count, "{part}: {text}");
    }
}
