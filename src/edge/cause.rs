//! Tells why a connection failed. Enters: a client's error. Leaves: the innermost error's text, which names no URL.

/// The text of the innermost error: those around it may quote addresses and what they hold.
pub(crate) fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
