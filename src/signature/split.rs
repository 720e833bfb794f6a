//! A raw commit or tag -> what was signed, the signature, and when the object says it was made.
//!
//! Splits as Git does: a commit's signature is the header `gpgsig` (in a repository of SHA-256 `gpgsig-sha256`), whose further
//! lines begin with a space; the signature of the other hash is cut out as well. A tag's signature is what begins at the last
//! line that opens one. Where Git would take several signatures of one kind together, we refuse.

use jiff::Timestamp;

/// How a line begins that opens a signature, for Git.
const OPENINGS: &[&[u8]] = &[
    b"-----BEGIN PGP SIGNATURE-----",
    b"-----BEGIN PGP MESSAGE-----",
    b"-----BEGIN SSH SIGNATURE-----",
    b"-----BEGIN SIGNED MESSAGE-----",
];

/// An object, taken apart.
#[derive(Debug)]
pub(super) struct Split {
    /// The bytes that were signed.
    pub(super) payload: Vec<u8>,
    /// The signature with its armor.
    pub(super) signature: Vec<u8>,
    /// When the object says it was made: by its committer, or tagger.
    pub(super) time: Option<Timestamp>,
}

/// Takes a commit apart; nothing when it is not signed.
pub(super) fn commit(raw: &[u8]) -> Result<Option<Split>, &'static str> {
    let own: &[u8] = match header(raw, b"tree ").map(<[u8]>::len) {
        Some(40) => b"gpgsig ",
        Some(64) => b"gpgsig-sha256 ",
        Some(_) | None => return Err("the object does not begin as a commit does"),
    };
    let (payload, signature) = without_signatures(raw, own)?;
    let time = time(&payload, b"committer ");
    Ok(signature.map(|signature| Split { payload, signature, time }))
}

/// Takes a tag apart; nothing when it is not signed.
pub(super) fn tag(raw: &[u8]) -> Result<Option<Split>, &'static str> {
    if header(raw, b"object ").is_none() {
        return Err("the object does not begin as a tag does");
    }
    let mut begin = None;
    let mut at = 0;
    for line in raw.split_inclusive(|byte| *byte == b'\n') {
        if OPENINGS.iter().any(|opening| line.starts_with(opening)) {
            begin = Some(at);
        }
        at += line.len();
    }
    let Some(begin) = begin else { return Ok(None) };
    // No header is a signature of ours: all that look so are cut out.
    let (payload, _) = without_signatures(&raw[..begin], b"\n")?;
    let time = time(&payload, b"tagger ");
    Ok(Some(Split { payload, signature: raw[begin..].to_vec(), time }))
}

/// The first line, when it begins so.
fn header<'a>(raw: &'a [u8], begins: &[u8]) -> Option<&'a [u8]> {
    raw.split(|byte| *byte == b'\n').next()?.strip_prefix(begins)
}

/// Cuts headers with signatures out, and returns the one called `own`.
fn without_signatures(raw: &[u8], own: &[u8]) -> Result<(Vec<u8>, Option<Vec<u8>>), &'static str> {
    enum Within {
        Own,
        Other,
        None,
    }
    let (mut payload, mut signature, mut within) = (Vec::with_capacity(raw.len()), None::<Vec<u8>>, Within::None);
    let mut at = 0;
    for line in raw.split_inclusive(|byte| *byte == b'\n') {
        if line == b"\n" {
            payload.extend_from_slice(&raw[at..]);
            break;
        }
        at += line.len();
        if let Some(first) = line.strip_prefix(own) {
            if signature.is_some() {
                return Err("the commit has two of them; sign it anew");
            }
            signature = Some(first.to_vec());
            within = Within::Own;
        } else if line.starts_with(b"gpgsig") {
            within = Within::Other;
        } else if !line.starts_with(b" ") {
            within = Within::None;
        } else if let (Within::Own, Some(signature)) = (&within, &mut signature) {
            signature.extend_from_slice(&line[1..]);
        }
        match within {
            Within::Own | Within::Other => {}
            Within::None => payload.extend_from_slice(line),
        }
    }
    Ok((payload, signature))
}

/// The time in `committer Ada <ada@example.com> 1700000000 +0100`.
fn time(payload: &[u8], begins: &[u8]) -> Option<Timestamp> {
    let headers = payload.split(|byte| *byte == b'\n').take_while(|line| !line.is_empty());
    let line = headers.into_iter().find_map(|line| line.strip_prefix(begins))?;
    let after_name = line.rsplit(|byte| *byte == b'>').next()?;
    let seconds = std::str::from_utf8(after_name).ok()?.split_whitespace().next()?.parse().ok()?;
    Timestamp::from_second(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: &str = "tree 0123456789012345678901234567890123456789\n";
    const REST: &str = "author A <a@b> 1700000000 +0100\ncommitter A> <a@b> 1700000001 +0100\n";

    fn split(raw: &str) -> Option<(String, String)> {
        let split = commit(raw.as_bytes()).unwrap()?;
        assert_eq!(split.time, Timestamp::from_second(1_700_000_001).ok());
        Some((String::from_utf8(split.payload).unwrap(), String::from_utf8(split.signature).unwrap()))
    }

    #[test]
    fn a_commit_is_split_as_git_splits_it() {
        let body = "\nsubject\n\ngpgsig not a header\n continued\n";
        let signed = format!("{TREE}{REST}gpgsig one\n two\n \n three\nencoding utf-8\n{body}");
        let payload = format!("{TREE}{REST}encoding utf-8\n{body}");
        assert_eq!(split(&signed), Some((payload, "one\ntwo\n\nthree\n".to_owned())));
        assert_eq!(split(&format!("{TREE}{REST}{body}")), None);
    }

    #[test]
    fn the_signature_of_the_other_hash_is_cut_out() {
        let both = format!("{TREE}{REST}gpgsig-sha256 other\n more\ngpgsig own\n{}", "\nsubject\n");
        assert_eq!(split(&both), Some((format!("{TREE}{REST}\nsubject\n"), "own\n".to_owned())));
        let other = format!("{TREE}{REST}gpgsig-sha256 other\n more\n\nsubject\n");
        assert_eq!(split(&other), None);
        let long = TREE.replace('\n', "012345678901234567890123\n");
        let own = format!("{long}{REST}gpgsig other\ngpgsig-sha256 own\n\nsubject\n");
        assert_eq!(split(&own), Some((format!("{long}{REST}\nsubject\n"), "own\n".to_owned())));
    }

    #[test]
    fn two_signatures_are_refused() {
        let two = format!("{TREE}{REST}gpgsig one\ngpgsig two\n\nsubject\n");
        assert!(commit(two.as_bytes()).unwrap_err().contains("two"));
        for no_commit in ["", "\n", "gpgsig one\ntree 01\n", "parent 01\n", "tree 01\n"] {
            assert!(commit(no_commit.as_bytes()).is_err(), "{no_commit}");
        }
    }

    #[test]
    fn a_tag_is_split_at_the_last_opening() {
        let head = "object 01\ntype commit\ntag v1\ntagger A <a@b> 1700000001 +0000\n";
        let quoted = "\n-----BEGIN PGP SIGNATURE-----\nquoted\n";
        let raw = format!("{head}{quoted}-----BEGIN SSH SIGNATURE-----\nx\n");
        let found = tag(raw.as_bytes()).unwrap().unwrap();
        assert_eq!(found.payload, format!("{head}{quoted}").into_bytes());
        assert_eq!(found.signature, b"-----BEGIN SSH SIGNATURE-----\nx\n");
        assert_eq!(found.time, Timestamp::from_second(1_700_000_001).ok());
        assert!(tag(format!("{head}\nmessage\n").as_bytes()).unwrap().is_none());
    }
}
