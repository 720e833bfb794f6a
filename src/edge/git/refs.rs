//! Lists of refs as plain bytes: the cheap `ls-refs` of protocol v2, and the advertisement of servers without it.
//!
//! Enters: ref prefixes, the bytes of an answer. Leaves: the bytes of a request, the refs. No I/O.

/// A ref as a server lists it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ref {
    /// Its whole name.
    pub(super) name: String,
    /// What it points at.
    pub(super) id: String,
    /// What an annotated tag points at in the end.
    pub(super) peeled: Option<String>,
    /// The ref that this one stands for: what `HEAD` means.
    pub(super) target: Option<String>,
}

/// The mark that ends a list.
pub(super) const END: &[u8] = b"0000";

/// Asks for the refs below prefixes, with what annotated tags point at, and what `HEAD` stands for.
pub(super) fn request(prefixes: &[&str]) -> Vec<u8> {
    let mut body = packed("command=ls-refs\n");
    body.push_str("0001");
    body.push_str(&packed("peel\n"));
    body.push_str(&packed("symrefs\n"));
    for prefix in prefixes {
        body.push_str(&packed(&format!("ref-prefix {prefix}\n")));
    }
    let mut body = body.into_bytes();
    body.extend_from_slice(END);
    body
}

fn packed(line: &str) -> String {
    format!("{:04x}{line}", line.len() + 4)
}

/// Reads a whole answer to `ls-refs`; `None` when the server does not speak protocol v2, or cut its answer short.
pub(super) fn parse(body: &[u8]) -> Option<Vec<Ref>> {
    let mut refs = Vec::new();
    for line in list(body) {
        refs.push(read_line(line?)?);
    }
    Some(refs)
}

/// Reads a whole advertisement over HTTP: what `info/refs` answers in the first version of the protocol.
pub(super) fn parse_http_advertisement(body: &[u8]) -> Option<Vec<Ref>> {
    let Some((Some(b"# service=git-upload-pack\n" | b"# service=git-upload-pack"), rest)) = packet(body) else {
        return None;
    };
    let (None, body) = packet(rest)? else { return None };
    parse_advertisement(body)
}

/// Reads a whole advertisement: how every server greets in the first version of the protocol.
pub(super) fn parse_advertisement(body: &[u8]) -> Option<Vec<Ref>> {
    let mut refs: Vec<Ref> = Vec::new();
    let mut head = None;
    for line in list(body) {
        // The first line goes on with what the server can do. An empty repository has only that line, under a name that is
        // no ref.
        let mut parts = line?.splitn(2, |byte| *byte == 0);
        let read = read_line(parts.next().unwrap_or_default());
        if let Some(abilities) = parts.next() {
            let abilities = String::from_utf8_lossy(abilities);
            head = abilities.split_whitespace().find_map(|it| it.strip_prefix("symref=HEAD:")).map(ToOwned::to_owned);
        }
        let Some(read) = read else { continue };
        match (read.name.strip_suffix("^{}"), refs.last_mut()) {
            (Some(tag), Some(last)) if last.name == tag => last.peeled = Some(read.id),
            (Some(_), _) => {}
            (None, _) => refs.push(read),
        }
    }
    if let Some(first) = refs.first_mut().filter(|first| first.name == "HEAD") {
        first.target = head;
    }
    Some(refs)
}

/// What a server can do, from the start of its advertisement over HTTP; `None` while its first line is not whole. What it
/// says of its refs among that is left out.
pub(super) fn abilities(body: &[u8]) -> Option<String> {
    let (_, rest) = packet(body)?;
    let (None, rest) = packet(rest)? else { return None };
    let (Some(line), _) = packet(rest)? else { return None };
    let told = line.splitn(2, |byte| *byte == 0).nth(1)?;
    let told = String::from_utf8_lossy(told);
    let abilities: Vec<&str> = told.split_whitespace().filter(|it| !it.starts_with("symref=")).collect();
    Some(abilities.join(" "))
}

/// The advertisement over HTTP of a server that has one ref and these abilities.
pub(super) fn advertisement(name: &str, id: &str, abilities: &str) -> Vec<u8> {
    let mut body = packed("# service=git-upload-pack\n").into_bytes();
    body.extend_from_slice(END);
    body.extend_from_slice(packed(&format!("{id} {name}\0{abilities}\n")).as_bytes());
    body.extend_from_slice(END);
    body
}

/// Whether a request asks only which commits lack their parents in a history of one commit. libgit2 asks that before it says
/// what it has and wants the objects.
pub(super) fn asks_what_is_shallow(body: &[u8]) -> bool {
    body.ends_with(b"000ddeepen 1\n0000")
}

/// The answer to it: the commit at the tip does, if it has any.
pub(super) fn shallow(commit: &str) -> Vec<u8> {
    let mut body = packed(&format!("shallow {commit}")).into_bytes();
    body.extend_from_slice(END);
    body
}

/// Whether a server that greets like this lists refs on request; `None` when it speaks the first version.
pub(super) fn speaks_ls_refs(greeting: &[u8]) -> Option<bool> {
    let mut lines = list(greeting).flatten().map(|line| line.strip_suffix(b"\n").unwrap_or(line));
    let first = lines.next()?;
    (first == b"version 2").then(|| lines.any(|line| line == b"ls-refs" || line.starts_with(b"ls-refs=")))
}

/// How much of a list has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    /// All of it.
    Whole,
    /// Not yet all.
    Partial,
    /// What came is no list.
    Broken,
}

/// Looks for the end of a list, from where the last look ended: at the end `read` stands behind it.
pub(super) fn section(bytes: &[u8], read: &mut usize) -> Section {
    loop {
        let rest = bytes.get(*read..).unwrap_or_default();
        let Some(head) = rest.get(..4) else { return Section::Partial };
        match (length(head), packet(rest)) {
            (None, _) => return Section::Broken,
            (Some(_), None) => return Section::Partial,
            (Some(_), Some((line, after))) => {
                *read = bytes.len() - after.len();
                if line.is_none() {
                    return Section::Whole;
                }
            }
        }
    }
}

/// The lines of a list up to its end mark; one that is none ends a list that was cut short.
fn list(mut body: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    let mut is_over = false;
    std::iter::from_fn(move || {
        if is_over {
            return None;
        }
        match packet(body) {
            Some((Some(line), rest)) => {
                body = rest;
                Some(Some(line))
            }
            Some((None, _)) => {
                is_over = true;
                None
            }
            None => {
                is_over = true;
                Some(None)
            }
        }
    })
}

/// Splits off one packet: its content, or none for the mark that ends a list.
fn packet(body: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let (head, rest) = body.split_at_checked(4)?;
    match length(head)? {
        0 => Some((None, rest)),
        length => rest.split_at_checked(length - 4).map(|(line, rest)| (Some(line), rest)),
    }
}

/// The length that a packet says, its own four digits included; 0 for the mark that ends a list.
fn length(head: &[u8]) -> Option<usize> {
    let digits = std::str::from_utf8(head).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    usize::from_str_radix(digits, 16).ok().filter(|length| *length == 0 || *length >= 4)
}

fn read_line(line: &[u8]) -> Option<Ref> {
    let text = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(line)).into_owned();
    let mut words = text.split(' ');
    let id = words.next().filter(|id| is_id(id))?;
    let name = words.next().filter(|name| name.starts_with("refs/") || *name == "HEAD")?;
    let mut found = Ref { name: name.to_owned(), id: id.to_owned(), ..Ref::default() };
    // Attributes follow the name after a space, which no name contains.
    for attribute in words {
        match attribute.split_once(':') {
            Some(("peeled", id)) if is_id(id) => found.peeled = Some(id.to_owned()),
            Some(("symref-target", name)) => found.target = Some(name.to_owned()),
            Some(_) | None => {}
        }
    }
    Some(found)
}

fn is_id(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod cases {
    use super::*;

    const ID: &str = "0123456789012345678901234567890123456789";
    const PEELED: &str = "1123456789012345678901234567890123456789";

    fn found(name: &str) -> Ref {
        Ref { name: name.to_owned(), id: ID.to_owned(), ..Ref::default() }
    }

    #[test]
    fn the_request_is_one_command_with_its_prefixes() {
        let expected =
            b"0014command=ls-refs\n00010009peel\n000csymrefs\n001cref-prefix refs/heads/m\n0014ref-prefix HEAD\n0000";
        assert_eq!(request(&["refs/heads/m", "HEAD"]), expected);
    }

    #[test]
    fn only_a_whole_v2_answer_is_understood() {
        let check = |body: String, expected: Option<&[Ref]>| {
            assert_eq!(parse(body.as_bytes()).as_deref(), expected, "{body}");
            // However it is cut into parts, the end is found where it is.
            let mut read = 0;
            let found = (0..=body.len()).map(|length| section(&body.as_bytes()[..length], &mut read));
            let is_whole = found.last() == Some(Section::Whole);
            assert!(is_whole || expected.is_none(), "{body}");
            assert!(!is_whole || read == body.len(), "{body}");
        };
        let main = packed(&format!("{ID} refs/heads/main\n"));
        check("0000".to_owned(), Some(&[]));
        check(format!("{main}0000"), Some(&[found("refs/heads/main")]));
        let head = packed(&format!("{ID} HEAD symref-target:refs/heads/main\n"));
        check(format!("{head}0000"), Some(&[Ref { target: Some("refs/heads/main".to_owned()), ..found("HEAD") }]));
        let tag = packed(&format!("{ID} refs/tags/a peeled:{PEELED}\n"));
        check(format!("{tag}0000"), Some(&[Ref { peeled: Some(PEELED.to_owned()), ..found("refs/tags/a") }]));
        check(format!("{main}{main}0000"), Some(&[found("refs/heads/main"), found("refs/heads/main")]));
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
    fn an_advertisement_tells_peeled_tags_and_what_head_stands_for() {
        let check = |body: String, expected: Option<&[Ref]>| {
            assert_eq!(parse_http_advertisement(body.as_bytes()).as_deref(), expected, "{body}");
        };
        let service = format!("{}0000", packed("# service=git-upload-pack\n"));
        let head = packed(&format!("{ID} HEAD\0multi_ack symref=HEAD:refs/heads/main shallow\n"));
        let main = packed(&format!("{ID} refs/heads/main\n"));
        let tag = packed(&format!("{ID} refs/tags/a\n")) + &packed(&format!("{PEELED} refs/tags/a^{{}}\n"));
        let expected = [
            Ref { target: Some("refs/heads/main".to_owned()), ..found("HEAD") },
            found("refs/heads/main"),
            Ref { peeled: Some(PEELED.to_owned()), ..found("refs/tags/a") },
        ];
        check(format!("{service}{head}{main}{tag}0000"), Some(&expected));
        check(format!("{service}{}0000", packed(&format!("{ID} capabilities^{{}}\0shallow\n"))), Some(&[]));
        check(format!("{service}{head}"), None);
        check(format!("{ID}\trefs/heads/main\n"), None);
    }

    #[test]
    fn abilities_are_taken_from_one_advertisement_into_the_next() {
        let service = format!("{}0000", packed("# service=git-upload-pack\n"));
        let head = packed(&format!("{ID} HEAD\0multi_ack symref=HEAD:refs/heads/main shallow agent=git/2\n"));
        let body = format!("{service}{head}");
        assert_eq!(abilities(body.as_bytes()).as_deref(), Some("multi_ack shallow agent=git/2"));
        for length in 0..body.len() {
            assert_eq!(abilities(&body.as_bytes()[..length]), None, "{length}");
        }
        let told = advertisement("refs/heads/main", ID, "multi_ack shallow agent=git/2");
        assert_eq!(parse_http_advertisement(&told).as_deref(), Some(&[found("refs/heads/main")][..]));
        assert_eq!(abilities(&told).as_deref(), Some("multi_ack shallow agent=git/2"));
        assert_eq!(abilities(format!("{service}0000").as_bytes()), None);
        assert_eq!(abilities(b"<html>not found</html>"), None);
    }

    #[test]
    fn a_greeting_says_which_protocol_is_spoken() {
        let check = |lines: &[&str], expected: Option<bool>| {
            let body: String = lines.iter().map(|line| packed(line)).collect();
            assert_eq!(speaks_ls_refs(format!("{body}0000").as_bytes()), expected, "{lines:?}");
        };
        check(&["version 2\n", "agent=git/2\n", "ls-refs=unborn\n"], Some(true));
        check(&["version 2\n", "ls-refs"], Some(true));
        check(&["version 2\n", "fetch=shallow\n"], Some(false));
        check(&[&format!("{ID} refs/heads/main\0shallow\n")], None);
        check(&[], None);
    }
}
