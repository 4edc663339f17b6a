//! CloudTrail objects, made up: the same seed gives the same bytes on every machine.
//!
//! Mixture, sizes and repetition are those of real logs: mostly reads, by roles' sessions and services, names
//! that come again and again beside ids that never do, a gzip ratio of 6 to 8. Ordinary records raise no alert
//! of the pack, telling ones raise one each.

mod calls;
mod cast;
mod company;
mod dice;
mod estate;
mod record;
mod template;

use libdeflater::{CompressionLvl, Compressor};

pub use company::{ACCOUNTS as COMPANY, Company};
pub use record::Sort;

use cast::Cast;
use dice::BASE64;
use estate::{ACCOUNTS, Estate, REGIONS};
use record::Author;
use template::{Moment, Scene};

pub use dice::Dice;

/// 2026-03-01T00:00:00Z, when the first object begins.
const START: i64 = 1_772_323_200;
/// Seconds that an object covers.
const SPAN: i64 = 300;

/// The key and the content of an object of this many records, the first of which raises an alert.
#[must_use]
pub fn object(seed: u64, number: usize, records: usize) -> (String, Vec<u8>) {
    let (mut mill, mut inflated, mut packed) = (Mill::new(seed), Vec::new(), Vec::new());
    let key = mill.begin(number, &mut inflated);
    for place in 0..records {
        mill.record(if place == 0 { Sort::Telling } else { Sort::Ordinary }, &mut inflated);
    }
    Mill::end(&mut inflated);
    Press::default().pack(&inflated, &mut packed);
    (key, packed)
}

/// Compresses as CloudTrail does, to one gzip member.
pub struct Press(Compressor);

impl Default for Press {
    fn default() -> Self {
        Self(Compressor::new(CompressionLvl::default()))
    }
}

impl Press {
    /// Replaces what `packed` holds.
    pub fn pack(&mut self, inflated: &[u8], packed: &mut Vec<u8>) {
        packed.resize(self.0.gzip_compress_bound(inflated.len()), 0);
        let length = self.0.gzip_compress(inflated, packed).expect("the bound was asked for");
        packed.truncate(length);
    }
}

/// Writes one object after the other.
pub struct Mill {
    seed: u64,
    author: Author,
    estates: Vec<Estate>,
    /// The casts of the hours last needed, one for each account.
    casts: Vec<Option<(String, Cast)>>,
    /// What chance decides in the object that has begun.
    pub dice: Dice,
    account: usize,
    region: &'static str,
    minute: usize,
    records: usize,
}

impl Mill {
    pub fn new(seed: u64) -> Self {
        let estate = |(number, account)| Estate::new(seed, account, number);
        Self {
            seed,
            author: Author::new(),
            estates: (0..).zip(ACCOUNTS).map(estate).collect(),
            casts: ACCOUNTS.map(|_| None).into(),
            dice: Dice::new(seed, 0),
            account: 0,
            region: REGIONS[0],
            minute: 0,
            records: 0,
        }
    }

    /// Begins the object of this number; answers with its key.
    pub fn begin(&mut self, number: usize, out: &mut Vec<u8>) -> String {
        self.dice = Dice::new(self.seed, number as u64);
        self.account = number % ACCOUNTS.len();
        self.region = REGIONS[number / ACCOUNTS.len() % REGIONS.len()];
        let slot = i64::try_from(number / (ACCOUNTS.len() * REGIONS.len())).expect("objects are countable");
        let begins = jiff::Timestamp::from_second(START + slot * SPAN).expect("the date is not far");
        let hour = begins.strftime("%Y-%m-%dT%H").to_string();
        self.minute = usize::try_from(slot % (3600 / SPAN) * (SPAN / 60)).expect("below an hour");
        self.records = 0;
        let cast = &mut self.casts[self.account];
        if cast.as_ref().is_none_or(|(of, _)| *of != hour) {
            // Whoever begins an hour, its cast is the same.
            let mut dice = Dice::new(self.seed ^ slot_hour(slot), u64::MAX / 3 + self.account as u64);
            *cast = Some((hour.clone(), Cast::new(&self.estates[self.account], &hour, &mut dice)));
        }
        out.extend_from_slice(br#"{"Records":["#);
        let delivered = jiff::Timestamp::from_second(START + (slot + 1) * SPAN).expect("the date is not far");
        self.key(delivered)
    }

    fn key(&mut self, delivered: jiff::Timestamp) -> String {
        let (account, region) = (ACCOUNTS[self.account], self.region);
        let (day, minute) = (delivered.strftime("%Y/%m/%d"), delivered.strftime("%Y%m%dT%H%MZ"));
        let name = self.dice.word(BASE64, 16).replace(['+', '/'], "x");
        format!(
            "AWSLogs/{account}/CloudTrail/{region}/{day}/{account}_CloudTrail_{region}_{minute}_{name}.json.gz"
        )
    }

    /// Adds a record.
    pub fn record(&mut self, sort: Sort, out: &mut Vec<u8>) {
        if self.records > 0 {
            out.push(b',');
        }
        self.records += 1;
        let (hour, cast) = self.casts[self.account].as_ref().expect("an object has begun");
        let (estate, region, minute) = (&self.estates[self.account], self.region, self.minute);
        let scene = Scene { estate, region, hour, moment: Moment::Within(minute), own: "", neighbour: "" };
        self.author.write(sort, cast, &scene, &mut self.dice, out);
    }

    /// Ends the object.
    pub fn end(out: &mut Vec<u8>) {
        out.extend_from_slice(b"]}");
    }
}

/// The number of a slot's hour.
fn slot_hour(slot: i64) -> u64 {
    (slot / (3600 / SPAN)).unsigned_abs()
}
