//! Who may change which app, where signatures are verified.

use super::AppName;

/// Rules in the order they were written: the first whose pattern matches an app counts for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppSigners {
    /// The rules.
    pub rules: Vec<AppSigner>,
}

/// Who may change the apps of one pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppSigner {
    /// An app's name; `*` stands for any text in it, `?` for one character.
    pub pattern: String,
    /// Names of signers, or their addresses; `*` for everybody who is trusted.
    pub signers: Vec<String>,
}

impl AppSigners {
    /// Those who may change an app; `None` when everybody may who is trusted.
    #[must_use]
    pub fn of(&self, app: &AppName) -> Option<&[String]> {
        let rule = self.rules.iter().find(|rule| matches(app.as_str().as_bytes(), rule.pattern.as_bytes()))?;
        (!rule.signers.iter().any(|signer| signer == "*")).then_some(&rule.signers)
    }

    /// Whether a head that `signer` signed may change an app.
    #[must_use]
    pub fn may_change(&self, app: &AppName, signer: Option<&str>) -> bool {
        let Some(signers) = self.of(app) else { return true };
        let Some(signer) = signer else { return false };
        let address = signer.split_once('<').and_then(|(_, rest)| rest.strip_suffix('>'));
        signers.iter().any(|each| each == signer || Some(each.as_str()) == address)
    }
}

/// Whether a name matches a pattern: greedy, going back to the last `*` alone, so in time of name times pattern at most.
fn matches(name: &[u8], pattern: &[u8]) -> bool {
    let (mut at, mut wanted) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while at < name.len() {
        match pattern.get(wanted) {
            Some(b'*') => {
                star = Some((wanted, at));
                wanted += 1;
            }
            Some(byte) if *byte == b'?' || *byte == name[at] => {
                at += 1;
                wanted += 1;
            }
            Some(_) | None => match star {
                Some((position, taken)) => {
                    star = Some((position, taken + 1));
                    (wanted, at) = (position + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[wanted..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(lines: &[(&str, &[&str])]) -> AppSigners {
        let rule = |(pattern, signers): &(&str, &[&str])| AppSigner {
            pattern: (*pattern).to_owned(),
            signers: signers.iter().map(|signer| (*signer).to_owned()).collect(),
        };
        AppSigners { rules: lines.iter().map(rule).collect() }
    }

    #[test]
    fn the_first_rule_that_matches_says_who_may_change_an_app() {
        let signers = rules(&[
            ("payments-test", &["*"]),
            ("payments-*", &["ada@example.com", "CN=deployer"]),
            ("?db", &["bob@example.com"]),
        ]);
        for (app, signer, may) in [
            ("payments-api", Some("ada@example.com"), true),
            ("payments-api", Some("Ada <ada@example.com>"), true),
            ("payments-api", Some("CN=deployer"), true),
            ("payments-api", Some("bob@example.com"), false),
            ("payments-api", Some("ada@example.com <bob@example.com>"), false),
            ("payments-api", Some("eve ada@example.com"), false),
            ("payments-api", None, false),
            ("payments-test", Some("bob@example.com"), true),
            ("payments", Some("bob@example.com"), true),
            ("1db", Some("ada@example.com"), false),
            ("12db", Some("ada@example.com"), true),
            ("web", None, true),
        ] {
            assert_eq!(signers.may_change(&AppName::from(app), signer), may, "{app} {signer:?}");
        }
        assert!(AppSigners::default().may_change(&AppName::from("web"), None));
    }

    #[test]
    fn patterns_match_as_in_a_shell() {
        for (name, pattern, expected) in [
            ("web", "web", true),
            ("web", "we", false),
            ("web", "webs", false),
            ("web", "*", true),
            ("", "*", true),
            ("web-eu-1", "web-*-1", true),
            ("web-eu-1-1", "web-*-1", true),
            ("web-eu-2", "web-*-1", false),
            ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", "*a*a*a*a*a*a*a*a*a*a*a*a*c", false),
            ("web", "w?b*", true),
        ] {
            assert_eq!(matches(name.as_bytes(), pattern.as_bytes()), expected, "{name} {pattern}");
        }
    }
}
