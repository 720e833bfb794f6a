//! Texts of objects at rest, packed. Objects of Kubernetes say the same things in the same words; what they all say is
//! held once, in `typical.jsonl`: one typical object of each common kind, as an API server of 1.36 writes it. A text of
//! the like takes a fifth of its room, and a few microseconds each way.

use lz4_flex::block::{compress_prepend_size_with_dict, decompress_size_prepended_with_dict};

/// What texts are likely to repeat. LZ4 reaches 64 KiB back, the text itself included.
const TYPICAL: &[u8] = include_bytes!("typical.jsonl");

/// A text, packed. Equal texts are packed alike.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Packed(Box<[u8]>);

impl Packed {
    pub(super) fn new(text: &str) -> Self {
        Self(compress_prepend_size_with_dict(text.as_bytes(), TYPICAL).into_boxed_slice())
    }

    /// The bytes of the text that was packed.
    pub(super) fn text(&self) -> Vec<u8> {
        decompress_size_prepended_with_dict(&self.0, TYPICAL).expect("it was packed here, in memory")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_out_as_it_was() {
        let long = "\u{1f600} {\"metadata\":{}}".repeat(9000);
        for text in ["", "x", r#"{"apiVersion":"apps/v1","kind":"Deployment"}"#, &long] {
            assert_eq!(Packed::new(text).text(), text.as_bytes());
        }
    }

    #[test]
    fn a_typical_object_takes_little() {
        let typical = std::str::from_utf8(TYPICAL).expect("it is JSON");
        for line in typical.lines() {
            serde_json::from_str::<serde_json::Value>(line).expect("each line is an object");
            let packed = Packed::new(line);
            assert!(packed.0.len() * 5 < line.len(), "{} of {}: {line}", packed.0.len(), line.len());
        }
    }
}
