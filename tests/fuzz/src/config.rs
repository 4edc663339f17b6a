//! A configuration, whatever it holds: nothing panics, and what is read can be shown without its secrets.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use trailhound::config::{Config, Flags};

/// The value of a secret, which no file can hold by chance.
const SECRET: &str = "whsec_bm90IHRvIGJlIHNob3duIGFueXdoZXJl";

fuzz_target!(|text: &str| {
    // The last line, if it looks like one, is a variable.
    let (file, variable) = text.rsplit_once('\n').unwrap_or((text, ""));
    let (name, value) = variable.split_once('=').unwrap_or(("A", ""));
    let variables = [(format!("TRAILHOUND_{name}"), value.to_owned()), ("SECRET".to_owned(), SECRET.to_owned())];
    if let Ok(config) = Config::read(Some((Path::new("t.toml"), file)), variables.into_iter(), Flags::default()) {
        assert!(!config.show().contains(SECRET));
        assert!(!format!("{config:?}").contains(SECRET));
    }
});
