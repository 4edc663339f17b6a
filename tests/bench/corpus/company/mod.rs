//! Ordinary administration of a company of 400 accounts, over some hours of a working day: what must not wake anyone.
//!
//! Beside the ordinary records of the bench, which make the bulk, it has *work*: a pipeline that applies a change, a
//! stack set over many accounts, an autoscaler, a person at the console. Each piece of work is one caller's
//! calls in their order, within minutes. `work.txt` lists them all, with how often each is done.

mod staff;
mod work;

use super::cast::{Cast, Profile};
use super::dice::{BASE64, Dice, HEX};
use super::estate::{Estate, REGIONS};
use super::record::{Author, Sort};
use super::template::{Moment, Scene};
use work::{Step, Work};

/// The accounts of the company.
pub const ACCOUNTS: usize = 400;
/// The accounts where backups, logs and images are kept, and that which manages the others, as `work.txt` names them.
pub(super) const SPECIAL: [(&str, usize); 4] =
    [("management", 0), ("logs", 1), ("backups", 2), ("images", 3)];
/// 2026-03-02T06:00:00Z, a Monday.
const START: i64 = 1_772_431_200;
/// Ordinary records of an account and an hour in the middle.
const ORDINARY: usize = 2_400;
/// Sizes of accounts, in percent of the middle.
const SIZES: [usize; 8] = [20, 40, 60, 80, 100, 130, 170, 200];

/// Writes the company's objects, each of an account and an hour.
pub struct Company {
    seed: u64,
    /// Ordinary records, in percent of a company of this size.
    bulk: usize,
    author: Author,
    work: Vec<Work>,
    estates: Vec<Estate>,
}

impl Company {
    pub fn new(seed: u64, bulk: usize) -> Self {
        let mut dice = Dice::new(seed, u64::MAX / 5);
        let account = |number: usize, dice: &mut Dice| {
            format!("{:012}", 100_000_000_000 + number * 2_000_000_011 + dice.below(1000))
        };
        let accounts: Vec<String> = (0..ACCOUNTS).map(|number| account(number, &mut dice)).collect();
        let estates =
            (0..).zip(&accounts).map(|(number, account)| Estate::new(seed, account, number)).collect();
        Self { seed, bulk, author: Author::new(), work: work::all(), estates }
    }

    /// Appends the object of an account and an hour, both counted from 0; answers with its key and its records.
    pub fn object(&self, account: usize, hour: usize, out: &mut Vec<u8>) -> (String, usize) {
        let mut dice = Dice::new(self.seed, (hour * ACCOUNTS + account) as u64);
        let (begins, text) = hour_of(hour);
        let place = self.place(account, &text);
        let mut page = Page::begin(out);
        let mut cast = Cast::new(place.estate, &text, &mut dice);
        // Nobody here comes from elsewhere each time, or with another key.
        cast.change(Profile::Person, |name, actor| actor.address = staff::office(name));
        cast.change(Profile::User, |name, actor| *actor = staff::user(&place.estate.account, name));
        for _ in 0..ORDINARY * SIZES[account % SIZES.len()] / 100 * self.bulk / 100 {
            let scene = Scene { moment: Moment::Within(dice.below(12) * 5), ..place.scene() };
            self.author.write(Sort::Ordinary, &cast, &scene, &mut dice, page.next());
        }
        for work in &self.work {
            for _ in 0..work.times(account, &mut dice) {
                place.perform(work, &mut dice, &mut page);
            }
        }
        let records = page.end();
        let (day, minute) = (begins.strftime("%Y/%m/%d"), begins.strftime("%Y%m%dT%H%MZ"));
        let name = dice.word(BASE64, 16).replace(['+', '/'], "x");
        let (own, region) = (&place.estate.account, place.region);
        let key = format!(
            "AWSLogs/o-example/{own}/CloudTrail/{region}/{day}/{own}_CloudTrail_{region}_{minute}_{name}.json.gz"
        );
        (key, records)
    }

    /// Appends an object in which each piece of work is done once in this account, be it rare or not; answers with
    /// its records.
    #[allow(dead_code, reason = "a test takes it, the bench does not")]
    pub fn sample(&self, account: usize, out: &mut Vec<u8>) -> usize {
        let mut dice = Dice::new(self.seed, account as u64);
        let (_, text) = hour_of(0);
        let (place, mut page) = (self.place(account, &text), Page::begin(out));
        self.work.iter().for_each(|work| place.perform(work, &mut dice, &mut page));
        page.end()
    }

    fn place<'p>(&'p self, account: usize, hour: &'p str) -> Place<'p> {
        let region = REGIONS[account % REGIONS.len()];
        Place { estate: &self.estates[account], company: &self.estates, region, hour }
    }
}

/// When an hour begins, and what its times begin with.
fn hour_of(hour: usize) -> (jiff::Timestamp, String) {
    let begins = START + 3600 * i64::try_from(hour).expect("hours are few");
    let begins = jiff::Timestamp::from_second(begins).expect("the date is not far");
    (begins, begins.strftime("%Y-%m-%dT%H").to_string())
}

/// The object that is being written.
struct Page<'o> {
    records: usize,
    out: &'o mut Vec<u8>,
}

impl<'o> Page<'o> {
    fn begin(out: &'o mut Vec<u8>) -> Self {
        out.extend_from_slice(br#"{"Records":["#);
        Self { records: 0, out }
    }

    /// How many records it has.
    fn end(self) -> usize {
        self.out.extend_from_slice(b"]}");
        self.records
    }

    /// Where the next record goes.
    fn next(&mut self) -> &mut Vec<u8> {
        if self.records > 0 {
            self.out.push(b',');
        }
        self.records += 1;
        self.out
    }
}

/// Where work is done.
struct Place<'p> {
    estate: &'p Estate,
    company: &'p [Estate],
    region: &'static str,
    hour: &'p str,
}

impl<'p> Place<'p> {
    fn scene(&self) -> Scene<'p> {
        let Self { estate, region, hour, .. } = *self;
        Scene { estate, region, hour, moment: Moment::Within(0), own: "", neighbour: "" }
    }

    /// Does a piece of work once: one caller, one thing that it is about, one call after the other.
    fn perform(&self, work: &Work, dice: &mut Dice, page: &mut Page<'_>) {
        let own = dice.word(HEX, 8);
        let others = self.company.iter().filter(|other| other.account != self.estate.account);
        let neighbour = others.skip(dice.below(self.company.len() - 1)).map(|other| &other.account).next();
        let neighbour = neighbour.expect("a company has more than one account");
        let actor = staff::actor(work.who, self.estate, &own, self.hour, dice);
        let repeats: Vec<(&Step, usize)> = work.steps.iter().map(|step| (step, step.times(dice))).collect();
        let calls: usize = repeats.iter().map(|(_, times)| times).sum();
        // As fast as a program calls, and never beyond the hour.
        let pace = (work.seconds / calls.max(1)).clamp(0, 40);
        let mut second = dice.below(3600 - (pace * calls).min(3500));
        for (step, times) in repeats {
            for _ in 0..times {
                let region = step.region.unwrap_or(self.region);
                let moment = Moment::At(second.min(3599));
                let scene = Scene { region, moment, own: &own, neighbour, ..self.scene() };
                step.template.write(&scene, &actor, dice, page.next());
                second += dice.below(pace + 1) + pace / 2;
            }
        }
    }
}
