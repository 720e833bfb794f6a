//! The file `applications` in a folder of keys: who may change which app.

use super::shown;
use crate::model::{AppSigner, AppSigners};

/// Reads lines of a pattern and names: `payments-* ada@example.com, bob@example.com`. Names are parted by commas, since
/// those of certificates and OpenPGP keys hold spaces.
pub(super) fn parse(text: &str) -> Result<AppSigners, (usize, String)> {
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let rules = lines.map(|(number, line)| {
        let (pattern, names) = line.split_once(char::is_whitespace).ok_or_else(|| {
            (number, "it names nobody; write the app's name or pattern, a space, and who may change it".to_owned())
        })?;
        let is_odd = |each: char| !(each.is_ascii_lowercase() || each.is_ascii_digit() || "-.*?".contains(each));
        if pattern.contains(is_odd) {
            return Err((number, format!("`{}` is no name of an app, and no pattern of names", shown(pattern))));
        }
        let signers: Vec<String> = names.split(',').map(|name| name.trim().to_owned()).collect();
        if signers.iter().any(String::is_empty) {
            return Err((number, "there is a name missing beside a comma".to_owned()));
        }
        Ok(AppSigner { pattern: pattern.to_owned(), signers })
    });
    Ok(AppSigners { rules: rules.collect::<Result<_, _>>()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_apps_and_who_may_change_them() {
        let text = "# comment\n\npayments-*\tada@example.com, Bob Builder <bob@example.com>\n  web   * \n";
        let rule = |pattern: &str, signers: &[&str]| AppSigner {
            pattern: pattern.to_owned(),
            signers: signers.iter().map(|signer| (*signer).to_owned()).collect(),
        };
        let expected = [rule("payments-*", &["ada@example.com", "Bob Builder <bob@example.com>"]), rule("web", &["*"])];
        assert_eq!(parse(text).expect("well formed").rules, expected);
        assert_eq!(parse("").expect("well formed"), AppSigners::default());
    }

    #[test]
    fn a_line_that_says_less_than_it_should_is_refused_with_its_number() {
        for (text, line, problem) in [
            ("web ada\npayments", 2, "names nobody"),
            ("Web ada", 1, "no name of an app"),
            ("../web ada", 1, "no name of an app"),
            ("web ada,,bob", 1, "name missing"),
            ("web ada,", 1, "name missing"),
        ] {
            let (at, told) = parse(text).expect_err(text);
            assert!(at == line && told.contains(problem), "{text}: {at} {told}");
        }
    }
}
