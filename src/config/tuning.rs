//! `[[tuning]]`: which detections run and at which level, where it is not as their rules say.

use super::reader::Reader;
use super::value::Place;
use crate::sigma::{self, Adjustment, Selector, Tuning};

/// Reads the adjustments, in the order of the file.
pub(super) fn tuning(reader: &mut Reader<'_>) -> Tuning {
    Tuning { adjustments: reader.tables("tuning", adjustment), off_too: false }
}

fn adjustment(reader: &mut Reader<'_>) -> Option<Adjustment> {
    let place = reader.place().clone();
    let detections = reader.required("detections", |reader| Some(reader.strings("detections")));
    if detections.as_ref().is_some_and(Vec::is_empty) {
        reader.refuse::<()>(
            "detections",
            place.clone(),
            "names no detection: give ids, `tag:NAME` or `tag:NAME*`",
        );
    }
    let anything = reader.has("enabled") || reader.has("level");
    let (enabled, level) = (reader.flag("enabled"), reader.parsed("level", "a level"));
    if !anything {
        reader.refuse::<()>(
            "detections",
            place.clone(),
            "nothing is set for them: give `enabled` or `level`",
        );
    }
    // Variables and flags set no tables.
    let Place::Line(file, line) = place else { return None };
    let place = sigma::Place { file: file.display().to_string().into(), line };
    let selectors = detections?.iter().filter_map(|text| text.parse::<Selector>().ok()).collect();
    Some(Adjustment { place, detections: selectors, enabled, level })
}
