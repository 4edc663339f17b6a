//! `trailhound dead`

use std::path::Path;

use serde_json::{Value, json};

use super::terminal::{self, complain, plain};
use super::{DeadArgs, DeadCommand, DeadListArgs, Exit};
use crate::state::{Dead, DeadKind, DeadObject, Graveyard};

pub(super) fn answer(command: &DeadCommand) -> Exit {
    let answered = match command {
        DeadCommand::List(args) => list(args),
        DeadCommand::Retry(args) => each(args, "tried again", Graveyard::retry),
        DeadCommand::Drop(args) => each(args, "dropped", Graveyard::drop),
    };
    answered.unwrap_or_else(|exit| exit)
}

fn list(args: &DeadListArgs) -> Result<Exit, Exit> {
    let dead = open(&args.state)?.list().map_err(|error| silent(&error))?;
    if args.json {
        let list: Vec<Value> = dead.iter().map(document).collect();
        return terminal::print(&format!("{}\n", Value::from(list))).map(|()| Exit::OK);
    }
    let lines: String = dead.iter().map(|dead| format!("{}\n", line(dead))).collect();
    terminal::print(&format!("{lines}{} dead\n", dead.len())).map(|()| Exit::OK)
}

fn each(
    args: &DeadArgs,
    done: &str,
    act: impl Fn(&mut Graveyard, &[i64]) -> rusqlite::Result<Vec<i64>>,
) -> Result<Exit, Exit> {
    let mut graveyard = open(&args.state)?;
    let numbers = if args.all {
        graveyard.list().map_err(|error| silent(&error))?.iter().map(|dead| dead.number).collect()
    } else {
        args.numbers.clone()
    };
    let missing = act(&mut graveyard, &numbers).map_err(|error| silent(&error))?;
    terminal::print(&format!("{} {done}\n", numbers.len() - missing.len()))?;
    if missing.is_empty() {
        return Ok(Exit::OK);
    }
    let missing: Vec<String> = missing.iter().map(i64::to_string).collect();
    complain(&format!("nothing dead has the number {}", missing.join(", ")));
    Err(Exit::INCOMPLETE)
}

fn open(folder: &Path) -> Result<Graveyard, Exit> {
    if !folder.is_dir() {
        complain(&format!("there is no state in {}", folder.display()));
        return Err(Exit::USAGE);
    }
    Graveyard::open(folder).map_err(|error| {
        complain(&format!("{:#}", anyhow::Error::from(error)));
        Exit::USAGE
    })
}

fn silent(error: &rusqlite::Error) -> Exit {
    complain(&format!("the state does not answer: {error}"));
    Exit::INCOMPLETE
}

/// One line for people.
fn line(dead: &Dead) -> String {
    let at = dead.at.map_or_else(|| "-".to_owned(), |at| at.to_string());
    let wanted = if dead.is_wanted { " (to be tried again)" } else { "" };
    let what = match &dead.kind {
        DeadKind::Alert { id, rule, level, sink } => format!("alert  {id}  {level}  {rule}  at {sink}"),
        DeadKind::Object(DeadObject { source, bucket, key, .. }) if bucket.is_empty() => {
            format!("object {key}  from {source}")
        }
        DeadKind::Object(DeadObject { source, bucket, key, .. }) => {
            format!("object s3://{bucket}/{key}  from {source}")
        }
    };
    plain(&format!("{:>6}  {at}  {what}: {}{wanted}", dead.number, dead.reason)).into_owned()
}

fn document(dead: &Dead) -> Value {
    let Dead { number, at, reason, is_wanted, kind } = dead;
    let mut document = json!({
        "number": number, "at": at.map(|at| at.to_string()), "reason": reason, "wanted": is_wanted,
    });
    let more = match kind {
        DeadKind::Alert { id, rule, level, sink } => {
            json!({ "kind": "alert", "id": id, "rule": rule, "level": level, "sink": sink })
        }
        DeadKind::Object(DeadObject { source, bucket, key, version, .. }) => json!({
            "kind": "object", "source": source, "bucket": bucket, "key": key, "version": version,
        }),
    };
    if let (Some(document), Value::Object(more)) = (document.as_object_mut(), more) {
        document.extend(more);
    }
    document
}
