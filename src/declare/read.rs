//! Reads values out of a tree, by the shapes.
//!
//! Enters: nodes, and the shape that they must have. Leaves: values; what is wrong goes to the sink with line, column
//! and field, and the reader goes on, so that one look shows every mistake. Whoever reads a document asks the sink at
//! the end whether anything was wrong: until then a missing value is `None`.

use super::nearest::did_you_mean;
use super::problem::{Position, Sink, shown};
use super::scalar::{self, DURATION_MAX, Resolved, resolve};
use super::shape::{Field, Kind, PLACEHOLDERS, QUERY_BYTES_MAX, Rule, Shape};
use super::source::{is_chart_repository, is_exact_version};
use super::tree::{Content, Entry, Node, Scalar};
use crate::expression::Expression;
use crate::model::{HealthRule, Millis, Replicas};

/// Entries of one mapping: our largest has 11, and a thousand labels are nobody's.
const ENTRIES_MAX: usize = 1000;

/// A value and the path of the field that holds it.
#[derive(Clone, Debug)]
pub(super) struct Place<'a> {
    pub(super) node: &'a Node,
    pub(super) field: String,
}

impl<'a> Place<'a> {
    /// Reports a problem with this value.
    pub(super) fn report(&self, sink: &mut Sink<'_>, message: impl Into<String>, hint: impl Into<String>) {
        sink.report(self.node.at, &self.field, message, hint);
    }

    /// The value as a scalar; reports when it is a list or a mapping.
    fn scalar(&self, wanted: &str, sink: &mut Sink<'_>) -> Option<&'a Scalar> {
        if let Content::Scalar(scalar) = &self.node.content {
            return Some(scalar);
        }
        self.report(sink, format!("is {}, {wanted} is needed", self.what()), "");
        None
    }

    /// What the value is, in words.
    fn what(&self) -> &'static str {
        match &self.node.content {
            Content::Sequence(_) => "a list",
            Content::Mapping(_) => "a mapping",
            Content::Scalar(scalar) => match resolve(scalar) {
                Resolved::Null => "empty",
                Resolved::Boolean(_) => "a boolean",
                Resolved::Whole(_) | Resolved::Number(_) | Resolved::Disputed => "a number",
                Resolved::Text => "text",
            },
        }
    }

    /// The value as text, quoted where YAML would read something else, and under the rule.
    pub(super) fn text(&self, rule: Rule, sink: &mut Sink<'_>) -> Option<&'a str> {
        let scalar = self.scalar("text", sink)?;
        let text = scalar.text.as_str();
        match resolve(scalar) {
            Resolved::Null => self.report(sink, "has no value", "write one, or remove the line"),
            Resolved::Boolean(_) | Resolved::Whole(_) | Resolved::Number(_) | Resolved::Disputed => {
                let text = shown(text);
                self.report(
                    sink,
                    format!("`{text}` is {} in YAML, text is needed", self.what()),
                    format!("quote it: \"{text}\""),
                );
            }
            Resolved::Text => match broken(rule, text) {
                None => return Some(text),
                Some((message, hint)) => self.report(sink, message, hint),
            },
        }
        None
    }

    /// The entries of a mapping, cut off and reported where there are too many to compare each with each.
    fn within_limit(&self, entries: &'a [Entry], sink: &mut Sink<'_>) -> &'a [Entry] {
        if entries.len() > ENTRIES_MAX {
            self.report(sink, format!("has {} fields", entries.len()), format!("at most {ENTRIES_MAX} are read"));
        }
        &entries[..entries.len().min(ENTRIES_MAX)]
    }

    /// The items of a list.
    fn items(&self, min: usize, max: usize, sink: &mut Sink<'_>) -> Vec<Place<'a>> {
        let Content::Sequence(items) = &self.node.content else {
            self.report(sink, format!("is {}, a list is needed", self.what()), "start each item with `- `");
            return Vec::new();
        };
        if items.len() < min {
            self.report(sink, "the list is empty", format!("write at least {min}"));
        }
        if items.len() > max {
            self.report(sink, format!("the list has {} items", items.len()), format!("at most {max} are read"));
        }
        let place = |(index, node)| Place { node, field: format!("{}[{index}]", self.field) };
        items.iter().take(max).enumerate().map(place).collect()
    }
}

/// A mapping of ours, its fields known to be known and not to repeat.
#[derive(Debug)]
pub(super) struct Mapping<'a> {
    at: Position,
    field: String,
    shape: &'static Shape,
    entries: &'a [Entry],
}

impl<'a> Mapping<'a> {
    /// Opens a mapping: reports fields that repeat, that the shape does not have, and required ones that are missing.
    pub(super) fn open(place: &Place<'a>, shape: &'static Shape, sink: &mut Sink<'_>) -> Option<Self> {
        let Content::Mapping(entries) = &place.node.content else {
            let names: Vec<_> = shape.fields.iter().map(|field| field.name).collect();
            let message = format!("is {}, a mapping is needed", place.what());
            place.report(sink, message, format!("its fields are {}", names.join(", ")));
            return None;
        };
        let entries = place.within_limit(entries, sink);
        let mapping = Self { at: place.node.at, field: place.field.clone(), shape, entries };
        for (index, entry) in entries.iter().enumerate() {
            let field = mapping.path(&shown(&entry.key));
            if let Some(first) = entries[..index].iter().find(|earlier| earlier.key == entry.key) {
                let message = format!("stands twice; the first is in line {}", first.key_at.line);
                sink.report(entry.key_at, &field, message, "remove one of them");
            } else if shape.field(&entry.key).is_none() {
                sink.report(
                    entry.key_at,
                    &field,
                    format!("unknown field `{}`", shown(&entry.key)),
                    unknown(shape, &entry.key),
                );
            }
        }
        for field in shape.fields.iter().filter(|field| field.is_required) {
            if mapping.entry(field.name).is_none() {
                sink.report(mapping.at, &mapping.path(field.name), format!("`{}` is missing", field.name), field.about);
            }
        }
        Some(mapping)
    }

    /// Whether it was opened by this shape.
    pub(super) fn is(&self, shape: &Shape) -> bool {
        std::ptr::eq(self.shape, shape)
    }

    /// Where the mapping begins.
    pub(super) const fn at(&self) -> Position {
        self.at
    }

    /// The value of a field, when it is there.
    pub(super) fn get(&self, name: &str) -> Option<Place<'a>> {
        debug_assert!(self.shape.field(name).is_some(), "the parser reads a field that the shape lacks: {name}");
        self.entry(name).map(|entry| Place { node: &entry.value, field: self.path(name) })
    }

    /// A mapping below this one.
    pub(super) fn mapping(&self, name: &str, sink: &mut Sink<'_>) -> Option<Mapping<'a>> {
        let (Kind::Mapping(shape) | Kind::Plan(shape)) = self.kind(name) else { unreachable!("{name} is no mapping") };
        Mapping::open(&self.get(name)?, shape, sink)
    }

    /// Text, under the rule of the shape.
    pub(super) fn text(&self, name: &str, sink: &mut Sink<'_>) -> Option<&'a str> {
        let Kind::Text(rule) = self.kind(name) else { unreachable!("{name} is no text") };
        self.get(name)?.text(*rule, sink)
    }

    /// One of the words of the shape, by its position there.
    pub(super) fn word<T: Copy>(&self, name: &str, values: &[T], sink: &mut Sink<'_>) -> Option<T> {
        let Kind::Words(words) = self.kind(name) else { unreachable!("{name} is no word") };
        debug_assert_eq!(words.len(), values.len(), "{name}: a value for each word");
        let place = self.get(name)?;
        let text = place.scalar("a word", sink)?.text.as_str();
        let found = words.iter().position(|word| *word == text).and_then(|index| values.get(index).copied());
        if found.is_none() {
            let choices = words.join(" or ");
            let (message, hint) = if name == "strategy" && text == "blueGreen" {
                let hint = "use rolling with `capacity: surge` and a large wave before the last";
                ("strategy blueGreen is not in this version".to_owned(), hint.to_owned())
            } else if name == "cluster" {
                (format!("cluster `{}` is unknown", shown(text)), "only in-cluster is in this version".to_owned())
            } else {
                let hint = did_you_mean(text, words.iter().copied()).unwrap_or_default();
                (format!("`{}` is not {choices}", shown(text)), hint)
            };
            place.report(sink, message, hint);
        }
        found
    }

    /// A whole number within the shape's bounds.
    pub(super) fn whole(&self, name: &str, sink: &mut Sink<'_>) -> Option<u32> {
        let Kind::Whole(min, max) = *self.kind(name) else { unreachable!("{name} is no whole number") };
        let place = self.get(name)?;
        let scalar = place.scalar("a whole number", sink)?;
        if let Resolved::Whole(number) = resolve(scalar) {
            let number = u32::try_from(number).ok().filter(|number| (min..=max).contains(number));
            if number.is_none() {
                place.report(sink, format!("`{}` is out of range", shown(&scalar.text)), format!("{min} to {max}"));
            }
            return number;
        }
        place.report(sink, format!("is {}, a whole number is needed", place.what()), plainly(scalar));
        None
    }

    /// A finite number.
    pub(super) fn number(&self, name: &str, sink: &mut Sink<'_>) -> Option<f64> {
        let place = self.get(name)?;
        let scalar = place.scalar("a number", sink)?;
        match resolve(scalar) {
            // Thresholds are measurements: 53 bits are more than any metric has.
            Resolved::Whole(number) => return Some(number as f64),
            Resolved::Number(number) if number.is_finite() => return Some(number),
            Resolved::Number(_) => {
                let message = format!("`{}` is no finite number", shown(&scalar.text));
                place.report(sink, message, "leave min or max out where there is no bound");
            }
            Resolved::Null | Resolved::Boolean(_) | Resolved::Disputed | Resolved::Text => {
                place.report(sink, format!("`{}` is no number", shown(&scalar.text)), plainly(scalar));
            }
        }
        None
    }

    /// `true` or `false`.
    pub(super) fn boolean(&self, name: &str, sink: &mut Sink<'_>) -> Option<bool> {
        let place = self.get(name)?;
        let scalar = place.scalar("true or false", sink)?;
        if let Resolved::Boolean(boolean) = resolve(scalar) {
            return Some(boolean);
        }
        let hint = match scalar.text.to_lowercase().as_str() {
            "true" | "yes" | "on" | "y" | "1" => "write true, without quotes",
            "false" | "no" | "off" | "n" | "0" => "write false, without quotes",
            _ => "write true or false",
        };
        place.report(sink, format!("`{}` is neither true nor false", shown(&scalar.text)), hint);
        None
    }

    /// A length of time.
    pub(super) fn duration(&self, name: &str, sink: &mut Sink<'_>) -> Option<Millis> {
        let Kind::Duration(min) = *self.kind(name) else { unreachable!("{name} is no duration") };
        let place = self.get(name)?;
        let scalar = place.scalar("a duration", sink)?;
        let text = shown(&scalar.text);
        match scalar::duration(&scalar.text) {
            None => place.report(sink, format!("`{text}` is no duration"), "write 500ms, 30s, 5m, 1h or 1h30m"),
            Some(duration) if duration.0 < min || duration > DURATION_MAX => {
                let hint = format!("{} to {DURATION_MAX}", Millis(min));
                place.report(sink, format!("`{text}` is out of range"), hint);
            }
            Some(duration) => return Some(duration),
        }
        None
    }

    /// The size of a wave.
    pub(super) fn replicas(&self, name: &str, sink: &mut Sink<'_>) -> Option<Replicas> {
        let place = self.get(name)?;
        let scalar = place.scalar("a count, a share or all", sink)?;
        scalar::replicas(scalar).map_err(|(message, hint)| place.report(sink, message, hint)).ok()
    }

    /// The items of a list, none when the field is not there.
    pub(super) fn items(&self, name: &str, sink: &mut Sink<'_>) -> Vec<Place<'a>> {
        let Kind::List(_, min, max) = *self.kind(name) else { unreachable!("{name} is no list") };
        self.get(name).map(|place| place.items(min, max, sink)).unwrap_or_default()
    }

    /// The mappings of a list.
    pub(super) fn mappings(&self, name: &str, sink: &mut Sink<'_>) -> Vec<Mapping<'a>> {
        let Kind::List(Kind::Mapping(shape), ..) = self.kind(name) else { unreachable!("{name} lists no mappings") };
        let items = self.items(name, sink);
        items.iter().filter_map(|place| Mapping::open(place, shape, sink)).collect()
    }

    /// The texts of a list, each with its place; repeated ones are reported.
    pub(super) fn texts(&self, name: &str, sink: &mut Sink<'_>) -> Vec<(Place<'a>, &'a str)> {
        let Kind::List(Kind::Text(rule), ..) = self.kind(name) else { unreachable!("{name} lists no texts") };
        let mut texts: Vec<(Place<'a>, &'a str)> = Vec::new();
        for place in self.items(name, sink) {
            let Some(text) = place.text(*rule, sink) else { continue };
            if texts.iter().any(|(_, earlier)| *earlier == text) {
                place.report(sink, format!("`{}` stands twice", shown(text)), "remove one of them");
            } else {
                texts.push((place, text));
            }
        }
        texts
    }

    /// Checks that a mapping of text to text is one.
    pub(super) fn check_labels(&self, name: &str, sink: &mut Sink<'_>) {
        let Some(place) = self.get(name) else { return };
        let Content::Mapping(entries) = &place.node.content else {
            place.report(sink, format!("is {}, a mapping is needed", place.what()), "write one `key: value` per line");
            return;
        };
        let entries = place.within_limit(entries, sink);
        for (index, entry) in entries.iter().enumerate() {
            let label = Place { node: &entry.value, field: format!("{}.{}", place.field, shown(&entry.key)) };
            if entries[..index].iter().any(|earlier| earlier.key == entry.key) {
                sink.report(entry.key_at, &label.field, "stands twice", "remove one of them");
            }
            let is_text = label.scalar("text", sink).map(resolve);
            if is_text.is_some_and(|resolved| resolved != Resolved::Text) {
                label.report(sink, format!("is {}, text is needed", label.what()), "quote it");
            }
        }
    }

    fn entry(&self, name: &str) -> Option<&'a Entry> {
        self.entries.iter().find(|entry| entry.key == name)
    }

    fn kind(&self, name: &str) -> &'static Kind {
        let field: Option<&'static Field> = self.shape.field(name);
        &field.expect("the parser reads only fields of the shape").kind
    }

    fn path(&self, name: &str) -> String {
        if self.field.is_empty() { name.to_owned() } else { format!("{}.{name}", self.field) }
    }
}

/// What to do about a field that the shape does not have.
fn unknown(shape: &Shape, key: &str) -> String {
    if key == "<<" {
        return "merge keys are not read; an alias for a whole value is".to_owned();
    }
    if let Some((_, hint)) = shape.foreign.iter().find(|(name, _)| *name == key) {
        return (*hint).to_owned();
    }
    let names = || shape.fields.iter().map(|field| field.name);
    did_you_mean(key, names()).unwrap_or_else(|| format!("its fields are {}", names().collect::<Vec<_>>().join(", ")))
}

/// What to do about a number that is written as something else.
fn plainly(scalar: &Scalar) -> String {
    match resolve(scalar) {
        Resolved::Disputed => "write it in plain digits, without leading zeros, underscores or prefixes".to_owned(),
        Resolved::Text if !scalar.is_plain && scalar.text.parse::<f64>().is_ok() => {
            format!("write it without quotes: {}", shown(&scalar.text))
        }
        Resolved::Null => "write one, or remove the line".to_owned(),
        Resolved::Text | Resolved::Boolean(_) | Resolved::Whole(_) | Resolved::Number(_) => String::new(),
    }
}

/// How `text` breaks `rule`: what is wrong, and what to do.
fn broken(rule: Rule, text: &str) -> Option<(String, String)> {
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
