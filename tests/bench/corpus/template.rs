//! Text with gaps, such as `"bucketName":"<bucket>"`: cut once, filled for each record without another look.

use super::cast::Actor;
use super::dice::{BASE32, BASE64, Dice, HEX};
use super::estate::{Estate, Thing};

/// Text and gaps, in their order.
pub(super) struct Template(Vec<Piece>);

enum Piece {
    Text(Box<str>),
    Gap(Gap),
}

#[derive(Clone, Copy)]
enum Gap {
    Identity,
    Caller,
    Address,
    Agent,
    Tail,
    Account,
    Region,
    Time,
    Uuid,
    Hex(usize),
    Base32(usize),
    Base64(usize),
    /// A number below this one.
    Number(usize),
    /// What the work is about.
    Own,
    /// Another account of the same company.
    Neighbour,
    Thing(Thing),
}

/// Where and when something happens.
pub(super) struct Scene<'s> {
    pub(super) estate: &'s Estate,
    pub(super) region: &'static str,
    /// The hour, as times begin: `2026-03-01T10`.
    pub(super) hour: &'s str,
    pub(super) moment: Moment,
    /// What is meant by `<own>`.
    pub(super) own: &'s str,
    /// What is meant by `<neighbour>`.
    pub(super) neighbour: &'s str,
}

/// When within the hour.
#[derive(Clone, Copy)]
pub(super) enum Moment {
    /// At any time within the five minutes from this one on.
    Within(usize),
    /// At this second of the hour.
    At(usize),
}

impl Template {
    /// Cuts a text at its gaps.
    pub(super) fn new(text: &str) -> Self {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, from)) = rest.split_once('<') {
            let (name, after) = from.split_once('>').expect("a gap is closed");
            pieces.push(Piece::Text(before.into()));
            pieces.push(Piece::Gap(Gap::named(name)));
            rest = after;
        }
        pieces.push(Piece::Text(rest.into()));
        Self(pieces)
    }

    /// Writes the text with its gaps filled.
    pub(super) fn write(&self, scene: &Scene<'_>, actor: &Actor, dice: &mut Dice, out: &mut Vec<u8>) {
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Gap(gap) => gap.fill(scene, actor, dice, out),
            }
        }
    }
}

impl Gap {
    fn named(name: &str) -> Self {
        let (word, count) = name.split_once(' ').unwrap_or((name, "0"));
        let count = count.parse().expect("a gap's size is a number");
        match word {
            "identity" => Gap::Identity,
            "caller" => Gap::Caller,
            "address" => Gap::Address,
            "agent" => Gap::Agent,
            "tail" => Gap::Tail,
            "account" => Gap::Account,
            "region" => Gap::Region,
            "time" => Gap::Time,
            "uuid" => Gap::Uuid,
            "hex" => Gap::Hex(count),
            "base32" => Gap::Base32(count),
            "base64" => Gap::Base64(count),
            "number" => Gap::Number(count),
            "own" => Gap::Own,
            "neighbour" => Gap::Neighbour,
            _ => {
                let known = Thing::ALL.into_iter().find(|(_, name, _)| *name == word);
                Gap::Thing(known.unwrap_or_else(|| panic!("no gap is called {word}")).0)
            }
        }
    }

    fn fill(self, scene: &Scene<'_>, actor: &Actor, dice: &mut Dice, out: &mut Vec<u8>) {
        let text = match self {
            Gap::Identity => &actor.identity,
            Gap::Caller => &actor.arn,
            Gap::Address => &actor.address,
            Gap::Agent => actor.agent,
            Gap::Tail => actor.tail,
            Gap::Account => &scene.estate.account,
            Gap::Region => scene.region,
            Gap::Own => scene.own,
            Gap::Neighbour => scene.neighbour,
            Gap::Thing(thing) => scene.estate.one(thing, dice),
            Gap::Uuid => return dice.uuid(out),
            Gap::Hex(count) => return dice.letters(HEX, count, out),
            Gap::Base32(count) => return dice.letters(BASE32, count, out),
            Gap::Base64(count) => return dice.letters(BASE64, count, out),
            Gap::Number(bound) => return number(dice.below(bound), out),
            Gap::Time => return scene.time(dice, out),
        };
        out.extend_from_slice(text.as_bytes());
    }
}

impl Scene<'_> {
    fn time(&self, dice: &mut Dice, out: &mut Vec<u8>) {
        out.extend_from_slice(self.hour.as_bytes());
        let (minute, second) = match self.moment {
            Moment::Within(minute) => (minute + dice.below(5), dice.below(60)),
            Moment::At(second) => (second / 60, second % 60),
        };
        for part in [minute, second] {
            out.push(b':');
            out.extend([part / 10, part % 10].map(|digit| b"0123456789"[digit]));
        }
        out.push(b'Z');
    }
}

fn number(mut number: usize, out: &mut Vec<u8>) {
    let start = out.len();
    loop {
        out.push(b"0123456789"[number % 10]);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out[start..].reverse();
}
