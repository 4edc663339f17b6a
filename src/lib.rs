//! trailhound finds what matters in CloudTrail: Sigma detections over log objects, live or archived.
//!
//! # The line
//!
//! **announce → fetch → decode → detect → alert → acknowledge.** A message announces objects; each is fetched,
//! its records are split and evaluated, hits become alerts, alerts are delivered, and only then is the message
//! deleted. [`pipeline`] reads like this sentence. One [`worker`] carries an object from its bytes to its
//! alerts; around the workers stand owners with inboxes of their own: a receiver and the receipts of each
//! queue ([`aws`]), the [`state`] that says when alerts are final, and one sender for each sink ([`alert`]).
//! A replay is the same line: [`replay`] hands files to the same workers.
//!
//! # The map
//!
//! | module | what it is for |
//! |---|---|
//! | [`event`] | a record as detections see it: a lazy, borrowed view |
//! | [`sigma`] | Sigma documents → compiled detections |
//! | [`detect`] | compiled detections × event → hits; the index and its oracle; what many hits say together |
//! | [`decode`] | an object's bytes → its records |
//! | [`announce`] | every shape of announcement; what becomes of a message |
//! | [`fetch`] | what a store of objects is |
//! | [`folder`] | log files in the file system |
//! | [`alert`] | the alert document, its id, sinks |
//! | [`state`] | the commit: when effects are final, and what outlives the program; what is found over more than one event |
//! | [`horizon`] | how far the stream has come |
//! | [`worker`] | one object in, its alerts out |
//! | [`intake`] | whether more may be received |
//! | [`pipeline`] | the line: one message in, one disposition |
//! | [`watch`] | a folder as a source of announcements |
//! | [`retry`] | dead objects that are wanted, as announcements |
//! | [`aws`] | SQS and S3; the only place that names their crates |
//! | [`pack`] | the embedded detections |
//! | [`rulebook`] | which detections run |
//! | [`reload`] | detections read again while the daemon runs |
//! | [`review`] | whether a detection can be trusted: what it covers, its cases, why it matches, what looks wrong |
//! | [`config`] | file, environment and flags → one checked configuration |
//! | [`metrics`] | what happened, counted |
//! | [`ledger`] | whether everything that was taken up has met an end |
//! | [`ration`] | how often a warning is told |
//! | [`clock`] | wall time, handed in |
//! | [`admin`] | metrics and health over HTTP |
//! | [`seed`] | what first-seen detections learn from archives before anything is received |
//! | [`daemon`], [`replay`] | compose all of it for `run` and `replay` |
//! | [`cli`] | the command line; the only one that writes to the terminal |
//!
//! # Imports go one way
//!
//! | module | may import |
//! |---|---|
//! | event | nothing |
//! | sigma | event |
//! | detect | event, sigma |
//! | decode | event |
//! | announce | nothing |
//! | clock | nothing |
//! | metrics | nothing |
//! | ledger | metrics |
//! | fetch | announce |
//! | folder | announce, fetch |
//! | alert | event, sigma, detect, clock, metrics |
//! | horizon | detect |
//! | state | alert, announce, clock, detect, event, horizon, metrics, worker |
//! | config | alert, decode, sigma |
//! | intake | alert, announce, fetch, metrics |
//! | worker | alert, decode, detect, event, fetch |
//! | pack | sigma |
//! | rulebook | event, pack, sigma |
//! | reload | alert, config, detect, metrics, rulebook, sigma, state, worker |
//! | review | alert, decode, detect, event, fetch, folder, sigma |
//! | watch | announce, clock, folder, intake, metrics, ration |
//! | retry | announce, clock, intake, state |
//! | aws | alert, announce, clock, config, fetch, intake, metrics, state |
//! | admin | intake, ledger, metrics |
//! | ration | nothing |
//! | pipeline | alert, announce, clock, decode, detect, event, fetch, horizon, intake, metrics, ration, state, worker |
//! | replay | alert, announce, decode, detect, event, fetch, folder, sigma, worker |
//! | seed | detect, replay, state, worker |
//! | daemon | admin, alert, aws, clock, config, detect, fetch, folder, horizon, intake, ledger, metrics, pipeline, reload, replay, retry, rulebook, seed, sigma, state, watch, worker |
//!
//! # What always holds
//!
//! - An object is examined by one set of detections from its first record to its last, whatever is reloaded meanwhile.
//! - The core ([`event`], [`sigma`], [`detect`], [`decode`]) is a function of its input: no I/O, no clock, no
//!   runtime, no AWS. Live, redelivered and replayed events take the same way through it.
//! - Most records are passed over by the values of a few keys, found in the pass that splits; the set of detections
//!   says which keys it must see, and pays for those alone. Keys, index and fast parser only ever over-approximate;
//!   the plain evaluator over the slow parser is kept beside them, and both are compared.
//! - A message is deleted after its alerts are final, never before. Everything is expected twice: an alert's id
//!   follows from its evidence alone.
//! - Every object, record and alert ends in a counted outcome.
//! - What cannot be known is not false: where CloudTrail left out parameters, detections answer *undecided*.
//!
//! # What is deliberately absent
//!
//! Replay from S3 and integrity checks answer that they are not available.

pub mod admin;
pub mod alert;
pub mod announce;
pub mod aws;
pub mod cli;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod decode;
pub mod detect;
pub mod event;
pub mod fetch;
pub mod folder;
pub mod horizon;
pub mod intake;
pub mod ledger;
pub mod metrics;
pub mod pack;
pub mod pipeline;
pub mod ration;
pub mod reload;
pub mod replay;
pub mod retry;
pub mod review;
pub mod rulebook;
pub mod seed;
pub mod sigma;
pub mod state;
pub mod watch;
pub mod worker;
