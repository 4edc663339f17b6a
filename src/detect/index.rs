//! Which detections a record may match at all, told from its bytes.
//!
//! Of each detection's [`Need`] the sharpest demand goes into tables, one for each key whose values some
//! demand looks at. A record's candidates are what the tables say of its values; what else those few
//! detections demand is looked at one by one. It only ever over-approximates: where the bytes may hide
//! something, every detection that it could concern stays a candidate.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::evaluate::holds_alone;
use super::further::{self, Further};
use super::need::{Anchor, Demand, Leaf, Need, Reach, Sharpness, is_frequent};
use super::table::{Lately, Table, Texts};
use crate::event::{FieldPath, Keys, Others, Place, Raw, Record, Scalar};
use crate::sigma::Condition;

/// The number of a detection.
pub(super) type Number = u32;

/// An index over the conditions of detections.
#[derive(Debug)]
pub(super) struct Index {
    all: Vec<Number>,
    /// Detections without any demand.
    always: Vec<Number>,
    /// The keys whose values are looked at in every record.
    asked: Asked,
    tables: Vec<Table>,
    texts: Option<Texts>,
    /// Detections whose demand may not be seen because CloudTrail left it out.
    omissible: Vec<Number>,
    /// What else each detection demands.
    further: Further,
    /// Tells its buffers from those of another index.
    identity: Arc<()>,
}

/// Buffers that are used for one record after the other.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    further: further::Buffers,
    /// Where values begin that only parsing can tell, the first of each table.
    unclear: Vec<(usize, usize)>,
    /// Places of fields that must be known exactly, by table.
    exact: Vec<(usize, Place)>,
    /// By table.
    lately: Vec<Lately>,
    owner: Option<Arc<()>>,
}

/// Keys, and what each of them is looked at for.
#[derive(Debug, Default)]
struct Asked {
    keys: Keys,
    uses: Vec<Vec<Use>>,
}

/// What a key is looked at for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Use {
    /// Every ordinary record has it.
    Name,
    /// It may tell that a container was omitted.
    Omission(Omission),
    /// Its values are looked up in the table of this number.
    Table(usize, Reach),
}

/// The number of the first key of all.
const NAME: usize = 0;

/// The members of a container that was omitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Omission {
    Omitted,
    Reason,
}

pub(super) const OMISSIONS: [(&str, Omission); 2] =
    [("omitted", Omission::Omitted), ("reason", Omission::Reason)];

/// By what the index excludes records for a detection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Narrowing {
    /// By the event's name.
    EventName,
    /// By the event's source.
    EventSource,
    /// By the value of another field.
    Field,
    /// By a text that must be in the record.
    Text,
    /// By nothing: the detection looks at every record.
    None,
}

impl Index {
    pub(super) fn new<'c>(conditions: impl Iterator<Item = &'c Condition>) -> Self {
        let mut builder = Builder::default();
        builder.asked.name("eventName", Use::Name);
        let mut needs: Vec<Need> = conditions.map(Need::of).collect();
        spread_crowds(&mut needs);
        (0..).zip(needs).for_each(|(number, need)| builder.add(number, need));
        builder.build()
    }

    pub(super) fn keys(&self) -> &Keys {
        &self.asked.keys
    }

    /// Fills in the detections that this record may match, in ascending order.
    pub(super) fn candidates(&self, record: Record<'_>, buffers: &mut Buffers, candidates: &mut Vec<Number>) {
        candidates.clear();
        buffers.belong_to(self);
        if self.gather(record, buffers, candidates).is_none() {
            return candidates.clone_from(&self.all);
        }
        if candidates.is_empty() {
            return;
        }
        candidates.sort_unstable();
        candidates.dedup();
        self.further.narrow(record, &mut buffers.further, candidates);
    }

    /// What the sharpest demands leave; none if the record must be looked at in full.
    fn gather(&self, record: Record<'_>, buffers: &mut Buffers, candidates: &mut Vec<Number>) -> Option<()> {
        let Buffers { unclear, exact, lately, .. } = buffers;
        let Record { bytes: record, seen } = record;
        let places = seen.places().ok()?;
        unclear.clear();
        exact.clear();
        candidates.extend(&self.always);
        let (mut named, mut omitted) = (false, false);
        for place in places {
            if !place.is_promising {
                named |= place.key == NAME && !place.is_prefixed;
                continue;
            }
            let value = place.value(record);
            for what in &self.asked.uses[place.key] {
                match (*what, value) {
                    // It is the name of another field.
                    (Use::Name | Use::Table(_, Reach::Exact), _) if place.is_prefixed => {}
                    (Use::Name, _) => named = true,
                    (Use::Omission(omission), _) => omitted |= omission.may_be_told(value),
                    (Use::Table(table, Reach::Exact), _) => exact.push((table, *place)),
                    (Use::Table(table, Reach::Loose), Raw::Other(rest)) => {
                        begin_earlier(unclear, table, record.len() - rest.len());
                    }
                    (Use::Table(table, Reach::Loose), _) => {
                        self.tables[table].look_up(value, &mut lately[table], candidates);
                    }
                }
            }
        }
        // An ordinary record has a name. One that has none is looked at in full.
        named.then_some(())?;
        if omitted {
            candidates.extend(&self.omissible);
        }
        if let Some(texts) = &self.texts {
            texts.search(record, candidates);
        }
        for &(table, begin) in &*unclear {
            self.tables[table].look_up_unclear(&record[begin..], candidates);
        }
        for (number, table) in self.tables.iter().enumerate().filter(|(_, table)| table.is_exact()) {
            let places = exact.iter().filter(|(table, _)| *table == number).map(|(_, place)| place);
            match Known::of(places, record) {
                Known::Absent => table.look_up_absent(candidates),
                Known::Value(Raw::Other(rest)) => table.look_up_unclear(rest, candidates),
                Known::Value(value) => table.look_up(value, &mut lately[number], candidates),
                Known::Not => table.every(candidates),
            }
        }
        Some(())
    }

    /// How the index narrows a detection, for people who write rules.
    pub(super) fn narrowing(condition: &Condition) -> Narrowing {
        match Need::of(condition).0.first().map(Demand::sharpness) {
            Some(Sharpness::EventName | Sharpness::EventNames) => Narrowing::EventName,
            Some(Sharpness::EventSource) => Narrowing::EventSource,
            Some(Sharpness::Anywhere) => Narrowing::Text,
            Some(_) => Narrowing::Field,
            None => Narrowing::None,
        }
    }
}

/// Detections that may share a frequent name of an event before their other demands come first.
const CROWD: usize = 4;
/// Where many detections ask for the same frequent name, those that also ask for a text of another field are better
/// found by that.
fn spread_crowds(needs: &mut [Need]) {
    let mut crowds: HashMap<String, usize> = HashMap::new();
    let named = |need: &Need| need.0.first().is_some_and(|demand| demand.sharpness() == Sharpness::EventName);
    for need in needs.iter().filter(|need| named(need)) {
        need.0[0].words().for_each(|name| *crowds.entry(name.into_owned()).or_default() += 1);
    }
    for need in needs.iter_mut().filter(|need| named(need)) {
        let crowded = need.0[0].words().any(|name| is_frequent(&name) && crowds[&*name] > CROWD);
        let other = need.0.iter().position(|demand| {
            matches!(demand.sharpness(), Sharpness::Words | Sharpness::Pattern) && demand.field().is_some()
        });
        if let Some(other) = other.filter(|_| crowded) {
            need.0.swap(0, other);
        }
    }
}

impl Asked {
    fn path(&mut self, path: &FieldPath, what: Use) {
        let key = self.keys.add(path);
        self.note(key, what);
    }

    fn name(&mut self, name: &str, what: Use) {
        let key = self.keys.name(name);
        self.note(key, what);
    }

    fn omissions(&mut self) {
        OMISSIONS.iter().for_each(|(name, omission)| self.name(name, Use::Omission(*omission)));
    }

    /// Has the keys say of which values nothing follows.
    fn limit_values(&mut self, tables: &[Table]) {
        for (key, uses) in self.uses.iter().enumerate() {
            let tables = uses.iter().filter(|what| **what != Use::Name).map(|what| match *what {
                Use::Table(table, _) => tables[table].beginnings(),
                Use::Name | Use::Omission(_) => None,
            });
            let words: Option<Vec<_>> = tables.collect();
            let others = if uses.contains(&Use::Name) { Others::Noted } else { Others::Dropped };
            if let Some(words) = words {
                let words: Vec<&[u8]> = words.into_iter().flatten().collect();
                self.keys.limit_values(key, &words, others);
            }
        }
    }

    fn note(&mut self, key: usize, what: Use) {
        if key == self.uses.len() {
            self.uses.push(Vec::new());
        }
        if !self.uses[key].contains(&what) {
            self.uses[key].push(what);
        }
    }
}

/// Notes where an unclear value begins: what is searched for in the rest of the record is searched for once.
fn begin_earlier(unclear: &mut Vec<(usize, usize)>, table: usize, begin: usize) {
    match unclear.iter_mut().find(|(of, _)| *of == table) {
        Some((_, first)) => *first = begin.min(*first),
        None => unclear.push((table, begin)),
    }
}

impl Buffers {
    /// What was remembered of another index is forgotten.
    fn belong_to(&mut self, index: &Index) {
        if !self.owner.as_ref().is_some_and(|owner| Arc::ptr_eq(owner, &index.identity)) {
            self.owner = Some(Arc::clone(&index.identity));
            self.lately = index.tables.iter().map(|_| Lately::default()).collect();
            self.further = index.further.buffers();
        }
    }
}

impl Omission {
    pub(super) fn may_be_told(self, value: Raw<'_>) -> bool {
        match (self, value) {
            (_, Raw::Other(_)) => true,
            (Omission::Omitted, Raw::Text(text) | Raw::Literal(text)) => text == b"true",
            (Omission::Reason, Raw::Text(text)) => text.ends_with(b"too large"),
            (Omission::Reason, Raw::Literal(_)) => false,
        }
    }
}

/// What is known of the value of a top-level field.
pub(super) enum Known<'r> {
    Absent,
    Value(Raw<'r>),
    /// The key stands there more than once.
    Not,
}

impl<'r> Known<'r> {
    /// By the places where the key of the field stands by itself.
    pub(super) fn of<'p>(mut places: impl Iterator<Item = &'p Place>, record: &'r [u8]) -> Self {
        match (places.next(), places.next()) {
            (Some(place), None) if place.is_at_top(record) => Known::Value(place.value(record)),
            (_, Some(_)) => Known::Not,
            (_, None) => Known::Absent,
        }
    }
}

impl Leaf {
    /// Whether it may hold for a field with this value, or without any.
    pub(super) fn may_hold(&self, value: Option<Raw<'_>>) -> bool {
        let scalar = match value {
            None => None,
            Some(Raw::Other(_)) => return true,
            Some(Raw::Text(text)) => str::from_utf8(text).ok().map(Scalar::text),
            Some(Raw::Literal(literal)) => str::from_utf8(literal).ok().map(Scalar::literal),
        };
        holds_alone(&self.test, scalar.as_ref().map(Scalar::value)) != self.negated
    }
}

/// Gathers what goes into an index.
#[derive(Debug, Default)]
struct Builder {
    all: Vec<Number>,
    always: Vec<Number>,
    omissible: Vec<Number>,
    asked: Asked,
    /// By the last key of the field.
    tables: BTreeMap<(String, Reach), usize>,
    leaves: Vec<(Reach, Vec<(Number, Leaf)>)>,
    texts: HashMap<String, Vec<Number>>,
    further: further::Builder,
}

impl Builder {
    /// Adds a detection by its need, whose demands come with the sharpest first.
    fn add(&mut self, number: Number, need: Need) {
        let mut demands = need.0.into_iter();
        self.all.push(number);
        match demands.next() {
            Some(Demand(anchors)) => anchors.into_iter().for_each(|anchor| self.anchor(number, anchor)),
            None => self.always.push(number),
        }
        self.further.add(demands);
    }

    fn anchor(&mut self, number: Number, anchor: Anchor) {
        if anchor.may_be_omitted() {
            self.omissible.push(number);
        }
        match anchor {
            Anchor::Anywhere(texts) => {
                texts.into_iter().for_each(|text| self.texts.entry(text).or_default().push(number));
            }
            Anchor::Field { path, reach, leaf } => {
                let last = path.last_keys().next().expect("every path has a segment").to_owned();
                let next = self.leaves.len();
                let table = *self.tables.entry((last, reach)).or_insert(next);
                if table == next {
                    self.leaves.push((reach, Vec::new()));
                }
                self.asked.path(&path, Use::Table(table, reach));
                self.leaves[table].1.push((number, leaf));
            }
        }
    }

    fn build(mut self) -> Index {
        if !self.omissible.is_empty() {
            self.asked.omissions();
        }
        let tables: Vec<Table> =
            self.leaves.into_iter().map(|(reach, leaves)| Table::new(reach, leaves)).collect();
        self.asked.limit_values(&tables);
        Index {
            all: self.all,
            always: self.always,
            asked: self.asked,
            tables,
            texts: Texts::new(self.texts),
            omissible: self.omissible,
            further: self.further.build(),
            identity: Arc::default(),
        }
    }
}
