//! Objects from a store: how their bytes are had, and why not.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io::Read;
use std::time::Duration;

use crate::announce::ObjectRef;

/// Stored bytes up to which an object is held in memory: 32 MiB. Larger ones are streams.
pub const WHOLE_LIMIT: u64 = 32 << 20;

/// Where announced objects are.
pub trait ObjectStore: Send + Sync + 'static {
    /// Fetches the announced version of an object; before its bytes are taken there is room for them.
    fn fetch(
        &self,
        object: &ObjectRef,
        room: &mut impl Room,
    ) -> impl Future<Output = Result<Fetched, FetchError>> + Send;

    /// Whether this object may be read at all.
    ///
    /// # Errors
    /// It is outside of what was allowed.
    fn admits(&self, object: &ObjectRef) -> Result<(), Refusal>;
}

/// Room in memory.
pub trait Room: Send {
    /// Waits until there is room for this many bytes.
    fn make(&mut self, bytes: usize) -> impl Future<Output = ()> + Send;
}

/// An object's bytes.
pub struct Fetched {
    /// The bytes.
    pub body: Body,
    /// The version that was read, where the store has versions.
    pub version: Option<String>,
    /// What tells its content from any other that had or will have its name, where the store says.
    pub content: Option<String>,
}

/// Bytes in memory or from a reader.
pub enum Body {
    /// All of them.
    Whole(Vec<u8>),
    /// A reader, for objects too large to hold.
    Stream(Box<dyn Read + Send>),
}

impl Body {
    /// Bytes that it holds in memory.
    #[must_use]
    pub fn held(&self) -> usize {
        match self {
            Body::Whole(bytes) => bytes.len(),
            Body::Stream(_) => 0,
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Body::Whole(bytes) => write!(f, "Whole({} bytes)", bytes.len()),
            Body::Stream(_) => f.write_str("Stream"),
        }
    }
}

impl fmt::Debug for Fetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fetched({:?})", self.body)
    }
}

/// Why an object may not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its bucket was not named.
    #[error("the bucket is not one of those that may be read")]
    Bucket,
    /// Its key is outside of the prefixes.
    #[error("the key lies outside of the prefixes that may be read")]
    Prefix,
}

impl Refusal {
    /// A short name, from a closed set, for metrics.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Refusal::Bucket => "foreign-bucket",
            Refusal::Prefix => "foreign-prefix",
        }
    }
}

/// Why an object could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// There is no such object, or no such version of it.
    #[error("the object does not exist")]
    Missing(#[source] Cause),
    /// Access is denied.
    #[error("access to the object is denied: {0}")]
    Denied(#[source] Cause),
    /// The object lies in an archive and must be restored first.
    #[error("the object is archived: {0}")]
    Archived(#[source] Cause),
    /// The key that it is encrypted with cannot be used.
    #[error("the object cannot be decrypted: {0}")]
    Kms(#[source] Cause),
    /// It may work later: throttling, time-outs, network.
    #[error("the object could not be fetched: {0}")]
    Unavailable(#[source] Cause),
}

/// What a store said, as an error of its own.
pub type Cause = Box<dyn Error + Send + Sync>;

impl FetchError {
    /// A short name, from a closed set, for metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            FetchError::Missing(_) => "missing",
            FetchError::Denied(_) => "denied",
            FetchError::Archived(_) => "archived",
            FetchError::Kms(_) => "kms",
            FetchError::Unavailable(_) => "unavailable",
        }
    }

    /// Whether the cause may lie with the set-up or the store, so that every object fails alike.
    #[must_use]
    pub fn is_systemic(&self) -> bool {
        matches!(self, FetchError::Denied(_) | FetchError::Kms(_) | FetchError::Unavailable(_))
    }
}

/// How long until the next try of something that was received this often: doubling, at most 15 minutes.
#[must_use]
pub fn retry_after(receives: u32) -> Duration {
    let doubled = Duration::from_secs(15).saturating_mul(1 << receives.clamp(1, 10).saturating_sub(1));
    doubled.min(Duration::from_mins(15))
}
