//! What a caller who wants to change an app is told: where the change belongs.
//!
//! Enters: an app and what was asked of it. Leaves: a sentence. Nothing is ever changed over HTTP.

use super::failure::{Code, Failure};
use crate::status::AppView;

/// A new application belongs into Git.
pub(super) fn of_creation() -> Failure {
    let message = "applications are declared in Git: add a file with the Application to the repository and push";
    Failure::new(Code::PermissionDenied, message)
}

/// A change of the application itself: names the file to edit.
pub(super) fn of_edit(view: &AppView) -> Failure {
    let message = format!("application {:?} is declared in Git: {}", view.name.as_str(), edit(view));
    Failure::new(Code::PermissionDenied, message)
}

/// An operation on the application: names the request that does the same, where there is one. `part` is the path below
/// the application, such as `sync`.
pub(super) fn of_operation(view: &AppView, part: &str) -> Failure {
    let name = view.name.as_str();
    let (verb, command) = match part {
        "sync" => ("sync", ""),
        "rollback" => ("rollback", "tidegate rollback"),
        "operation" => ("abort", "tidegate abort"),
        _ => return of_edit(view),
    };
    let command = if command.is_empty() { String::new() } else { format!("`{command} {name}` or ") };
    let namespace = &view.namespace;
    let message = format!(
        "operations are not offered over HTTP: use {command}`kubectl annotate tgapp {name} -n {namespace} \
         tidegate.dev/request={verb} --overwrite`; to change what is declared, {}",
        edit(view)
    );
    Failure::new(Code::PermissionDenied, message)
}

fn edit(view: &AppView) -> String {
    let branch = view.revision.as_ref().map(|revision| match revision.is_of_branch() {
        true => format!(" on branch {}", revision.branch),
        // Pushing alone moves neither.
        false => format!(" (of which {} is followed)", revision.followed()),
    });
    let branch = branch.unwrap_or_default();
    match &view.application {
        Some(application) => {
            format!("edit {} in {}{branch} and push", application.declared_in, view.repository)
        }
        None => format!("edit its file in {}{branch} and push", view.repository),
    }
}
