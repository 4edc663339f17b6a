//! Which addresses a webhook may lead to.
//!
//! Alerts hold evidence; a URL in a configuration must not lead them to a metadata service or over plain
//! HTTP to someone else. Names are judged by what they resolve to, at the moment of connecting.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// The rules for the URLs of webhooks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Egress {
    /// Hosts that may be reached over plain HTTP.
    pub allow_http: BTreeSet<String>,
}

/// Why a URL is refused.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// It is no URL.
    #[error("not a URL: {0}")]
    NotAUrl(#[source] url::ParseError),
    /// It has no host.
    #[error("a URL with a host is needed")]
    NoHost,
    /// Neither https nor an exception.
    #[error("plain http leads only to loopback or to a host named in `allow_http`")]
    PlainHttp,
    /// Another scheme.
    #[error("the scheme is `https`, not `{0}`")]
    Scheme(String),
    /// A link-local or metadata address.
    #[error("link-local and metadata addresses are refused")]
    LinkLocal,
    /// A name and password in the URL.
    #[error("credentials do not belong into a URL; use `token`")]
    Credentials,
}

impl Egress {
    /// Checks a URL as far as its text tells.
    ///
    /// # Errors
    /// The URL is malformed or leads where no alert may go.
    pub fn check(&self, text: &str) -> Result<Url, EgressError> {
        let url = Url::parse(text).map_err(EgressError::NotAUrl)?;
        let host = url.host().ok_or(EgressError::NoHost)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(EgressError::Credentials);
        }
        let (loopback, forbidden) = match host {
            Host::Domain(name) => (name.eq_ignore_ascii_case("localhost"), false),
            Host::Ipv4(address) => (address.is_loopback(), is_forbidden(address.into())),
            Host::Ipv6(address) => (address.is_loopback(), is_forbidden(address.into())),
        };
        if forbidden {
            return Err(EgressError::LinkLocal);
        }
        match url.scheme() {
            "https" => Ok(url),
            "http" if loopback || self.allow_http.contains(&host.to_string()) => Ok(url),
            "http" => Err(EgressError::PlainHttp),
            other => Err(EgressError::Scheme(other.to_owned())),
        }
    }
}

/// Whether no alert may ever go to this address: link-local ones, among them the metadata services of
/// clouds, and the unspecified address. Forms of IPv6 that carry such an IPv4 address count.
fn is_forbidden(address: IpAddr) -> bool {
    const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    let forbidden_v4 = |v4: Ipv4Addr| v4.is_link_local() || v4.is_unspecified();
    match address {
        IpAddr::V4(v4) => forbidden_v4(v4),
        IpAddr::V6(v6) => {
            let [.., high, low] = v6.segments();
            let carried = Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
            let carries = v6.to_ipv4_mapped().is_some()
                || v6.segments()[..6] == [0, 0, 0, 0, 0, 0] && !v6.is_loopback()
                || v6.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0];
            v6.is_unicast_link_local() || v6 == METADATA_V6 || carries && forbidden_v4(carried)
        }
    }
}

/// Resolves names and drops forbidden addresses; `localhost` leads to loopback only.
#[derive(Debug, Clone)]
pub(super) struct GuardedResolver;

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let local = name.as_str().eq_ignore_ascii_case("localhost");
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let allowed: Vec<SocketAddr> = found
                .into_iter()
                .filter(|address| !is_forbidden(address.ip()) && (!local || address.ip().is_loopback()))
                .collect();
            if allowed.is_empty() {
                let message = "the name leads to no address that alerts may go to";
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, message).into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

/// A resolver for an HTTP client.
pub(super) fn resolver() -> Arc<GuardedResolver> {
    Arc::new(GuardedResolver)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let egress = Egress { allow_http: BTreeSet::from(["collector.internal".to_owned()]) };
        let cases = [
            ("https://siem.example/hook", ""),
            ("http://127.0.0.1:9000/hook", ""),
            ("http://[::1]:9000/", ""),
            ("http://localhost:9000/", ""),
            ("http://collector.internal/hook", ""),
            ("https://10.0.0.7/", ""),
            ("http://siem.example/hook", "plain http"),
            ("http://10.0.0.7/", "plain http"),
            ("https://169.254.169.254/latest", "link-local"),
            ("http://169.254.170.2/", "link-local"),
            ("https://[fe80::1]/", "link-local"),
            ("https://[fd00:ec2::254]/", "link-local"),
            ("https://[::ffff:169.254.169.254]/", "link-local"),
            ("https://[64:ff9b::a9fe:a9fe]/", "link-local"),
            ("https://2852039166/", "link-local"),
            ("https://0.0.0.0/", "link-local"),
            ("https://user:pass@siem.example/", "credentials"),
            ("ftp://siem.example/", "scheme"),
            ("not a url", "not a URL"),
            ("https:///", "not a URL"),
        ];
        for (url, expected) in cases {
            let found = egress.check(url).err().map(|error| error.to_string()).unwrap_or_default();
            let fits = if expected.is_empty() { found.is_empty() } else { found.contains(expected) };
            assert!(fits, "{url}: {found}");
        }
    }
}
