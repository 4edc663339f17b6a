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
        if leads_to_forbidden(&host) {
            return Err(EgressError::LinkLocal);
        }
        let loopback = match &host {
            Host::Domain(name) => name.eq_ignore_ascii_case("localhost"),
            Host::Ipv4(address) => address.is_loopback(),
            Host::Ipv6(address) => address.is_loopback(),
        };
        match url.scheme() {
            "https" => Ok(url),
            "http" if loopback || self.allow_http.contains(&host.to_string()) => Ok(url),
            "http" => Err(EgressError::PlainHttp),
            other => Err(EgressError::Scheme(other.to_owned())),
        }
    }

    /// Checks the URL of a proxy. It may speak plain http, for what passes through it is encrypted by itself; names are
    /// resolved behind it, where nothing here can judge them.
    ///
    /// # Errors
    /// The URL is malformed or leads where no alert may go.
    pub fn check_proxy(text: &str) -> Result<Url, EgressError> {
        let url = Url::parse(text).map_err(EgressError::NotAUrl)?;
        let host = url.host().ok_or(EgressError::NoHost)?;
        match url.scheme() {
            _ if leads_to_forbidden(&host) => Err(EgressError::LinkLocal),
            "http" | "https" => Ok(url),
            other => Err(EgressError::Scheme(other.to_owned())),
        }
    }
}

/// Whether a host is a forbidden address, as far as its text tells.
fn leads_to_forbidden(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(_) => false,
        Host::Ipv4(address) => is_forbidden((*address).into()),
        Host::Ipv6(address) => is_forbidden((*address).into()),
    }
}

/// Whether no alert may ever go to this address: link-local ones, other addresses of metadata services of clouds, and
/// the unspecified address. Forms of IPv6 that carry such an IPv4 address count.
fn is_forbidden(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_forbidden_v4(v4),
        IpAddr::V6(v6) => {
            let metadata = matches!(v6.segments(), [0xfd00, 0xec2, ..] | [0xfd20, 0xce, ..]);
            v6.is_unicast_link_local() || metadata || carried(v6).is_some_and(is_forbidden_v4)
        }
    }
}

fn is_forbidden_v4(address: Ipv4Addr) -> bool {
    // Of Alibaba, of Oracle, and of Azure's host; all others are link-local.
    const METADATA: [[u8; 4]; 3] = [[100, 100, 100, 200], [192, 0, 0, 192], [168, 63, 129, 16]];
    address.is_link_local() || address.octets()[0] == 0 || METADATA.contains(&address.octets())
}

/// The IPv4 address to which an IPv6 address leads in the end: mapped, compatible, through NAT64 (RFC 6052, RFC 8215),
/// 6to4 or ISATAP.
fn carried(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let from = |high: u16, low: u16| Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, _, _, _, _, high, low]
        | [_, _, _, _, 0 | 0x200, 0x5efe, high, low]
        | [0x2002, high, low, ..] => from(high, low),
        _ => None,
    }
}

/// Those of the addresses of a name to which alerts may go; `localhost` leads to loopback only.
fn allowed(name: &str, found: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let local = name.trim_end_matches('.').eq_ignore_ascii_case("localhost");
    found.filter(|address| !is_forbidden(address.ip()) && (!local || address.ip().is_loopback())).collect()
}

/// Resolves names, and answers with those of their addresses that are allowed.
#[derive(Debug, Clone)]
pub(super) struct GuardedResolver;

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let allowed = allowed(name.as_str(), tokio::net::lookup_host((name.as_str(), 0)).await?);
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
            ("https://0xa9fea9fe/", "link-local"),
            ("https://0251.0376.0251.0376/", "link-local"),
            ("https://169.16689662/", "link-local"),
            ("https://169.254.169.254./", "link-local"),
            ("https://%31%36%39.254.169.254/", "link-local"),
            ("https://１６９.２５４.１６９.２５４/", "link-local"),
            ("https://[::169.254.169.254]/", "link-local"),
            ("https://[::ffff:a9fe:a9fe]/", "link-local"),
            ("https://[2002:a9fe:a9fe::1]/", "link-local"),
            ("https://[64:ff9b:1::a9fe:a9fe]/", "link-local"),
            ("https://[2001:db8::200:5efe:169.254.169.254]/", "link-local"),
            ("https://[fd00:ec2::23]/", "link-local"),
            ("https://[fd20:ce::254]/", "link-local"),
            ("https://100.100.100.200/", "link-local"),
            ("https://168.63.129.16/", "link-local"),
            ("https://0.0.0.0/", "link-local"),
            ("https://[::]/", "link-local"),
            ("https://[2001:db8::1]/", ""),
            ("https://[::ffff:10.0.0.7]/", ""),
            ("http://[::ffff:127.0.0.1]/", "plain http"),
            ("http://localhost.evil.example/", "plain http"),
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

    #[test]
    fn proxies() {
        let cases = [
            ("http://proxy.internal:3128", ""),
            ("http://user:pass@10.0.0.7:3128", ""),
            ("http://169.254.169.254/", "link-local"),
            ("https://[::ffff:169.254.169.254]:3128", "link-local"),
            ("socks5://10.0.0.7", "scheme"),
            ("proxy.internal", "not a URL"),
        ];
        for (url, expected) in cases {
            let found = Egress::check_proxy(url).err().map(|error| error.to_string()).unwrap_or_default();
            let fits = if expected.is_empty() { found.is_empty() } else { found.contains(expected) };
            assert!(fits, "{url}: {found}");
        }
    }

    #[test]
    fn of_the_addresses_of_a_name_the_forbidden_ones_are_left_out() {
        let cases = [
            ("siem.example", "192.0.2.7", true),
            ("siem.example", "10.0.0.7", true),
            ("siem.example", "127.0.0.1", true),
            ("siem.example", "169.254.169.254", false),
            ("siem.example", "0.0.0.0", false),
            ("siem.example", "0.1.2.3", false),
            ("siem.example", "::ffff:169.254.169.254", false),
            ("siem.example", "::ffff:0:169.254.169.254", false),
            ("siem.example", "fe80::1", false),
            ("siem.example", "fd00:ec2::254", false),
            ("localhost", "127.0.0.1", true),
            ("LOCALHOST.", "::1", true),
            ("localhost", "192.0.2.7", false),
        ];
        for (name, address, expected) in cases {
            let both = ["198.51.100.7", address].map(|ip| SocketAddr::new(ip.parse().unwrap(), 443));
            let found = allowed(name, both.into_iter());
            assert_eq!(found.contains(&both[1]), expected, "{name} {address}");
            assert_eq!(found.contains(&both[0]), !name.to_lowercase().starts_with("localhost"), "{name}");
        }
    }
}
