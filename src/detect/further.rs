//! What detections demand beside their sharpest demand, looked at one by one in the records that come so far.
//!
//! Many detections ask the same few fields. In each record a field is found once, whoever asks first, by what is known
//! of the record's keys from the pass that split it; and what a test said of a value lately is remembered. Like the
//! index, it only ever over-approximates.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::index::{Known, Number, OMISSIONS};
use super::memo::Memo;
use super::need::{Anchor, Demand, Leaf, Reach};
use crate::event::{Ends, FieldPath, Keys, Place, Raw, Record, Sightings};

/// The further demands of the detections of an index.
#[derive(Debug, Default)]
pub(super) struct Further {
    /// By detection.
    looks: Vec<Vec<Look>>,
    fields: Vec<Field>,
    /// The keys by which a record tells that a container was omitted.
    omissions: Keys,
}

/// A demand, all of whose anchors ask for one field.
#[derive(Debug)]
struct Look {
    field: usize,
    /// Its number among those of the field.
    number: usize,
    /// Whether what it asks for may stand in a container that was omitted.
    may_be_omitted: bool,
}

/// A field, by its last key, and what is asked of it.
#[derive(Debug)]
struct Field {
    reach: Reach,
    keys: Keys,
    /// By number of a look: one of the leaves must hold.
    leaves: Vec<Vec<Leaf>>,
}

/// Buffers that are used for one record after the other.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    ends: Ends,
    seen: Sightings,
    /// By field.
    fields: Vec<State>,
    /// The number of the record.
    record: u64,
    omitted: Option<bool>,
}

/// What is known of a field.
#[derive(Debug)]
struct State {
    /// The record about which it is known.
    record: u64,
    found: Found,
    /// Where its values stand.
    places: Vec<Place>,
    memo: Memo<Answers>,
    /// The slot of the memo that has the only value, once that was asked about.
    only: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Absent,
    Values,
    /// It may be there or not, and have any value.
    Unclear,
}

/// What the looks of a field said of a value, a bit each.
#[derive(Debug, Default)]
struct Answers {
    known: Vec<u64>,
    holds: Vec<u64>,
}

/// Anchors that are worth being looked at one by one.
const MOST_LEAVES: usize = 16;
const BITS: usize = u64::BITS as usize;
const SOURCE: &str = "eventSource";

/// Gathers further demands.
#[derive(Debug, Default)]
pub(super) struct Builder {
    further: Further,
    /// By the last key of the field.
    fields: HashMap<(String, Reach), usize>,
}

impl Builder {
    /// Adds those of the next detection.
    pub(super) fn add(&mut self, demands: impl Iterator<Item = Demand>) {
        let looks = demands.filter_map(|demand| self.look(&demand)).collect();
        self.further.looks.push(looks);
    }

    fn look(&mut self, demand: &Demand) -> Option<Look> {
        let (path, reach) = demand.field()?;
        let leaves: Vec<Leaf> = demand.0.iter().filter_map(Anchor::leaf).cloned().collect();
        if leaves.len() > MOST_LEAVES {
            return None;
        }
        let field = self.field(path, reach);
        let looks = &mut self.further.fields[field].leaves;
        looks.push(leaves);
        let may_be_omitted = demand.0.iter().any(Anchor::may_be_omitted);
        Some(Look { field, number: looks.len() - 1, may_be_omitted })
    }

    fn field(&mut self, path: &FieldPath, reach: Reach) -> usize {
        let last = path.last_keys().next().expect("every path has a segment").to_owned();
        let fields = &mut self.further.fields;
        let field = *self.fields.entry((last, reach)).or_insert_with(|| {
            fields.push(Field { reach, keys: Keys::default(), leaves: Vec::new() });
            fields.len() - 1
        });
        fields[field].keys.add(path);
        field
    }

    pub(super) fn build(self) -> Further {
        let mut further = self.further;
        // A field that many ask for is found once for all of them. The event's source comes last: it hardly ever
        // tells apart what has the same name.
        let fields = &further.fields;
        let sources = self.fields.iter().filter(|((name, _), _)| name == SOURCE);
        let sources: Vec<usize> = sources.map(|(_, field)| *field).collect();
        let rank = |look: &Look| (sources.contains(&look.field), Reverse(fields[look.field].leaves.len()));
        further.looks.iter_mut().for_each(|looks| looks.sort_by_key(rank));
        OMISSIONS.iter().for_each(|(name, _)| _ = further.omissions.name(name));
        further
    }
}

impl Further {
    /// Buffers that know nothing yet.
    pub(super) fn buffers(&self) -> Buffers {
        let state = || State {
            record: 0,
            found: Found::Absent,
            places: Vec::new(),
            memo: Memo::default(),
            only: None,
        };
        Buffers { fields: self.fields.iter().map(|_| state()).collect(), ..Buffers::default() }
    }

    /// Keeps those detections among the candidates that a record without escapes may match.
    pub(super) fn narrow(&self, record: Record<'_>, buffers: &mut Buffers, candidates: &mut Vec<Number>) {
        buffers.record += 1;
        buffers.omitted = None;
        buffers.ends.forget();
        candidates.retain(|&number| {
            self.looks[number as usize].iter().all(|look| self.may_hold(look, record, buffers))
        });
    }

    fn may_hold(&self, look: &Look, record: Record<'_>, buffers: &mut Buffers) -> bool {
        let field = &self.fields[look.field];
        let Buffers { ends, seen, fields, record: number, omitted } = buffers;
        let state = &mut fields[look.field];
        if state.record != *number {
            state.record = *number;
            state.find(field, record, ends, seen);
        }
        let holds = match state.found {
            Found::Unclear => return true,
            Found::Absent => field.holds(look.number, None),
            Found::Values => state.holds(field, look.number, record.bytes),
        };
        holds
            || look.may_be_omitted && *omitted.get_or_insert_with(|| self.may_be_omitted(record, ends, seen))
    }

    fn may_be_omitted(&self, record: Record<'_>, ends: &mut Ends, seen: &mut Sightings) -> bool {
        self.omissions.find_again(record, ends, seen);
        let Ok(places) = seen.places() else { return true };
        places.iter().any(|place| OMISSIONS[place.key].1.may_be_told(place.value(record.bytes)))
    }
}

impl Field {
    fn holds(&self, look: usize, value: Option<Raw<'_>>) -> bool {
        self.leaves[look].iter().any(|leaf| leaf.may_hold(value))
    }

    /// As [`Field::holds`] for a value whose answers these are.
    fn holds_for(&self, look: usize, value: Raw<'_>, answers: &mut Answers) -> bool {
        answers.get(look).unwrap_or_else(|| {
            let holds = self.holds(look, Some(value));
            answers.set(look, holds);
            holds
        })
    }
}

impl Answers {
    fn forget(&mut self, looks: usize) {
        [&mut self.known, &mut self.holds].into_iter().for_each(|bits| {
            bits.clear();
            bits.resize(looks.div_ceil(BITS), 0);
        });
    }

    fn get(&self, look: usize) -> Option<bool> {
        let bit = |bits: &[u64]| bits[look / BITS] >> (look % BITS) & 1 == 1;
        bit(&self.known).then(|| bit(&self.holds))
    }

    fn set(&mut self, look: usize, holds: bool) {
        self.known[look / BITS] |= 1 << (look % BITS);
        self.holds[look / BITS] |= u64::from(holds) << (look % BITS);
    }
}

impl State {
    /// Whether a look holds for one of the values.
    fn holds(&mut self, field: &Field, look: usize, record: &[u8]) -> bool {
        let Self { places, memo, only, .. } = self;
        if let Some(holds) = only.and_then(|slot| memo.content(slot).get(look)) {
            return holds;
        }
        places.iter().any(|place| {
            let value = place.value(record);
            let Some((slot, is_new)) = memo.slot(value) else { return field.holds(look, Some(value)) };
            if places.len() == 1 {
                *only = Some(slot);
            }
            let answers = memo.content(slot);
            if is_new {
                answers.forget(field.leaves.len());
            }
            field.holds_for(look, value, answers)
        })
    }

    /// Finds the field in a record that is known to have no escapes in its keys.
    fn find(&mut self, field: &Field, record: Record<'_>, ends: &mut Ends, seen: &mut Sightings) {
        field.keys.find_again(record, ends, seen);
        self.places.clear();
        self.only = None;
        let Ok(places) = seen.places() else {
            self.found = Found::Unclear;
            return;
        };
        let exact = field.reach == Reach::Exact;
        // A longer name is the name of another field.
        self.places.extend(places.iter().filter(|place| !(exact && place.is_prefixed)));
        self.found = match field.reach {
            Reach::Loose => Found::Values,
            Reach::Exact => match Known::of(self.places.iter(), record.bytes) {
                Known::Absent => Found::Absent,
                Known::Value(_) => Found::Values,
                Known::Not => Found::Unclear,
            },
        };
    }
}
