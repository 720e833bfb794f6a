//! Lists of refs as plain bytes: the cheap `ls-refs` of protocol v2, and the advertisement of servers without it.
//!
//! Enters: a ref prefix, the bytes of an answer. Leaves: the bytes of a request, the refs. No I/O.

/// Asks for the refs below a prefix.
pub(super) fn request(prefix: &str) -> Vec<u8> {
    let mut body = Vec::new();
    for line in ["command=ls-refs\n".to_owned(), String::new(), format!("ref-prefix {prefix}\n")] {
        match line.as_str() {
            "" => body.extend_from_slice(b"0001"),
            line => body.extend_from_slice(format!("{:04x}{line}", line.len() + 4).as_bytes()),
        }
    }
    body.extend_from_slice(b"0000");
    body
}

/// What an answer says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Listing {
    /// These refs, by name with their object id.
    Refs(Vec<(String, String)>),
    /// The server does not speak protocol v2, or cut its answer short.
    NotUnderstood,
}

/// Reads a whole answer to `ls-refs`.
pub(super) fn parse(mut body: &[u8]) -> Listing {
    let mut refs = Vec::new();
    loop {
        match packet(body) {
            Some((None, _)) => return Listing::Refs(refs),
            Some((Some(line), rest)) => {
                let Some(line) = read_line(line) else { return Listing::NotUnderstood };
                refs.push(line);
                body = rest;
            }
            None => return Listing::NotUnderstood,
        }
    }
}

/// Reads a whole advertisement: what `info/refs` answers in the first version of the protocol.
pub(super) fn parse_advertisement(body: &[u8]) -> Listing {
    let Some((Some(b"# service=git-upload-pack\n" | b"# service=git-upload-pack"), rest)) = packet(body) else {
        return Listing::NotUnderstood;
    };
    let Some((None, mut body)) = packet(rest) else { return Listing::NotUnderstood };
    let mut refs = Vec::new();
    loop {
        match packet(body) {
            Some((None, _)) => return Listing::Refs(refs),
            Some((Some(line), rest)) => {
                // The first line goes on with what the server can do. An empty repository has only that line, under a
                // name that is no ref.
                let line = line.split(|byte| *byte == 0).next().unwrap_or_default();
                refs.extend(read_line(line));
                body = rest;
            }
            None => return Listing::NotUnderstood,
        }
    }
}

/// Splits off one packet: its content, or none for the mark that ends a list.
fn packet(body: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let (head, rest) = body.split_at_checked(4)?;
    match usize::from_str_radix(std::str::from_utf8(head).ok()?, 16).ok()? {
        0 => Some((None, rest)),
        length => rest.split_at_checked(length.checked_sub(4)?).map(|(line, rest)| (Some(line), rest)),
    }
}

fn read_line(line: &[u8]) -> Option<(String, String)> {
    let text = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(line)).into_owned();
    let (id, rest) = text.split_once(' ')?;
    let is_id = matches!(id.len(), 40 | 64) && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    // Attributes (`symref-target:…`) follow the name after a space, which no name contains.
    let name = rest.split(' ').next().filter(|name| name.starts_with("refs/") || *name == "HEAD")?;
    is_id.then(|| (name.to_owned(), id.to_owned()))
}

#[cfg(test)]
mod cases {
    use super::*;

    const ID: &str = "0123456789012345678901234567890123456789";

    fn packed(line: &str) -> String {
        format!("{:04x}{line}", line.len() + 4)
    }

    #[test]
    fn the_request_is_one_command_with_one_prefix() {
        let expected = b"0014command=ls-refs\n0001001cref-prefix refs/heads/m\n0000";
        assert_eq!(request("refs/heads/m"), expected);
    }

    #[test]
    fn only_a_whole_v2_answer_is_understood() {
        let check = |body: String, expected: Option<&[&str]>| match (parse(body.as_bytes()), expected) {
            (Listing::Refs(refs), Some(names)) => {
                assert_eq!(refs.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), names, "{body}");
            }
            (Listing::NotUnderstood, None) => {}
            (found, expected) => panic!("{body}: {found:?} instead of {expected:?}"),
        };
        let main = packed(&format!("{ID} refs/heads/main\n"));
        check("0000".to_owned(), Some(&[]));
        check(format!("{main}0000"), Some(&["refs/heads/main"]));
        check(format!("{}0000", packed(&format!("{ID} HEAD symref-target:refs/heads/main\n"))), Some(&["HEAD"]));
        check(format!("{main}{main}0000"), Some(&["refs/heads/main", "refs/heads/main"]));
        check(main.clone(), None);
        check(main[..20].to_owned(), None);
        check(String::new(), None);
        check("0003".to_owned(), None);
        check("+02xabc".to_owned(), None);
        check("fffe".to_owned(), None);
        check(format!("{}0000", packed("ERR no such service")), None);
        check("<html>not found</html>".to_owned(), None);
    }

    #[test]
    fn an_advertisement_is_read_without_its_capabilities() {
        let check = |body: String, expected: Option<&[&str]>| match (parse_advertisement(body.as_bytes()), expected) {
            (Listing::Refs(refs), Some(names)) => {
                assert_eq!(refs.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), names, "{body}");
            }
            (Listing::NotUnderstood, None) => {}
            (found, expected) => panic!("{body}: {found:?} instead of {expected:?}"),
        };
        let service = format!("{}0000", packed("# service=git-upload-pack\n"));
        let head = packed(&format!("{ID} HEAD\0multi_ack shallow\n"));
        let main = packed(&format!("{ID} refs/heads/main\n"));
        check(format!("{service}{head}{main}0000"), Some(&["HEAD", "refs/heads/main"]));
        check(format!("{service}{}0000", packed(&format!("{ID} capabilities^{{}}\0shallow\n"))), Some(&[]));
        check(format!("{service}{head}"), None);
        check(format!("{ID}\trefs/heads/main\n"), None);
    }
}
