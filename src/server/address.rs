//! Whose request it is, when proxies stand between.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::extract::{ConnectInfo, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap};
use ipnet::IpNet;
use tokio::time::Instant;

use super::App;
use super::buckets::{Buckets, Rate};
use super::limits::network;

const FORWARDED_FOR: &str = "x-forwarded-for";
const FORWARDED_PROTO: &str = "x-forwarded-proto";

/// Who may say for whom a request is.
#[derive(Debug)]
pub(super) struct Proxies {
    trusted: Vec<IpNet>,
    /// An ignored header is reported once a minute for each peer.
    reported: Buckets<IpAddr>,
}

impl Proxies {
    pub(super) fn new(trusted: Vec<IpNet>) -> Self {
        Self { trusted, reported: Buckets::new(Rate { burst: 1, every: Duration::from_mins(1) }) }
    }

    /// Whether an address is a proxy's whose word counts.
    pub(super) fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(&address))
    }

    /// The peer, unless it is trusted: then the right-most forwarded address that is not. What lies further left anybody can have
    /// written. Where an entry cannot be read, the proxy that passed it on is all that is known.
    fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        let lines = headers.get_all(FORWARDED_FOR).iter().rev();
        let entries = lines.flat_map(|line| line.to_str().unwrap_or("unreadable").rsplit(','));
        for entry in entries {
            if !self.trusts(client) {
                break;
            }
            let Some(address) = address(entry.trim()) else { break };
            client = address;
        }
        client
    }

    /// Whether the client came over TLS, as a trusted proxy says. Of several proxies' words the first is about the client.
    pub(super) fn say_tls(&self, request: &Request) -> bool {
        let said = request.headers().get(FORWARDED_PROTO).and_then(|value| value.to_str().ok());
        let tls = said.and_then(|said| said.split(',').next()).is_some_and(|word| word.trim().eq_ignore_ascii_case("https"));
        tls && peer(request.extensions()).is_some_and(|peer| self.trusts(peer))
    }

    /// Says in the log that a header was ignored, because whoever configured a proxy and not this node wonders.
    pub(super) fn report_ignored(&self, request: &Request) {
        if !request.headers().contains_key(FORWARDED_FOR) {
            return;
        }
        if let Some(peer) = peer(request.extensions())
            && !self.trusts(peer)
            && self.reported.take(network(peer), Instant::now()).is_ok()
        {
            tracing::warn!(%peer, "X-Forwarded-For of this peer is ignored: it is not one of --trusted-proxies");
        }
    }
}

/// An address as proxies write it: bare, in brackets, or with a port.
fn address(entry: &str) -> Option<IpAddr> {
    let bare = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(entry);
    let address = bare.parse().or_else(|_| entry.parse().map(|socket: SocketAddr| socket.ip()));
    address.ok().map(|address| address.to_canonical())
}

fn peer(extensions: &Extensions) -> Option<IpAddr> {
    extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip().to_canonical())
}

/// The address a request comes from, behind trusted proxies the one they vouch for; `None` where the routes are served by
/// something that does not tell the peer.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClientAddress(pub(super) Option<IpAddr>);

impl FromRequestParts<App> for ClientAddress {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        Ok(Self(peer(&parts.extensions).map(|peer| app.proxies.client(peer, &parts.headers))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_029_only_trusted_proxies_say_who_calls() {
        let trusting = ["10.0.0.0/8", "2001:db8::/32"].map(|network| network.parse().unwrap()).to_vec();
        let rows: [(&str, &[&str], &str); 19] = [
            ("192.0.2.1", &[], "192.0.2.1"),
            ("192.0.2.1", &["203.0.113.7"], "192.0.2.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.7"], "203.0.113.7"),
            ("::ffff:10.0.0.1", &["203.0.113.7"], "203.0.113.7"),
            ("2001:db8::1", &["203.0.113.7"], "203.0.113.7"),
            ("10.0.0.1", &["198.51.100.9, 203.0.113.7"], "203.0.113.7"),
            ("10.0.0.1", &["198.51.100.9, 203.0.113.7, 10.2.3.4"], "203.0.113.7"),
            ("10.0.0.1", &["198.51.100.9", "203.0.113.7"], "203.0.113.7"),
            ("10.0.0.1", &["203.0.113.7", "10.2.3.4"], "203.0.113.7"),
            ("10.0.0.1", &["10.5.5.5, 10.2.3.4"], "10.5.5.5"),
            ("10.0.0.1", &["203.0.113.7:4711"], "203.0.113.7"),
            ("10.0.0.1", &["[2001:dead::7]:4711"], "2001:dead::7"),
            ("10.0.0.1", &["[2001:dead::7]"], "2001:dead::7"),
            ("10.0.0.1", &["::ffff:203.0.113.7"], "203.0.113.7"),
            ("10.0.0.1", &["203.0.113.7, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.7, unknown, 10.2.3.4"], "10.2.3.4"),
            ("10.0.0.1", &[""], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.7,"], "10.0.0.1"),
        ];
        let proxies = Proxies::new(trusting);
        for (peer, lines, expected) in rows {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(FORWARDED_FOR, line.parse().unwrap());
            }
            let client = proxies.client(peer.parse().unwrap(), &headers);
            assert_eq!(client, expected.parse::<IpAddr>().unwrap(), "{peer} {lines:?}");
        }
        let mut headers = HeaderMap::new();
        headers.append(FORWARDED_FOR, "203.0.113.7".parse().unwrap());
        let nobody = Proxies::new(Vec::new());
        assert_eq!(nobody.client("10.0.0.1".parse().unwrap(), &headers).to_string(), "10.0.0.1", "nobody is trusted by default");
    }
}
