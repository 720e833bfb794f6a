//! URLs in settings. They are shown in status and logs, so none of them may carry credentials, and no error repeats one.

/// Reads what a user wrote as the repository.
pub(super) fn repository_url(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("missing: say which Git repository to follow".to_owned());
    }
    let has_controls = text.chars().any(char::is_control);
    if text.starts_with('-') || has_controls {
        return Err("not a URL and not a path".to_owned());
    }
    match text.split_once("://") {
        Some(("http" | "https", _)) => web_url(text),
        Some(("ssh", rest)) => ssh_url(text, rest),
        Some(("file", path)) if path.starts_with('/') => Ok(text.to_owned()),
        Some(_) => Err("expected an https, http or ssh URL, or a path".to_owned()),
        // `git@host:path` is SSH, and `ext::command` is no path.
        None if text.contains(':') && !text.starts_with(['/', '.']) => match text.split_once(':') {
            Some((host, path)) if host.contains('@') && !path.is_empty() => Ok(text.to_owned()),
            _ => Err("expected an https, http or ssh URL, `user@host:path`, or a path".to_owned()),
        },
        None => Ok(text.to_owned()),
    }
}

/// An SSH URL with a host and without a password. The rest is judged where it is used.
fn ssh_url(text: &str, rest: &str) -> Result<String, String> {
    let authority = rest.split('/').next().unwrap_or_default();
    if authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':')) {
        return Err("the URL carries credentials; put them into files and name their folder".to_owned());
    }
    if authority.is_empty() || authority.starts_with('-') || text.chars().any(char::is_whitespace) {
        return Err("not a URL".to_owned());
    }
    Ok(text.to_owned())
}

/// An http or https URL with a host and without credentials: URLs are shown in status and logs.
pub(super) fn web_url(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let rest = rest.ok_or("expected an http or https URL")?;
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if host.contains('@') {
        return Err("the URL carries credentials; put them into files and name their folder".to_owned());
    }
    if host.is_empty() || text.chars().any(|character| character.is_whitespace() || character.is_control()) {
        return Err("not a URL".to_owned());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// The URL of an HTTP proxy: scheme, host and port.
pub(super) fn proxy_url(text: &str) -> Result<String, String> {
    let expected = || "expected the URL of an HTTP proxy, such as http://proxy.example:3128".to_owned();
    if !text.starts_with("http://") {
        return Err(expected());
    }
    let url = web_url(text).map_err(|reason| match reason.contains("credentials") {
        true => {
            "the URL carries credentials; put them into `proxy-username` and `proxy-password` in the credentials folder"
                .to_owned()
        }
        false => expected(),
    })?;
    let authority = url.strip_prefix("http://").unwrap_or_default();
    if authority.contains(['/', '?', '#']) { Err(expected()) } else { Ok(url) }
}
