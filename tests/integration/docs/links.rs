//! Links between pages lead somewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::repository;

/// Folders without pages of the project.
const LEFT_OUT: [&str; 5] = ["target", ".git", "dist", ".schemathesis", "node_modules"];

fn pages(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && !LEFT_OUT.contains(&name) {
            pages(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

/// The text without code blocks, whose `#` and `](` mean something else.
fn prose(text: &str) -> String {
    text.split("\n```").step_by(2).collect()
}

/// The target of each link and image.
fn links(prose: &str) -> impl Iterator<Item = &str> {
    prose.split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(link, _)| link))
}

/// The anchors that GitHub generates for headings.
fn anchors(prose: &str) -> BTreeSet<String> {
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    let titles = headings.map(|line| line.trim_start_matches('#').trim().to_lowercase());
    let slug = |title: String| -> String {
        let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    titles.map(slug).collect()
}

#[test]
fn each_relative_link_leads_to_a_file_and_each_anchor_to_a_heading() {
    let mut found = Vec::new();
    pages(&repository(""), &mut found);
    let texts: BTreeMap<PathBuf, String> = found
        .into_iter()
        .map(|path| (path.canonicalize().unwrap(), prose(&fs::read_to_string(&path).unwrap())))
        .collect();
    let (mut checked, mut broken) = (0, Vec::new());
    for (path, text) in &texts {
        for link in links(text).filter(|link| !link.contains("://")) {
            checked += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let to = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            let leads = to.canonicalize().is_ok_and(|to| {
                anchor.is_empty() || texts.get(&to).is_some_and(|text| anchors(text).contains(anchor))
            });
            if !leads {
                broken.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    assert!(checked > 60, "only {checked} links were found");
}

/// `[`listener/accept.rs`](../src/listener/accept.rs)`: the text of a link names the file that it leads to.
#[test]
fn the_text_of_a_link_to_a_source_file_is_the_end_of_its_path() {
    let (mut checked, mut wrong) = (0, Vec::new());
    for page in docs() {
        let text = fs::read_to_string(&page).unwrap();
        for link in text.split("[`").skip(1) {
            let Some((named, rest)) = link.split_once("`](") else { continue };
            let to = rest.split(')').next().unwrap();
            if Path::new(named).extension().is_some_and(|extension| extension == "rs") {
                checked += 1;
                if !to.ends_with(named) {
                    wrong.push(format!("{}: {named} leads to {to}", page.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(checked > 20, "only {checked} links were found");
}

/// Commands and prose name files, too: `kubectl apply -k manifests/base`.
#[test]
fn each_path_of_the_repository_that_a_page_names_exists() {
    let folders = ["manifests/", "tests/", "bench/", "src/", ".ci/"];
    let (mut checked, mut missing) = (0, Vec::new());
    for page in ["README.md", "CONTRIBUTING.md", "SECURITY.md"].map(repository).into_iter().chain(docs()) {
        let text = fs::read_to_string(&page).unwrap();
        let words = text.split(|c: char| c.is_whitespace() || "`'\"()[]|,;".contains(c));
        for word in words.map(|word| word.trim_end_matches(['.', ':'])) {
            let is_path = folders.iter().any(|folder| word.starts_with(folder));
            if is_path && !word.contains("NAME") {
                checked += 1;
                if !repository(word).exists() {
                    missing.push(format!("{}: {word}", page.display()));
                }
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(checked > 30, "only {checked} paths were found");
}

fn docs() -> Vec<PathBuf> {
    let mut found = Vec::new();
    pages(&repository("docs"), &mut found);
    found
}

#[test]
fn a_link_is_found_in_prose_and_not_in_code() {
    let text = prose("# A title: `x`\n[a](b.md#c) ![d](e.svg)\n```sh\n[no](f)\n```\nend [g](h)\n");
    assert_eq!(links(&text).collect::<Vec<_>>(), ["b.md#c", "e.svg", "h"]);
    assert!(anchors(&text).contains("a-title-x"));
}
