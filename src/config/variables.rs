//! The environment.

/// The prefix of variables that set configuration values.
pub(super) const PREFIX: &str = "TRAILHOUND_";

/// The environment, read once.
pub(super) struct Variables(pub(super) Vec<(String, String)>);

impl Variables {
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Variables that set configuration values, in the order of their names.
    pub(super) fn settings(&self) -> Vec<&(String, String)> {
        let mut settings: Vec<_> = self.0.iter().filter(|(name, _)| name.starts_with(PREFIX)).collect();
        settings.sort();
        settings
    }
}
