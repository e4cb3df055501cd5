//! What the rules of the house say (CONTRIBUTING.md), read from the sources: floors, invariants, links, and that what pages name is there.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The invariants of docs/design.md.
const INVARIANTS: u32 = 11;

/// Folders and files of aft-core that hold tests alone.
const TESTS_IN_CORE: [&str; 10] = [
    "protocol/oracle",
    "protocol/oracle.rs",
    "protocol/fold/brute_force.rs",
    "protocol/fold/history.rs",
    "protocol/fold/tiers.rs",
    "protocol/knowledge/brute_force",
    "protocol/knowledge/brute_force.rs",
    "protocol/windows.rs",
    "format/stored",
    "format/run/tests.rs",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// Every file with this ending below a folder, in order, but what is built.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            found.extend(files(&path, ending));
        } else if name.ends_with(ending) {
            found.push(path);
        }
    }
    found
}

/// A file of aft-core as it is shipped, and its own tests.
fn parted(path: &Path) -> (String, String) {
    let text = fs::read_to_string(path).unwrap();
    let tests = ["#[cfg(test)]\nmod tests {", "#[cfg(test)]\npub(crate) mod tests {"];
    let at = tests.iter().find_map(|begin| text.find(begin)).unwrap_or(text.len());
    let (source, tests) = text.split_at(at);
    (source.to_owned(), tests.to_owned())
}

fn source(path: &Path) -> String {
    parted(path).0
}

fn is_test(core: &Path, path: &Path) -> bool {
    TESTS_IN_CORE.iter().any(|test| path.starts_with(core.join(test)))
}

/// The first parts of all paths in a source that begin with `crate::`, or are imported.
fn imports(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with("//")) {
        for part in line.split("crate::").skip(1) {
            let module: String = part.chars().take_while(|it| it.is_alphanumeric() || *it == '_').collect();
            found.insert(format!("crate::{module}"));
        }
        if let Some(path) = line.strip_prefix("use ").or_else(|| line.strip_prefix("pub use ")) {
            found.insert(path.split([':', ';', ' ']).next().unwrap_or_default().to_owned());
        }
    }
    found
}

/// Each floor imports only what is below it, and nothing that has time, randomness, locks or IO of its own (I11).
#[test]
fn no_floor_imports_a_higher_one() {
    let core = root().join("aft-core/src");
    let above = |floor: &str| match floor {
        "format" => ["crate::node", "crate::protocol"].as_slice(),
        _ => &["crate::node"],
    };
    let impure = ["tokio", "parking_lot", "rand", "moka", "futures", "tracing", "async_trait"];
    let impure_own = ["crate::rng", "crate::clock", "crate::storage", "crate::config::Config"];
    let mut looked_at = 0;
    for floor in ["format", "protocol"] {
        let files = files(&core.join(floor), ".rs").into_iter().filter(|path| !is_test(&core, path));
        for path in files {
            let imports = imports(&source(&path));
            let mut forbidden = above(floor).iter().chain(&impure).chain(&impure_own);
            let wrong = forbidden.find(|name| imports.contains(**name));
            assert!(wrong.is_none(), "{} imports {}", path.display(), wrong.unwrap());
            looked_at += 1;
        }
    }
    assert!(looked_at > 25, "the floors were found: {looked_at} files");
}

/// What the rule above is judged by.
#[test]
fn an_import_is_found_where_it_stands() {
    let text = "use crate::node::Node;\nfn f() { crate::protocol::view::x() }\n// use crate::rng::Rng;\nuse tokio::time;";
    let found = imports(text);
    let expected = ["crate", "crate::node", "crate::protocol", "tokio"].map(str::to_owned);
    assert_eq!(found, BTreeSet::from(expected));
}

fn names(text: &str, invariant: u32) -> bool {
    let name = format!("I{invariant}");
    let edge = |it: Option<char>| it.is_none_or(|it| !it.is_alphanumeric());
    text.match_indices(&name)
        .any(|(at, _)| edge(text[..at].chars().next_back()) && edge(text[at + name.len()..].chars().next()))
}

/// Each invariant stands in the code that upholds it, and in a test that guards it.
#[test]
fn each_invariant_is_named_where_it_is_upheld_and_where_it_is_tested() {
    let root = root();
    let core = root.join("aft-core/src");
    let (tests, code): (Vec<_>, Vec<_>) =
        files(&core, ".rs").into_iter().partition(|path| is_test(&core, path));
    let code: Vec<_> = code.iter().map(|path| source(path)).collect();
    let own = root.join("tests/tests/house.rs");
    let crates = ["tests/tests", "tests/src", "aft-core/tests"].map(|folder| root.join(folder));
    let tests = tests.into_iter().chain(crates.iter().flat_map(|folder| files(folder, ".rs")));
    let tests: Vec<_> =
        tests.filter(|path| *path != own).map(|path| fs::read_to_string(path).unwrap()).collect();
    let unit: Vec<_> = files(&core, ".rs").iter().map(|path| parted(path).1).collect();
    let mut missing = Vec::new();
    for invariant in 1..=INVARIANTS {
        if !code.iter().any(|text| names(text, invariant)) {
            missing.push(format!("I{invariant} stands in no code"));
        }
        // I11 is guarded by this file.
        if invariant != 11 && !tests.iter().chain(&unit).any(|text| names(text, invariant)) {
            missing.push(format!("I{invariant} stands in no test"));
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
}

/// A heading as the part of a link after `#`, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let plain = heading.trim().to_lowercase();
    let kept = plain.chars().filter(|it| it.is_alphanumeric() || matches!(it, ' ' | '-' | '_'));
    kept.map(|it| if it == ' ' { '-' } else { it }).collect()
}

fn anchors(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut code = false;
    for line in text.lines() {
        code ^= line.starts_with("```");
        if !code && line.starts_with('#') {
            let slug = anchor(line.trim_start_matches('#'));
            let mut free = slug.clone();
            for number in 1.. {
                if found.insert(free.clone()) {
                    break;
                }
                free = format!("{slug}-{number}");
            }
        }
    }
    found
}

/// Every link to a heading leads to one. (That a linked file is there, `.ci/run` looks at.)
#[test]
fn links_to_headings_lead_to_headings() {
    let root = root();
    let mut broken = Vec::new();
    let mut links = 0;
    for path in files(&root, ".md") {
        let text = fs::read_to_string(&path).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let Some((file, heading)) = link.split_once('#') else { continue };
            if file.contains("://") {
                continue;
            }
            let target = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            if target.extension().is_none_or(|it| it != "md") {
                continue;
            }
            links += 1;
            let found = fs::read_to_string(&target).is_ok_and(|text| anchors(&text).contains(heading));
            if !found {
                broken.push(format!("{} links to {link}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    assert!(links > 20, "links were found: {links}");
}

/// Licences of what is built into aft that its own licences go with.
const LICENCES: [&str; 11] = [
    "MIT",
    "MIT-0",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Whether a licence expression can be met by these licences alone: one of its choices, or all that it names.
fn may_be_used(expression: &str) -> bool {
    let plain = expression.replace(['(', ')'], " ").replace('/', " OR ");
    let plain = plain.replace("WITH LLVM-exception", "");
    let words: Vec<_> = plain.split_whitespace().filter(|word| !matches!(*word, "OR" | "AND")).collect();
    let mut known = words.iter().map(|word| LICENCES.contains(word));
    if plain.contains(" AND ") { known.all(|known| known) } else { known.any(|known| known) }
}

#[test]
fn every_dependency_has_a_licence_that_goes_with_ours() {
    assert!(!may_be_used("GPL-3.0-only") && !may_be_used("MIT AND GPL-3.0-only") && !may_be_used(""));
    assert!(may_be_used("GPL-2.0 OR MIT") && may_be_used("Unlicense/MIT"));
    let run = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).current_dir(root()).output().unwrap();
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let about = run("rustc", &["-vV"]);
    let host = about.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let arguments = ["metadata", "--format-version=1", "--locked", "--offline", "--filter-platform", host];
    let metadata: serde_json::Value = serde_json::from_str(&run(env!("CARGO"), &arguments)).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let wrong =
        packages.iter().filter(|package| !may_be_used(package["license"].as_str().unwrap_or_default()));
    let wrong: Vec<_> = wrong.map(|package| format!("{}: {}", package["name"], package["license"])).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    assert!(packages.len() > 100, "packages were found: {}", packages.len());
}

/// The list of decisions has every page, by its title, and no other.
#[test]
fn every_decision_is_listed() {
    let folder = root().join("docs/decisions");
    let list = fs::read_to_string(folder.join("README.md")).unwrap();
    let pages = files(&folder, ".md").into_iter().filter(|path| !path.ends_with("README.md"));
    let mut numbers = BTreeSet::new();
    for path in pages {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).unwrap();
        let title = text.lines().next().unwrap().trim_start_matches(['#', ' ']);
        let (number, title) = title.split_at(4);
        let row = format!("| [{number}]({name}) | {} |", title.trim_start_matches([':', ' ']));
        assert!(list.contains(&row), "docs/decisions/README.md lacks {row}");
        assert!(numbers.insert(number.to_owned()), "two decisions have the number {number}");
    }
    assert_eq!(list.matches("| [").count(), numbers.len(), "it lists pages that are not there");
}

/// The text of a file of the workspace.
fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// The rows of a Markdown table, each as its cells, from the first line that begins so to the next empty one.
fn table(text: &str, head: &str) -> Vec<Vec<String>> {
    let from = text.find(head).unwrap();
    let lines = text[from..].lines().take_while(|line| line.starts_with('|')).skip(2);
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    lines.map(cells).collect()
}

/// What stands in backticks, within single lines and outside of blocks of code.
fn quoted(text: &str) -> BTreeSet<&str> {
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
}

/// A pattern that matches nothing plants nothing, and nobody notices until all mutants are run, which takes an hour.
#[test]
fn each_mutant_changes_its_file() {
    let root = root();
    let arguments = ["tests/mutants.sh", "--check"];
    let output = Command::new("bash").args(arguments).current_dir(&root).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let stale: Vec<_> = said.lines().filter(|line| !line.starts_with("changes ")).collect();
    assert!(stale.is_empty() && output.status.success(), "{stale:#?}");
    let mutants: BTreeSet<_> =
        said.lines().filter_map(|line| Some(line.strip_prefix("changes ")?.trim())).collect();
    let testing = read("docs/testing.md");
    let rows = table(&testing, "| mutant | found by |");
    let told: BTreeSet<_> = rows.iter().map(|row| row[0].as_str()).collect();
    let odd: Vec<_> = mutants.symmetric_difference(&told).collect();
    assert!(odd.is_empty(), "in tests/mutants.sh or in docs/testing.md alone: {odd:#?}");
    assert!(mutants.len() > 100, "mutants were found: {}", mutants.len());
}

/// The tests that docs/testing.md quotes, by a path (`oracle::pruning::a_test`) or by a long name alone, are there.
#[test]
fn each_test_that_a_page_quotes_is_there() {
    let root = root();
    let sources: Vec<_> = ["aft-core", "aft-memory", "aft-s3", "aft-cli", "tests", "benches"]
        .iter()
        .flat_map(|folder| files(&root.join(folder), ".rs"))
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
        .collect();
    let is_there = |quoted: &str| {
        let parts: Vec<_> = quoted.split("::").filter(|part| *part != "tests").collect();
        let (name, modules) = parts.split_last().unwrap();
        sources.iter().any(|(path, text)| {
            let path = path.with_extension("");
            modules.iter().all(|module| path.iter().any(|part| part == *module))
                && text.contains(&format!("fn {name}("))
        })
    };
    assert!(is_there("timeliness::tests::the_refresh_window_misses_nothing") && !is_there("fold::is_there"));
    let testing = read("docs/testing.md");
    let named = |text: &&str| {
        let plain = text.bytes().all(|it| matches!(it, b'a'..=b'z' | b'0'..=b'9' | b'_' | b':'));
        let of_a_crate = text.starts_with("aft_");
        plain && !of_a_crate && (text.contains("::") || text.matches('_').count() > 2)
    };
    let quoted: Vec<_> = quoted(&testing).into_iter().filter(named).collect();
    let missing: Vec<_> = quoted.iter().filter(|test| !is_there(test)).collect();
    assert!(missing.is_empty(), "docs/testing.md quotes tests that are not there: {missing:#?}");
    assert!(quoted.len() > 40, "quoted tests were found: {}", quoted.len());
}

/// ARCHITECTURE.md and docs/design.md say the same of each invariant.
#[test]
fn both_lists_of_invariants_agree() {
    let design = read("docs/design.md");
    let rows = table(&design, "| | invariant |");
    let ours = rows.iter().map(|row| format!("{} {}", row[0], row[1]));
    let map = read("ARCHITECTURE.md").replace("\n> ", " ");
    let theirs: Vec<_> = map.split("**I").skip(1).map(|rest| rest.lines().next().unwrap()).collect();
    let theirs: Vec<_> = theirs
        .iter()
        .map(|text| format!("I{}", text.replace("** ", " ").trim_end_matches(['.', ' '])))
        .collect();
    assert_eq!(ours.collect::<Vec<_>>(), theirs);
    assert_eq!(theirs.len(), usize::try_from(INVARIANTS).unwrap());
}

/// Folders whose files ARCHITECTURE.md names one by one; any other folder is named as a whole.
const NAMED_SINGLY: [&str; 12] = [
    "node",
    "protocol",
    "format",
    "transaction",
    "exchange",
    "index",
    "upkeep",
    "check",
    "clone",
    "knowledge",
    "sim",
    "explore",
];

/// The map has every file of aft-core and of the tests' library: by its name, as often as there are files of that name, or by its folder.
#[test]
fn the_map_has_every_file() {
    let map = read("ARCHITECTURE.md");
    let (from, to) = (map.find("## The three floors").unwrap(), map.find("## The path of one").unwrap());
    let words: Vec<_> = map[from..to].split('`').skip(1).step_by(2).collect();
    let is_whole =
        |folder: &str| !NAMED_SINGLY.contains(&folder) && words.contains(&format!("{folder}/").as_str());
    let mut files_of = std::collections::BTreeMap::<String, Vec<PathBuf>>::new();
    for sources in ["aft-core/src", "tests/src"].map(|folder| root().join(folder)) {
        for path in files(&sources, ".rs") {
            let inside = path.strip_prefix(&sources).unwrap().to_path_buf();
            let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
            let folders: Vec<_> = inside.parent().unwrap().iter().map(|it| it.to_string_lossy()).collect();
            let whole = is_whole(&stem) || folders.iter().any(|folder| is_whole(folder));
            let floor = folders.is_empty() && ["lib", "node", "protocol", "format"].contains(&&*stem);
            if !whole && !floor {
                files_of.entry(stem).or_default().push(inside);
            }
        }
    }
    let named = |stem: &str| {
        let forms = [stem.to_owned(), format!("{stem}.rs"), format!("{stem}/")];
        words.iter().filter(|word| forms.iter().any(|form| form == *word)).count()
    };
    let missing: Vec<_> = files_of.iter().filter(|(stem, files)| named(stem) < files.len()).collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md lacks: {missing:#?}");
    assert!(files_of.len() > 60, "files were found: {}", files_of.len());
}

/// docs/testing.md says of each planted bug what finds it.
#[test]
fn every_planted_bug_is_named() {
    let planted = read("aft-core/src/planted.rs");
    let bugs = planted.split("pub enum Planted {").nth(1).unwrap().split("\n}").next().unwrap();
    let bugs = bugs.lines().map(str::trim).filter(|line| !line.starts_with("//") && !line.is_empty());
    let bugs: BTreeSet<_> = bugs.map(|line| line.trim_end_matches(',')).collect();
    let testing = read("docs/testing.md");
    let named = quoted(&testing);
    let missing: Vec<_> = bugs.difference(&named).collect();
    assert!(missing.is_empty(), "docs/testing.md does not name {missing:?}");
    assert!(bugs.len() > 100, "planted bugs were found: {}", bugs.len());
}
