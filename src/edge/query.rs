//! Writes query strings, forms and path segments. Enters: plain text. Leaves: text that is safe in a URL. It reads none.

/// `a=b&c=d`, percent-encoded.
pub(crate) fn encode_pairs(pairs: &[(&str, &str)]) -> String {
    let encoded: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    encoded.join("&")
}

/// One value or path segment, percent-encoded but for RFC 3986's unreserved characters.
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_means_something_in_a_url_survives() {
        assert_eq!(encode_pairs(&[("q", "a b/c?d&e=f%"), ("x", "ü")]), "q=a%20b%2Fc%3Fd%26e%3Df%25&x=%C3%BC");
    }
}
