//! What text must look like. Enters: text and a rule. Leaves: what is wrong with it, and what to do.

use super::nearest::did_you_mean;
use super::problem::shown;
use super::shape::{PLACEHOLDERS, QUERY_BYTES_MAX, Rule};
use super::source::{is_chart_repository, is_exact_version, is_git_repository};
use crate::expression::Expression;
use crate::model::{HealthRule, Reference};

/// How `text` breaks `rule`: what is wrong, and what to do.
pub(super) fn broken(rule: Rule, text: &str) -> Option<(String, String)> {
    let quoted = shown(text);
    let word = |max: usize| {
        !text.is_empty() && text.len() <= max && !text.contains(|c: char| c.is_whitespace() || c.is_control())
    };
    let wrong = |message: &str, hint: &str| Some((format!("`{quoted}` {message}"), hint.to_owned()));
    match rule {
        Rule::Exactly(exactly) if text != exactly => wrong("is not known", &format!("write `{exactly}`")),
        Rule::Label(max) if !is_label(text) || text.len() > max => {
            wrong("is no valid name", &format!("lower-case letters, digits and `-`, at most {max} characters"))
        }
        Rule::Version | Rule::Manager if !word(128) => wrong("is not one word of 1 to 128 characters", ""),
        Rule::ImageName if !is_image_name(text) => {
            wrong("is no image name", "write it as the manifest does, without tag and digest")
        }
        Rule::Tag if !is_tag(text) => {
            wrong("is no image tag", "letters, digits, `_`, `.` and `-`, at most 128 characters")
        }
        Rule::Digest if !is_digest(text) => wrong("is no image digest", "write sha256: and 64 hex digits"),
        Rule::Pointer if !text.starts_with('/') => {
            wrong("is no JSON pointer", "begin with `/`, such as /spec/replicas")
        }
        Rule::ChartRepository if !is_chart_repository(text) => {
            wrong("is no place for charts", "write an https, http or oci URL without credentials, query and final `/`")
        }
        Rule::GitRepository => broken_repository(text),
        Rule::Revision => broken_revision(text),
        Rule::ExactVersion if !is_exact_version(text) => wrong(
            "is no exact version",
            "write all three numbers, such as 1.2.3: a range would change without a commit",
        ),
        Rule::ValuePath if !word(253) || text.contains([',', '=', '{', '}']) => {
            wrong("is no path of a value", "write it as in image.tag or hosts[0]")
        }
        Rule::Any(max) if text.len() > max => wrong("is too long", &format!("at most {max} bytes")),
        Rule::Path => broken_path(text).map(|(message, hint)| (format!("`{quoted}` {message}"), hint.to_owned())),
        Rule::Query => broken_query(text),
        Rule::Group if text.len() > 253 || !(text.is_empty() || text.split('.').all(is_label)) => {
            wrong("is no API group", "write it without version and kind, such as apps")
        }
        Rule::ObjectName if text.len() > 253 || !text.split('.').all(is_label) => {
            wrong("is no name of an object", "lower-case letters, digits, `-` and `.`")
        }
        Rule::Sentence if text.trim().is_empty() || text.chars().count() > 500 || text.contains(char::is_control) => {
            wrong("is not one line of 1 to 500 characters", "")
        }
        Rule::ObjectKind if !is_object_kind(text) => {
            wrong("is no kind", "write it as manifests do, such as Deployment")
        }
        Rule::Expression => Expression::parse(text, &HealthRule::VARIABLES)
            .err()
            .map(|problem| (format!("is no usable expression: {}", problem.message), problem.hint)),
        Rule::Exactly(_)
        | Rule::Label(_)
        | Rule::Version
        | Rule::Manager
        | Rule::ImageName
        | Rule::Tag
        | Rule::Digest
        | Rule::Group
        | Rule::Pointer
        | Rule::ObjectName
        | Rule::Sentence
        | Rule::ObjectKind
        | Rule::ChartRepository
        | Rule::ExactVersion
        | Rule::ValuePath
        | Rule::Any(_) => None,
    }
}

/// Whether `text` is a DNS-1123 label, its length aside.
pub(super) fn is_label(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// Whether `text` may be the tag of an image.
pub(super) fn is_tag(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 128
        && !text.starts_with(['.', '-'])
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

fn is_object_kind(text: &str) -> bool {
    text.len() <= 63
        && text.starts_with(|c: char| c.is_ascii_uppercase())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn is_image_name(text: &str) -> bool {
    let last = text.rsplit('/').next().unwrap_or_default();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-' | b'/' | b':');
    text.len() <= 255 && !text.starts_with('/') && !last.is_empty() && !last.contains(':') && text.bytes().all(is_plain)
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
}

fn broken_path(text: &str) -> Option<(&'static str, &'static str)> {
    let has = |part: &str| text.split('/').any(|name| name == part);
    let has_git = text.split('/').any(|name| name.eq_ignore_ascii_case(".git"));
    match text {
        "" => Some(("is empty", "write a folder from the repository's root, or `./` for the folder of this file")),
        _ if text.starts_with('/') => {
            Some(("is absolute", "write it from the repository's root, without the first `/`"))
        }
        _ if has("..") => Some(("leaves its folder", "write it from the repository's root, without `..`")),
        _ if text.contains('\\') => Some(("has a backslash", "folders are separated by `/`")),
        _ if has_git || text.len() > 1024 || text.contains(char::is_control) => {
            Some(("is no path of a repository", ""))
        }
        _ => None,
    }
}

fn broken_repository(text: &str) -> Option<(String, String)> {
    let message = format!("`{}` is no Git repository that can be named here", shown(text));
    let hint = "write an https, http or ssh URL, or user@host:path, without credentials; a path of a machine is none";
    (!is_git_repository(text)).then(|| (message, hint.to_owned()))
}

fn broken_revision(text: &str) -> Option<(String, String)> {
    Reference::parse(text).err().map(|reason| (format!("`{}` is no revision", shown(text)), reason))
}

fn broken_query(text: &str) -> Option<(String, String)> {
    if text.trim().is_empty() || text.len() > QUERY_BYTES_MAX {
        return Some((format!("a query has 1 to {QUERY_BYTES_MAX} bytes"), String::new()));
    }
    for part in text.split("${").skip(1) {
        let Some((name, _)) = part.split_once('}') else {
            return Some(("`${` is not closed".to_owned(), "write ${name}".to_owned()));
        };
        if !PLACEHOLDERS.contains(&name) {
            let hint = did_you_mean(name, PLACEHOLDERS.iter().copied());
            let hint = hint.unwrap_or_else(|| format!("known are {}", PLACEHOLDERS.join(", ")));
            return Some((format!("unknown placeholder `${{{}}}`", shown(name)), hint));
        }
    }
    None
}
