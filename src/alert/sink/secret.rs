//! Secrets of sinks: from the environment or from a file, never in a log, an error or a printed
//! configuration.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

use super::chain;

/// A secret and where it comes from.
#[derive(Clone)]
pub struct Secret(Source);

#[derive(Clone)]
enum Source {
    Variable { name: String, value: SecretString },
    File { path: PathBuf, last: Arc<Mutex<Option<Read>>> },
}

/// Where a secret comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretOrigin<'s> {
    /// The environment variable of this name.
    Variable(&'s str),
    /// This file.
    File(&'s Path),
}

/// A file's content, and by what a change of it is known.
struct Read {
    stamp: Stamp,
    value: SecretString,
}

type Stamp = (Option<SystemTime>, u64);

/// Why a secret cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("the secret in file {path}", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is nothing in it.
    #[error("the secret in {0} is empty")]
    Empty(String),
    /// It begins with `whsec_` and goes on with something else than base64.
    #[error("the secret in {0} begins with whsec_, but is not base64 after it")]
    NotBase64(String),
    /// A token with characters that no HTTP header may hold.
    #[error("the token in {0} holds characters that no HTTP header may hold")]
    NotAToken(String),
}

impl Secret {
    /// The value of an environment variable, as it was read.
    ///
    /// # Errors
    /// The value is blank.
    pub fn variable(name: &str, value: &str) -> Result<Self, SecretError> {
        let value = value.trim();
        if value.is_empty() {
            return Err(SecretError::Empty(format!("env {name}")));
        }
        Ok(Self(Source::Variable { name: name.to_owned(), value: value.into() }))
    }

    /// The content of a file, without white space around it; read again whenever the file changes.
    #[must_use]
    pub fn file(path: &Path) -> Self {
        Self(Source::File { path: path.to_owned(), last: Arc::default() })
    }

    /// Where it comes from.
    #[must_use]
    pub fn origin(&self) -> SecretOrigin<'_> {
        match &self.0 {
            Source::Variable { name, .. } => SecretOrigin::Variable(name),
            Source::File { path, .. } => SecretOrigin::File(path),
        }
    }

    /// The key bytes of a Standard Webhooks secret: `whsec_` and base64, or any other text as its bytes.
    pub(super) fn signing_key(&self) -> Result<Vec<u8>, SecretError> {
        let secret = self.reveal()?;
        let text = secret.expose_secret();
        match text.strip_prefix("whsec_") {
            None => Ok(text.as_bytes().to_vec()),
            Some(encoded) => STANDARD.decode(encoded).map_err(|_| SecretError::NotBase64(self.to_string())),
        }
    }

    /// The value of an `Authorization` header of this scheme.
    pub(super) fn authorization(&self, scheme: &str) -> Result<HeaderValue, SecretError> {
        let value = HeaderValue::from_str(&format!("{scheme} {}", self.reveal()?.expose_secret()));
        let mut value = value.map_err(|_| SecretError::NotAToken(self.to_string()))?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// The secret as it stands now. A file that cannot be read any more gives its last content.
    ///
    /// # Errors
    /// A file cannot be read, or is blank, and never gave a secret.
    pub fn reveal(&self) -> Result<SecretString, SecretError> {
        let (path, last) = match &self.0 {
            Source::Variable { value, .. } => return Ok(value.clone()),
            Source::File { path, last } => (path, last),
        };
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        match (read(path, last.as_ref()), &*last) {
            (Ok(Some(read)), _) => {
                let value = read.value.clone();
                *last = Some(read);
                Ok(value)
            }
            (Ok(None), Some(read)) => Ok(read.value.clone()),
            (Err(error), Some(read)) => {
                tracing::warn!(error = chain(&error), "a secret cannot be read; its last value is used");
                Ok(read.value.clone())
            }
            (Err(error), None) => Err(error),
            (Ok(None), None) => Err(SecretError::Empty(format!("file {}", path.display()))),
        }
    }
}

/// Reads the file if it changed since the last time.
fn read(path: &Path, last: Option<&Read>) -> Result<Option<Read>, SecretError> {
    let fail = |source| SecretError::File { path: path.to_owned(), source };
    let metadata = std::fs::metadata(path).map_err(fail)?;
    let stamp = (metadata.modified().ok(), metadata.len());
    if last.is_some_and(|last| last.stamp == stamp) {
        return Ok(None);
    }
    let text = std::fs::read_to_string(path).map_err(fail)?;
    match text.trim() {
        "" => Err(SecretError::Empty(format!("file {}", path.display()))),
        value => Ok(Some(Read { stamp, value: value.into() })),
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.origin() {
            SecretOrigin::Variable(name) => write!(f, "env {name}"),
            SecretOrigin::File(path) => write!(f, "file {}", path.display()),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_again_when_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let secret = Secret::file(&path);
        assert!(matches!(secret.reveal(), Err(SecretError::File { .. })));
        std::fs::write(&path, " one\n").unwrap();
        assert_eq!(secret.reveal().unwrap().expose_secret(), "one");
        std::fs::write(&path, "second").unwrap();
        assert_eq!(secret.reveal().unwrap().expose_secret(), "second");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(secret.reveal().unwrap().expose_secret(), "second");
    }

    #[test]
    fn secrets_are_not_shown() {
        let secret = Secret::variable("SIEM_SECRET", "hunter2").unwrap();
        assert_eq!(format!("{secret:?} {secret}"), "Secret(env SIEM_SECRET) env SIEM_SECRET");
        assert!(Secret::variable("SIEM_SECRET", " ").is_err());
    }

    #[test]
    fn signing_keys() {
        let key =
            |text| Secret::variable("S", text).unwrap().signing_key().map_err(|error| error.to_string());
        assert_eq!(key("whsec_c2VjcmV0").unwrap(), b"secret");
        assert_eq!(key("plain").unwrap(), b"plain");
        let error = "the secret in env S begins with whsec_, but is not base64 after it";
        assert_eq!(key("whsec_hunter2!").unwrap_err(), error);
    }
}
