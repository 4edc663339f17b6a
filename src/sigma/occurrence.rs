//! Which members of a correlation must occur: conditions by name or by number, as expressions over members.

use rsigma_parser::{ConditionExpr, Quantifier, SelectorPattern};

use super::correlation::{Occurrence, Threshold};
use super::draft::Reference;
use super::expression::{Number, Operator};
use super::pattern::selects;

/// Combinations of members that one condition may spell out.
const MAX_COMBINATIONS: usize = 1_000;

/// What is wrong with a condition over members.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unresolved {
    /// It names something that is no member.
    Stranger(String),
    /// It counts over too many members.
    TooManyCombinations,
}

impl Occurrence {
    /// Whether it looks at this member.
    pub(super) fn names(&self, member: usize) -> bool {
        match self {
            Occurrence::Member(at) => *at == member,
            Occurrence::All(parts) | Occurrence::Any(parts) => parts.iter().any(|part| part.names(member)),
            Occurrence::Not(part) => part.names(member),
        }
    }
}

/// All members occur.
pub(super) fn all(members: usize) -> Occurrence {
    Occurrence::All((0..members).map(Occurrence::Member).collect())
}

/// A number of members occurs that meets all comparisons; none if it cannot be spelled out.
pub(super) fn counted(threshold: &Threshold, members: usize) -> Option<Occurrence> {
    let each: Vec<Occurrence> = (0..members).map(Occurrence::Member).collect();
    let comparisons = threshold.0.iter().map(|(operator, number)| {
        let Number::Int(number) = number else { return None };
        let number = usize::try_from(*number).unwrap_or(usize::MAX);
        let more = number.saturating_add(1);
        match operator {
            Operator::GreaterOrEqual => at_least(number, &each),
            Operator::Greater => at_least(more, &each),
            Operator::Less => Some(not(at_least(number, &each)?)),
            Operator::LessOrEqual => Some(not(at_least(more, &each)?)),
            Operator::Equal => exactly(number, &each),
            Operator::NotEqual => Some(not(exactly(number, &each)?)),
        }
    });
    let mut comparisons = comparisons.collect::<Option<Vec<_>>>()?;
    Some(if comparisons.len() == 1 { comparisons.remove(0) } else { Occurrence::All(comparisons) })
}

fn exactly(number: usize, members: &[Occurrence]) -> Option<Occurrence> {
    let enough = at_least(number, members)?;
    if number >= members.len() {
        return Some(enough);
    }
    Some(Occurrence::All(vec![enough, not(at_least(number + 1, members)?)]))
}

/// At least this many of the members: one of their combinations.
fn at_least(number: usize, members: &[Occurrence]) -> Option<Occurrence> {
    match number {
        0 => Some(Occurrence::All(Vec::new())),
        1 => Some(Occurrence::Any(members.to_vec())),
        _ if number == members.len() => Some(Occurrence::All(members.to_vec())),
        _ if number > members.len() => Some(Occurrence::Any(Vec::new())),
        _ => {
            let mut combinations = Vec::new();
            let whole = combine(number, members, &mut Vec::new(), &mut combinations);
            whole.then_some(Occurrence::Any(combinations))
        }
    }
}

/// Whether all combinations have been found.
fn combine(
    number: usize,
    rest: &[Occurrence],
    chosen: &mut Vec<Occurrence>,
    found: &mut Vec<Occurrence>,
) -> bool {
    if chosen.len() == number {
        found.push(Occurrence::All(chosen.clone()));
        return found.len() <= MAX_COMBINATIONS;
    }
    let missing = number - chosen.len();
    for (at, member) in rest.iter().enumerate().take((rest.len() + 1).saturating_sub(missing)) {
        chosen.push(member.clone());
        let whole = combine(number, &rest[at + 1..], chosen, found);
        chosen.pop();
        if !whole {
            return false;
        }
    }
    true
}

fn not(occurrence: Occurrence) -> Occurrence {
    match occurrence {
        Occurrence::Not(inner) => *inner,
        other => Occurrence::Not(Box::new(other)),
    }
}

/// The members that a condition names, in the order in which they first stand there.
pub(super) fn names(condition: &ConditionExpr, line: usize) -> Vec<Reference> {
    let mut names: Vec<Reference> = Vec::new();
    visit(condition, &mut |name| {
        if !names.iter().any(|known| known.text == name) {
            names.push(Reference { line, text: name.to_owned() });
        }
    });
    names
}

fn visit(condition: &ConditionExpr, tell: &mut dyn FnMut(&str)) {
    match condition {
        ConditionExpr::And(parts) | ConditionExpr::Or(parts) => {
            parts.iter().for_each(|part| visit(part, tell));
        }
        ConditionExpr::Not(part) => visit(part, tell),
        ConditionExpr::Identifier(name) => tell(name),
        ConditionExpr::Selector { .. } => {}
    }
}

/// Whether a condition says no more than that all of so many members occur.
pub(super) fn is_conjunction(condition: &ConditionExpr, members: usize) -> bool {
    let plain = match condition {
        ConditionExpr::And(parts) => parts.iter().all(|part| matches!(part, ConditionExpr::Identifier(_))),
        ConditionExpr::Identifier(_) => true,
        ConditionExpr::Selector { quantifier: Quantifier::All, pattern: SelectorPattern::Them } => {
            return true;
        }
        _ => false,
    };
    plain && names(condition, 0).len() == members
}

/// A condition over members, each found by a name; `members` are the names under which patterns find them.
pub(super) fn resolve(
    condition: &ConditionExpr,
    members: &[Reference],
    find: &dyn Fn(&str) -> Option<usize>,
) -> Result<Occurrence, Unresolved> {
    let each = |parts: &[ConditionExpr]| {
        parts.iter().map(|part| resolve(part, members, find)).collect::<Result<Vec<_>, _>>()
    };
    Ok(match condition {
        ConditionExpr::And(parts) => Occurrence::All(each(parts)?),
        ConditionExpr::Or(parts) => Occurrence::Any(each(parts)?),
        ConditionExpr::Not(part) => not(resolve(part, members, find)?),
        ConditionExpr::Identifier(name) => {
            Occurrence::Member(find(name).ok_or_else(|| Unresolved::Stranger(name.clone()))?)
        }
        ConditionExpr::Selector { quantifier, pattern } => {
            let chosen: Vec<Occurrence> = members
                .iter()
                .enumerate()
                .filter(|(_, member)| selects(pattern, &member.text))
                .map(|(at, _)| Occurrence::Member(at))
                .collect();
            if chosen.is_empty() {
                return Err(Unresolved::Stranger(pattern.to_string()));
            }
            match quantifier {
                Quantifier::Any => Occurrence::Any(chosen),
                Quantifier::All => Occurrence::All(chosen),
                Quantifier::Count(count) => {
                    let count = usize::try_from(*count).unwrap_or(usize::MAX);
                    at_least(count, &chosen).ok_or(Unresolved::TooManyCombinations)?
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(occurrence: &Occurrence, occurring: u32) -> bool {
        match occurrence {
            Occurrence::Member(at) => occurring & (1 << at) != 0,
            Occurrence::All(parts) => parts.iter().all(|part| holds(part, occurring)),
            Occurrence::Any(parts) => parts.iter().any(|part| holds(part, occurring)),
            Occurrence::Not(part) => !holds(part, occurring),
        }
    }

    #[test]
    fn numbers_of_members_are_spelled_out() {
        let operators = [
            Operator::Equal,
            Operator::NotEqual,
            Operator::Less,
            Operator::LessOrEqual,
            Operator::Greater,
            Operator::GreaterOrEqual,
        ];
        for (operator, number) in operators.iter().flat_map(|operator| (0..7).map(move |n| (*operator, n))) {
            let threshold = Threshold(vec![(operator, Number::Int(number))]);
            let occurrence = counted(&threshold, 5).unwrap();
            for occurring in 0_u32..32 {
                let count = Number::Int(occurring.count_ones().into());
                let expected = operator.holds(count, Number::Int(number));
                assert_eq!(holds(&occurrence, occurring), expected, "{operator:?} {number} {occurring:b}");
            }
        }
        let between = Threshold(vec![(Operator::Greater, Number::Int(1)), (Operator::Less, Number::Int(4))]);
        let occurrence = counted(&between, 5).unwrap();
        assert!((0_u32..32).all(|set| holds(&occurrence, set) == (2..4).contains(&set.count_ones())));
        let many = Threshold(vec![(Operator::GreaterOrEqual, Number::Int(32))]);
        assert_eq!(counted(&many, 64), None);
    }

    #[test]
    fn conditions_name_members() {
        let members: Vec<Reference> =
            ["one", "two", "other"].map(|text| Reference { line: 1, text: text.to_owned() }).to_vec();
        let find = |name: &str| members.iter().position(|member| member.text == name);
        let read = |text: &str| resolve(&rsigma_parser::parse_condition(text).unwrap(), &members, &find);
        let one_of = |set: &[usize]| Occurrence::Any(set.iter().map(|at| Occurrence::Member(*at)).collect());
        assert_eq!(read("1 of o*"), Ok(one_of(&[0, 2])));
        assert_eq!(read("one or two"), Ok(one_of(&[0, 1])));
        assert_eq!(read("not not one"), Ok(Occurrence::Member(0)));
        assert_eq!(read("all of them"), Ok(all(3)));
        assert_eq!(read("one and three"), Err(Unresolved::Stranger("three".to_owned())));
        assert_eq!(read("1 of x*"), Err(Unresolved::Stranger("x*".to_owned())));
        for (text, members, expected) in [
            ("one and two", 2, true),
            ("one", 1, true),
            ("all of them", 3, true),
            ("one and two", 3, false),
            ("one or two", 2, false),
            ("one and not two", 2, false),
        ] {
            let condition = rsigma_parser::parse_condition(text).unwrap();
            assert_eq!(is_conjunction(&condition, members), expected, "{text}");
        }
    }
}
