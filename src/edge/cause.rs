//! Tells why a connection failed. Enters: a client's error. Leaves: the innermost error's text, which names no URL.

/// The text of the innermost error: those around it may quote addresses and what they hold.
pub(crate) fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    // What says "deadline has elapsed" is the limit on the time to connect.
    if innermost.is::<tokio::time::error::Elapsed>() {
        "no connection in time".to_owned()
    } else {
        innermost.to_string()
    }
}
