//! What looks wrong with a filter: beside what may be wrong with any condition, that it changes nothing.

use std::collections::HashMap;

use super::Finding;
use super::document::Document;
use super::scene::{About, Scene};
use crate::sigma::{Filter, Rule};

/// What looks wrong; `known` are the rules that it may narrow, by id.
pub(super) fn findings(
    filter: &Filter,
    known: &HashMap<&str, &Rule>,
    document: &Document<'_>,
) -> Vec<Finding> {
    if filter.narrows.is_empty() {
        let message = "narrows nothing: none of its rules runs";
        return vec![document.finding("rules", "narrows_nothing", message.to_owned())];
    }
    let conditions = filter.narrows.iter().filter_map(|id| known.get(id.as_str())?.condition());
    let abouts: Vec<About<'_>> =
        conditions.map(|condition| Scene::new(&condition.selections).about(&condition.root)).collect();
    let around = About::either(&abouts);
    let mut findings = Vec::new();
    let mut scene = Scene::new(&[]);
    for (name, selection) in &filter.condition.selections {
        scene.look(selection, &About::default());
        scene.look_denied(selection, &around);
        let own = scene.about(selection);
        if let Some(word) = own.names.iter().chain(&own.sources).next()
            && !abouts.iter().any(|about| about.may_meet(&own))
        {
            let message =
                format!("`{name}` selects nothing: no rule that the filter narrows is about such events");
            findings.push(document.finding(word, "selects_nothing", message));
        }
    }
    findings.extend(scene.doubts.into_iter().map(|doubt| document.doubtful(doubt)));
    findings
}
