//! `trailhound run`

use std::time::Duration;

use super::terminal::{self, complain};
use super::{Exit, RunArgs};
use crate::config::Flags;
use crate::daemon::{self, Ending};
use crate::reload::{self, Reload};

pub(super) fn run(args: RunArgs) -> Exit {
    match try_run(args) {
        Ok(exit) | Err(exit) => exit,
    }
}

fn try_run(args: RunArgs) -> Result<Exit, Exit> {
    let RunArgs { config, queue_url, bucket, watch, webhook, seed, detections, .. } = args;
    let RunArgs { listen, state, log, print_config, .. } = args;
    let seeds = super::replay::sources(&seed)?;
    let flags = Flags {
        queue_urls: queue_url,
        buckets: bucket,
        watch,
        webhooks: webhook,
        listen,
        state,
        log,
        ..detections.flags()
    };
    let config = terminal::configuration(config.as_deref(), flags)?;
    if print_config {
        return terminal::print(&config.show()).map(|()| Exit::OK);
    }
    if config.queues.is_empty() && config.watch.is_empty() {
        complain(
            "nothing to receive from: give --queue-url with --bucket, --watch, or a configuration with a queue",
        );
        return Err(Exit::USAGE);
    }
    super::log::start(&config, "info");
    let runtime = terminal::runtime()?;
    let reload = {
        let _within = runtime.enter();
        Reload::new(&config).map_err(|error| {
            complain(&format!("signals cannot be caught: {error}"));
            Exit::USAGE
        })?
    };
    let book = terminal::rulebook(&config)?;
    if let Err(error) = reload::may_forget(&config, &book.rules) {
        complain(&terminal::plain(&error.to_string()));
        return Err(Exit::USAGE);
    }
    let ended = runtime.block_on(daemon::run(&config, book, &seeds, reload));
    // A write that nobody takes must not hold up the end.
    runtime.shutdown_timeout(Duration::from_secs(1));
    match ended {
        Ok(Ending::Interrupted) => Ok(Exit::INTERRUPTED),
        Ok(Ending::Terminated) => Ok(Exit::TERMINATED),
        Ok(Ending::ReaderGone) => Ok(Exit::READER_GONE),
        Ok(Ending::Failed) => Ok(Exit::INCOMPLETE),
        Err(error) => {
            complain(&format!("{error:#}"));
            Err(Exit::USAGE)
        }
    }
}
