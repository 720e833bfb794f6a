//! Reads values out of a tree, by the shapes.
//!
//! Enters: nodes, and the shape that they must have. Leaves: values; what is wrong goes to the sink with line, column
//! and field, and the reader goes on, so that one look shows every mistake. Whoever reads a document asks the sink at
//! the end whether anything was wrong: until then a missing value is `None`.

use super::nearest::did_you_mean;
use super::problem::{Position, Sink, shown};
use super::rule::broken;
use super::scalar::{self, DURATION_MAX, Resolved, resolve};
use super::shape::{Field, Kind, Rule, Shape};
use super::tree::{Content, Entry, Node, Scalar};
use crate::model::{Millis, Replicas};

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

    /// The value of a field, of whatever shape.
    pub(super) fn entry(&self, name: &str) -> Option<&'a Entry> {
        let Content::Mapping(entries) = &self.node.content else { return None };
        entries.iter().find(|entry| entry.key == name)
    }

    /// Text by name, freely named; what is not that is reported.
    pub(super) fn texts_by_name(&self, sink: &mut Sink<'_>) -> Vec<(&'a Entry, &'a str)> {
        let Content::Mapping(entries) = &self.node.content else {
            self.report(sink, format!("is {}, a mapping is needed", self.what()), "write one `key: value` per line");
            return Vec::new();
        };
        let entries = self.within_limit(entries, sink);
        let mut texts = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            let place = Place { node: &entry.value, field: format!("{}.{}", self.field, shown(&entry.key)) };
            if entries[..index].iter().any(|earlier| earlier.key == entry.key) {
                sink.report(entry.key_at, &place.field, "stands twice", "remove one of them");
            }
            let Some(scalar) = place.scalar("text", sink) else { continue };
            if resolve(scalar) == Resolved::Text {
                texts.push((entry, scalar.text.as_str()));
            } else {
                place.report(sink, format!("is {}, text is needed", place.what()), "quote it");
            }
        }
        texts
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
    demand: Demand,
    entries: &'a [Entry],
}

/// Which of a shape's required fields must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Demand {
    /// Each of them.
    All,
    /// None of them, here and below, lists apart: others add what is missing.
    None,
    /// All but `version`, which is written elsewhere.
    AllButVersion,
}

impl<'a> Mapping<'a> {
    /// Opens a mapping: reports fields that repeat, that the shape does not have, and required ones that are missing.
    pub(super) fn open(place: &Place<'a>, shape: &'static Shape, sink: &mut Sink<'_>) -> Option<Self> {
        Self::open_with(place, shape, Demand::All, sink)
    }

    fn open_with(place: &Place<'a>, shape: &'static Shape, demand: Demand, sink: &mut Sink<'_>) -> Option<Self> {
        let Content::Mapping(entries) = &place.node.content else {
            let names: Vec<_> = shape.fields.iter().map(|field| field.name).collect();
            let message = format!("is {}, a mapping is needed", place.what());
            place.report(sink, message, format!("its fields are {}", names.join(", ")));
            return None;
        };
        let entries = place.within_limit(entries, sink);
        let mapping = Self { at: place.node.at, field: place.field.clone(), shape, demand, entries };
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
        let is_demanded = |field: &&Field| match demand {
            Demand::All => field.is_required,
            Demand::None => false,
            Demand::AllButVersion => field.is_required && field.name != "version",
        };
        for field in shape.fields.iter().filter(is_demanded) {
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

    /// The path of the mapping.
    pub(super) fn path_of(&self) -> &str {
        &self.field
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
        let place = self.get(name)?;
        let has_base = || place.entry("base").is_some();
        match self.kind(name) {
            Kind::Mapping(shape) | Kind::Plan(shape) => self.below(&place, shape, sink),
            Kind::Overlay(shape) | Kind::Template(shape) if has_base() => {
                Self::open_with(&place, shape, Demand::None, sink)
            }
            Kind::Overlay(shape) => Self::open(&place, shape, sink),
            Kind::Template(shape) => Self::open_with(&place, shape, Demand::AllButVersion, sink),
            Kind::Partial(shape) => Self::open_with(&place, shape, Demand::None, sink),
            Kind::Text(_)
            | Kind::Words(_)
            | Kind::Whole(..)
            | Kind::Number
            | Kind::Boolean
            | Kind::Duration(_)
            | Kind::Replicas
            | Kind::Labels
            | Kind::Free
            | Kind::List(..) => unreachable!("{name} is no mapping"),
        }
    }

    /// A mapping below this one, which lacks what this one may lack.
    pub(super) fn below(&self, place: &Place<'a>, shape: &'static Shape, sink: &mut Sink<'_>) -> Option<Mapping<'a>> {
        let demand = if self.demand == Demand::None { Demand::None } else { Demand::All };
        Self::open_with(place, shape, demand, sink)
    }

    /// Whether it may lack required fields, so that nothing can be said of what hangs together.
    pub(super) fn is_partial(&self) -> bool {
        self.demand == Demand::None
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
        if let Some(place) = self.get(name) {
            place.texts_by_name(sink);
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
