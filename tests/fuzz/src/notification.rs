//! The body of a message, whatever it is: nothing panics, and what is wrapped says the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trailhound::announce;

fuzz_target!(|body: &str| {
    let Ok(items) = announce::read(body) else { return };
    // Lists within lists count as wrappers, too, of which one more may be too many.
    if !body.trim_start().starts_with('{') {
        return;
    }
    let read = format!("{items:?}");
    let mut quoted = String::with_capacity(body.len() + 2);
    for c in body.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if u32::from(c) < 0x20 => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    let wrapped = format!(r#"{{"Type":"Notification","TopicArn":"arn:aws:sns:us-east-1:1:t","Message":"{quoted}"}}"#);
    // Wrapped once more it may be beyond what is unwrapped.
    if let Ok(items) = announce::read(&wrapped) {
        assert!(format!("{items:?}") == read, "wrapped it says something else");
    }
});
