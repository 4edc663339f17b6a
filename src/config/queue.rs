//! Queues, the buckets that they may announce, the roles for both.

use std::time::Duration;

use url::Url;

use super::reader::Reader;

pub(super) const DEFAULT_VISIBILITY: Duration = Duration::from_mins(1);

/// A queue and the buckets that it may announce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueConfig {
    /// The URL of the queue.
    pub url: String,
    /// Its region; by default the one in its URL.
    pub region: Option<String>,
    /// The role to assume for the queue.
    pub role: Option<RoleConfig>,
    /// How long a message stays hidden after each heartbeat.
    pub visibility: Duration,
    /// The buckets that it may announce.
    pub buckets: Vec<BucketConfig>,
}

/// A bucket that may be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketConfig {
    /// Its name.
    pub name: String,
    /// The account that must own it.
    pub owner: Option<String>,
    /// Key prefixes that may be read; all if there are none.
    pub prefixes: Vec<String>,
    /// Its region; by default that of the queue.
    pub region: Option<String>,
    /// The role to assume for it.
    pub role: Option<RoleConfig>,
}

/// A role to assume.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoleConfig {
    /// Its ARN.
    pub arn: String,
    /// The external id that its trust policy asks for.
    pub external_id: Option<String>,
}

pub(super) fn queue(reader: &mut Reader<'_>) -> Option<QueueConfig> {
    let url = reader.required("url", |reader| {
        reader.text("url", "a queue URL", |text| queue_url(text).map(|()| text.to_owned()))
    });
    let place = reader.place_of("visibility");
    let visibility = reader.duration("visibility").unwrap_or(DEFAULT_VISIBILITY);
    if visibility < Duration::from_secs(2) || visibility > Duration::from_hours(12) {
        reader.refuse::<()>("visibility", place, "must lie between 2s and 12h");
    }
    let buckets = reader.required("buckets", |reader| Some(reader.tables("buckets", bucket)));
    if buckets.as_ref().is_some_and(Vec::is_empty) {
        let place = reader.place().clone();
        reader.refuse::<()>("buckets", place, "names the buckets that the queue may announce; there is none");
    }
    let (region, role) = (reader.string("region"), role(reader));
    Some(QueueConfig { url: url?, region, role, visibility, buckets: buckets? })
}

fn bucket(reader: &mut Reader<'_>) -> Option<BucketConfig> {
    let name = reader.required("name", |reader| reader.string("name"));
    let owner = reader.text("owner", "an account id of 12 digits", |text| {
        let valid = text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
        if valid { Ok(text.to_owned()) } else { Err(String::new()) }
    });
    let (prefixes, region, role) = (reader.strings("prefixes"), reader.string("region"), role(reader));
    Some(BucketConfig { name: name?, owner, prefixes, region, role })
}

fn role(reader: &mut Reader<'_>) -> Option<RoleConfig> {
    let place = reader.place_of("external_id");
    let arn = reader.text("role", "the ARN of a role", |text| {
        let valid = text.starts_with("arn:") && text.contains(":role/");
        if valid { Ok(text.to_owned()) } else { Err(String::new()) }
    });
    let external_id = reader.string("external_id");
    if arn.is_none() && external_id.is_some() {
        return reader.refuse("external_id", place, "goes with `role`");
    }
    Some(RoleConfig { arn: arn?, external_id })
}

pub(super) fn queue_url(text: &str) -> Result<(), String> {
    let url = Url::parse(text).map_err(|error| format!("not a queue URL: {error}"))?;
    let named = url
        .path_segments()
        .is_some_and(|segments| segments.filter(|segment| !segment.is_empty()).count() >= 2);
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a queue URL holds no credentials".to_owned());
    }
    if !matches!(url.scheme(), "http" | "https") || !named {
        return Err("a queue URL ends in an account id and a queue name".to_owned());
    }
    Ok(())
}
