//! Files of some commits -> declarations, as the agent puts them together from commit to commit.
//!
//! What must hold: it never panics; taking over what did not change gives what reading everything anew gives; each problem
//! names a place in a file that is there; a path of a source stays in the repository; and no app that was known vanishes
//! while its file has a problem.
#![no_main]

use std::collections::BTreeMap;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use tidegate::declare::{Declarations, Made, ParsedFile, assemble, is_candidate, parse_file, with_value};
use tidegate::model::AppName;

mod sections;

type Parsed = BTreeMap<String, Arc<ParsedFile>>;

fuzz_target!(|data: &[u8]| {
    let (mut before, mut parsed, mut made) = (sections::Files::new(), Parsed::new(), Made::default());
    let mut known: BTreeMap<AppName, String> = BTreeMap::new();
    for files in sections::commits(data) {
        // As the agent does: what did not change keeps its parsed form.
        let kept = std::mem::take(&mut parsed);
        for (path, text) in files.iter().filter(|(_, text)| is_candidate(text)) {
            let same = kept.get(path).filter(|_| before.get(path) == Some(text)).cloned();
            parsed.insert(path.clone(), same.unwrap_or_else(|| Arc::new(parse_file(path, text))));
        }
        let paths = || files.keys().map(String::as_str);
        let files_of = known.iter().map(|(name, file)| (name.clone(), file.as_str())).collect();
        let declared = assemble(&parsed, &files_of, paths(), &made);
        let anew: Parsed = parsed.keys().map(|path| (path.clone(), Arc::new(parse_file(path, &files[path])))).collect();
        let fresh = assemble(&anew, &files_of, paths(), &Made::default());
        assert!(declared.apps == fresh.apps && declared.problems == fresh.problems, "another result when read anew");
        judge(&files, &parsed, &known, &declared);
        known = declared
            .apps
            .iter()
            .filter_map(|(name, app)| Some((name.clone(), app.as_ref().ok()?.declared_in.clone())))
            .collect();
        (before, made) = (files, declared.made);
    }
});

fn judge(files: &sections::Files, parsed: &Parsed, known: &BTreeMap<AppName, String>, declared: &Declarations) {
    for problem in &declared.problems {
        let text = files.get(&problem.file).unwrap_or_else(|| panic!("no such file: {problem}"));
        // To YAML, a carriage return alone ends a line as well (YAML 1.2.2, 5.4).
        let ends = |(at, byte): &(usize, &u8)| **byte == b'\n' || (**byte == b'\r' && text.get(at + 1) != Some(&b'\n'));
        let lines = text.iter().enumerate().filter(ends).count() + 1;
        assert!((1..=lines).contains(&problem.line) && problem.column >= 1, "no such place: {problem}");
        assert!(!problem.message.is_empty(), "{problem:?}");
    }
    for (name, app) in &declared.apps {
        let Ok(app) = app else { continue };
        let paths = app.sources.iter().flat_map(|source| source.helm.values_files.iter().chain([&source.path]));
        for path in paths {
            let is_inside = !path.starts_with('/') && path.split('/').all(|part| part != "..");
            assert!(is_inside, "{name}: {path} leads out of the repository");
        }
        assert!(!app.version.is_empty() && !app.namespace.is_empty(), "{name}");
        let place = declared.version_place(parsed, name).expect("a good app has a version");
        if let Ok(text) = std::str::from_utf8(&files[&place.file])
            && let Ok(edited) = with_value(text, place.line, place.column, "9.9.9")
        {
            drop(parse_file(&place.file, edited.as_bytes()));
        }
    }
    for (name, file) in known {
        let has_problem = parsed.get(file).is_some_and(|file| !file.problems().is_empty());
        assert!(declared.apps.contains_key(name) || !has_problem, "{name} vanished from {file}, which has a problem");
    }
}
