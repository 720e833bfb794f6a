//! Every relative link and anchor in the repository's Markdown leads somewhere. Links to other sites are not followed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Markdown files of the repository, in order; build output and hidden folders aside.
fn documents(root: &Path) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![root.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of the repository can be listed") {
            let path = entry.expect("an entry of a folder can be read").path();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if path.is_dir() && !name.starts_with('.') && name != "target" && name != "node_modules" {
                folders.push(path);
            } else if name.ends_with(".md") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The text with fenced blocks dropped and inline code blanked: links in code are examples.
fn prose(text: &str) -> String {
    let (mut is_fenced, mut kept) = (false, String::new());
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_fenced = !is_fenced;
        } else if !is_fenced {
            kept.push_str(line);
        }
        kept.push('\n');
    }
    kept
}

fn without_inline_code(line: &str) -> String {
    line.split('`').enumerate().map(|(index, part)| if index % 2 == 0 { part } else { "code" }).collect()
}

/// Targets of `[text](target)`, `![alt](target)` and `[name]: target`.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in prose(text).lines().map(without_inline_code) {
        for rest in line.split("](").skip(1) {
            found.extend(rest.split([')', ' ']).next().map(str::to_owned));
        }
        if let Some((_, target)) = line.strip_prefix('[').and_then(|rest| rest.split_once("]: ")) {
            found.push(target.trim().to_owned());
        }
    }
    found
}

/// The anchors of a document's headings, as GitHub makes them.
fn anchors(text: &str) -> Vec<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let headings = prose(text);
    let headings =
        headings.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    headings
        .map(|heading| {
            let kept = heading.chars().filter(|each| each.is_alphanumeric() || matches!(each, ' ' | '-' | '_'));
            let slug: String = kept.collect::<String>().to_lowercase().replace(' ', "-");
            let count = seen.entry(slug.clone()).and_modify(|count| *count += 1).or_insert(0);
            if *count == 0 { slug } else { format!("{slug}-{count}") }
        })
        .collect()
}

/// What is wrong with one document's links. `read` gives the text of a file, an empty one for a folder.
fn broken(document: &Path, text: &str, read: &dyn Fn(&Path) -> Option<String>) -> Vec<String> {
    let mut found = Vec::new();
    for link in links(text) {
        if link.contains("://") || link.starts_with("mailto:") {
            continue;
        }
        let (file, anchor) = link.split_once('#').map_or((link.as_str(), None), |(file, anchor)| (file, Some(anchor)));
        let place = document.parent().expect("a document lies in a folder").join(file);
        let target = if file.is_empty() { Some(text.to_owned()) } else { read(&place) };
        match (target, anchor) {
            (None, _) => found.push(format!("{}: `{link}` leads to no file", document.display())),
            (Some(target), Some(anchor)) if !anchors(&target).iter().any(|each| each == anchor) => {
                found.push(format!("{}: `{link}` leads to no heading", document.display()));
            }
            (Some(_), _) => {}
        }
    }
    found
}

#[test]
fn relative_links_and_anchors_lead_somewhere() {
    let read = |path: &Path| {
        if path.is_dir() { Some(String::new()) } else { std::fs::read_to_string(path).ok() }
    };
    let documents = documents(Path::new(env!("CARGO_MANIFEST_DIR")));
    assert!(!documents.is_empty(), "the repository has documents");
    let found: Vec<String> = documents
        .iter()
        .flat_map(|path| broken(path, &std::fs::read_to_string(path).expect("a document is UTF-8"), &read))
        .collect();
    assert!(found.is_empty(), "{} broken link(s):\n{}", found.len(), found.join("\n"));
}

#[test]
fn planted_broken_links_are_found() {
    let read = |path: &Path| match path.to_str() {
        Some("docs/a.md") => Some("# One `two`: three\n## Same\n## Same\n```\n# not a heading\n```\n".to_owned()),
        Some("docs/../LICENSE") => Some(String::new()),
        _ => None,
    };
    for (text, wanted) in [
        ("[a](a.md) and [b](../LICENSE)", None),
        ("[a](a.md#one-two-three) [b](a.md#same-1)", None),
        ("[out](https://example.com/x#y) [mail](mailto:a@b)", None),
        ("# Here\n[same page](#here)", None),
        ("`[code](nowhere.md)`\n```\n[code](nowhere.md)\n```", None),
        ("[a](b.md)", Some("leads to no file")),
        ("![a](picture.png)", Some("leads to no file")),
        ("[a](a.md#two)", Some("leads to no heading")),
        ("[a](a.md#not-a-heading)", Some("leads to no heading")),
        ("[a](#nowhere)", Some("leads to no heading")),
        ("[a]: b.md", Some("leads to no file")),
    ] {
        let found = broken(Path::new("docs/page.md"), text, &read);
        assert_eq!(found.len(), usize::from(wanted.is_some()), "{text}: {found:?}");
        assert!(wanted.is_none_or(|wanted| found[0].contains(wanted)), "{text}: {found:?}");
    }
}
