//! Which apps a query asks for, in the parameters of Argo CD's clients.
//!
//! Enters: the pairs of a query string. Leaves: a test on apps. Parameters that it does not know are ignored.

use super::failure::{Code, Failure};
use crate::status::{AppView, argocd};

/// The apps that a query asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Filter {
    name: Option<String>,
    projects: Vec<String>,
    repository: Option<String>,
    namespace: Option<String>,
    admits_unlabelled: bool,
    /// Whether Git should be looked at now.
    pub(super) wants_refresh: bool,
}

impl Filter {
    /// Reads the parameters; empty values count as absent, as in Go.
    pub(super) fn parse(pairs: Vec<(String, String)>) -> Result<Self, Failure> {
        let mut filter = Self { admits_unlabelled: true, ..Self::default() };
        for (key, value) in pairs.into_iter().filter(|(_, value)| !value.is_empty()) {
            match key.as_str() {
                "name" => filter.name = Some(value),
                "project" | "projects" => filter.projects.push(value),
                "repo" => filter.repository = Some(value),
                "appNamespace" => filter.namespace = Some(value),
                "selector" => filter.admits_unlabelled = admits_unlabelled(&value)?,
                "refresh" => filter.wants_refresh = true,
                _ => {}
            }
        }
        Ok(filter)
    }

    /// Whether the app is in the named project and namespace.
    pub(super) fn reaches(&self, view: &AppView) -> bool {
        (self.projects.is_empty() || self.projects.iter().any(|project| project == argocd::PROJECT))
            && self.namespace.as_ref().is_none_or(|namespace| *namespace == view.namespace)
    }

    /// Whether a list shows the app.
    pub(super) fn keeps(&self, view: &AppView) -> bool {
        self.reaches(view)
            && self.admits_unlabelled
            && self.name.as_ref().is_none_or(|name| name == view.name.as_str())
            && self.repository.as_ref().is_none_or(|repository| *repository == view.repository)
    }
}

/// Whether an equality selector (`a=b`, `a!=b`, `a`, `!a`, joined by commas) fits an app without labels: apps have none.
fn admits_unlabelled(selector: &str) -> Result<bool, Failure> {
    let mut admits = true;
    for term in selector.split(',').map(str::trim) {
        let (key, wants_label) = match term.split_once('=') {
            Some((key, _)) if key.ends_with('!') => (key.trim_end_matches('!'), false),
            Some((key, _)) => (key, true),
            None => (term.trim_start_matches('!'), !term.starts_with('!')),
        };
        let is_key = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
        if key.trim().is_empty() || !key.trim().bytes().all(is_key) {
            let message = format!("selector {term:?} is not of the form key=value, key!=value, key or !key");
            return Err(Failure::new(Code::InvalidArgument, message));
        }
        admits &= !wants_label;
    }
    Ok(admits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::fixture::idle;

    #[test]
    fn a_query_selects_as_argo_cd_does() {
        let view = idle("shop");
        for (query, keeps) in [
            (vec![], true),
            (vec![("name", "shop")], true),
            (vec![("name", "")], true),
            (vec![("name", "other")], false),
            (vec![("project", "default")], true),
            (vec![("projects", "other"), ("projects", "default")], true),
            (vec![("projects", "other")], false),
            (vec![("repo", "https://git.example/shop.git")], true),
            (vec![("repo", "https://git.example/other.git")], false),
            (vec![("appNamespace", "tidegate")], true),
            (vec![("appNamespace", "argocd")], false),
            (vec![("selector", "team=a")], false),
            (vec![("selector", "team==a")], false),
            (vec![("selector", "team!=a")], true),
            (vec![("selector", "team != a, !tier")], true),
            (vec![("selector", "example.org/team")], false),
            (vec![("search", "anything")], true),
        ] {
            let pairs = query.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            assert_eq!(Filter::parse(pairs).map(|filter| filter.keeps(&view)), Ok(keeps), "{query:?}");
        }
    }

    #[test]
    fn a_selector_that_cannot_be_read_is_an_invalid_argument() {
        for selector in ["=a", "team in (a, b)", "a,,b", "!"] {
            let failure = Filter::parse(vec![("selector".to_owned(), selector.to_owned())]).unwrap_err();
            assert_eq!(failure.code, Code::InvalidArgument, "{selector}");
        }
    }
}
