//! One object of a replay: what is asked for of its alerts, and how many of its records are.

use std::io;
use std::path::Path;

use super::Outcome;
use super::spool::Spool;
use super::window::Glimpse;
use crate::alert::{Alert, Origin, OriginKind};
use crate::detect::Hit;
use crate::fetch::Body;
use crate::worker::{Inspection, Listener, Worker};

/// Examines an object, from a path or from standard input.
pub(super) fn examine(
    worker: &mut Worker,
    inspection: &Inspection,
    glimpse: &mut Glimpse<'_>,
    mut body: Body,
    path: Option<&Path>,
) -> Outcome {
    let name = path.map_or_else(|| "-".to_owned(), |path| path.to_string_lossy().into_owned());
    let origin = Origin {
        kind: if path.is_some() { OriginKind::File } else { OriginKind::Stdin },
        bucket: None,
        key: path.is_some().then_some(name.as_str()),
        version: None,
        index: 0,
        announced_at: None,
        received_at: None,
        stored_at: None,
    };
    let mut teller = Teller { glimpse, within: 0, spool: Spool::new(), spooled: Ok(()) };
    let examined = Box::new(worker.examine(inspection, &mut body, &origin, None, &mut teller));
    let Teller { within, spool, spooled, .. } = teller;
    Outcome::Read { name, examined, within, spool, spooled }
}

/// Spools what is asked for, and counts how many records were.
struct Teller<'t, 'w> {
    glimpse: &'t mut Glimpse<'w>,
    within: u64,
    spool: Spool,
    spooled: io::Result<()>,
}

impl Listener for Teller<'_, '_> {
    fn record(&mut self, record: &[u8]) {
        self.within += u64::from(self.glimpse.may_admit(record));
    }

    fn wants(&mut self, hit: &Hit<'_>) -> bool {
        self.glimpse.window().admits(hit.event)
    }

    fn alert(&mut self, alert: Alert) {
        if self.spooled.is_ok() {
            self.spooled = self.spool.push(&alert);
        }
    }
}
