//! Where a VM's screen is served.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use kvm_core::{Dial, Endpoint, Error, ErrorKind, HostName, Port, Result};
use kvm_ssh::PortRelay;
use kvm_xml::Domain;
use kvm_xml::domain::{Graphics, GraphicsType};
use serde::Serialize;

use crate::session::Connection;

/// Kinds of screens that a viewer can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// VNC (RFB).
    Vnc,
    /// SPICE, with sound, clipboard and USB.
    Spice,
}

impl Kind {
    /// The word in URIs and viewer files.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Vnc => "vnc",
            Self::Spice => "spice",
        }
    }
}

/// A screen that a running VM serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Screen {
    pub(super) kind: Kind,
    /// Where the host listens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) listen: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) port: Option<Port>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tls_port: Option<Port>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) socket: Option<PathBuf>,
    /// Whether a password is asked for.
    pub(super) password: bool,
    #[serde(skip)]
    pub(super) secret: Option<String>,
}

impl Screen {
    /// The screens of a live document, in its order.
    pub(super) fn of(document: &Domain) -> Vec<Self> {
        document.devices.iter().flat_map(|devices| &devices.graphics).filter_map(Self::one).collect()
    }

    fn one(graphics: &Graphics) -> Option<Self> {
        let kind = match graphics.r#type? {
            GraphicsType::Vnc => Kind::Vnc,
            GraphicsType::Spice => Kind::Spice,
            _ => return None,
        };
        let first = graphics.listen_el.first();
        let socket = graphics.socket.clone().or_else(|| first?.socket.clone()).map(PathBuf::from);
        let listen = graphics.listen.clone().or_else(|| first?.address.clone());
        // -1 and 0 stand for a port that is not there yet, or never.
        let port = |port: Option<i32>| port.filter(|port| *port > 0)?.to_string().parse::<Port>().ok();
        let (port, tls_port) = (port(graphics.port), port(graphics.tls_port));
        let secret = graphics.passwd.clone();
        let found = Self { kind, listen, port, tls_port, socket, password: secret.is_some(), secret };
        (found.port.is_some() || found.tls_port.is_some() || found.socket.is_some()).then_some(found)
    }

    /// The address as people write it.
    pub(super) fn shown(&self) -> String {
        let kind = self.kind.as_str();
        match (&self.socket, self.port.or(self.tls_port)) {
            (Some(socket), _) => format!("{kind}+unix://{}", socket.display()),
            (None, Some(port)) => {
                format!("{kind}://{}:{port}", bracketed(self.listen.as_deref().unwrap_or("127.0.0.1")))
            }
            (None, None) => kind.to_owned(),
        }
    }

    /// Makes the screen's port one that this machine can reach: as it is where it is this machine's, through a relay
    /// where there is a way to the host, and directly where the host lets everybody in.
    pub(super) async fn reach(&self, connection: &Connection) -> Result<Reached> {
        if self.socket.is_none() && self.port.is_none() {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "the screen has an encrypted port only, which has no way here",
            ));
        }
        let transport = &connection.host.transport;
        let (dial, direct) = match (&self.socket, self.port) {
            (Some(socket), _) => (Dial::Unix(socket.clone()), None),
            (None, Some(port)) => {
                let host = self.dialled()?;
                (Dial::Tcp { host: host.clone(), port }, Some((host, port)))
            }
            (None, None) => return Err(Error::internal("a screen without a port")),
        };
        match (transport.endpoint(), direct) {
            (Endpoint::Local, Some((host, port))) => Ok(Reached { host, port, relay: None }),
            (_, direct) => match PortRelay::open(transport.clone(), dial).await {
                Ok(relay) => {
                    let (host, port) = (HostName::parse("127.0.0.1")?, relay.port());
                    Ok(Reached { host, port, relay: Some(relay) })
                }
                // Without a login on the host only what it serves to everybody can be seen.
                Err(e) if e.kind() == ErrorKind::Unsupported => match (direct, connection.target.host()) {
                    (Some((host, port)), Some(there)) if self.is_public() => {
                        let named = if is_loopback(&host) { there.clone() } else { host };
                        Ok(Reached { host: named, port, relay: None })
                    }
                    _ => Err(Error::new(ErrorKind::Unsupported, "the screen is served to the host itself only")
                        .with_detail("use a target over SSH, which has a way there")
                        .with_source(e)),
                },
                Err(e) => Err(e),
            },
        }
    }

    /// The address to dial on the host: a server that listens everywhere listens on the loopback interface, too.
    fn dialled(&self) -> Result<HostName> {
        let everywhere = self.listen.as_deref().is_none_or(|listen| match listen.parse::<IpAddr>() {
            Ok(address) => address.is_unspecified(),
            Err(_) => listen.is_empty(),
        });
        if everywhere {
            return HostName::parse(&Ipv4Addr::LOCALHOST.to_string());
        }
        HostName::parse(self.listen.as_deref().unwrap_or_default())
    }

    /// Whether others than the host are served.
    fn is_public(&self) -> bool {
        let listen = self.listen.as_deref().unwrap_or_default();
        !listen.is_empty() && listen.parse::<IpAddr>().map_or(listen != "localhost", |address| !address.is_loopback())
    }
}

fn is_loopback(host: &HostName) -> bool {
    host.address().is_some_and(|address| address.is_loopback())
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// A screen as it is reached from here.
#[derive(Debug)]
pub(super) struct Reached {
    pub(super) host: HostName,
    pub(super) port: Port,
    /// What has to be kept as long as anybody looks.
    pub(super) relay: Option<PortRelay>,
}

impl Reached {
    /// The address for a viewer.
    pub(super) fn uri(&self, kind: Kind) -> String {
        format!("{}://{}:{}", kind.as_str(), self.host.to_uri(), self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kvm_xml::Document as _;

    fn screens(graphics: &str) -> Vec<Screen> {
        Screen::of(&Domain::from_xml(&format!("<domain><devices>{graphics}</devices></domain>")).unwrap())
    }

    #[test]
    fn what_runs_has_ports_or_sockets_and_the_rest_is_no_screen() {
        let found = screens(
            "<graphics type='vnc' port='5901' autoport='yes' listen='0.0.0.0' passwd='x'/>\
             <graphics type='spice' port='5902' tlsPort='5903'><listen type='address' address='::1'/></graphics>\
             <graphics type='vnc' socket='/run/a b'/><graphics type='vnc' port='-1' autoport='yes'/>\
             <graphics type='sdl' display=':0'/><graphics type='egl-headless'/>",
        );
        let shown: Vec<_> = found.iter().map(Screen::shown).collect();
        assert_eq!(shown, ["vnc://0.0.0.0:5901", "spice://[::1]:5902", "vnc+unix:///run/a b"]);
        assert_eq!(found.iter().map(|screen| screen.password).collect::<Vec<_>>(), [true, false, false]);
        let dialled: Vec<_> = found[..2].iter().map(|screen| screen.dialled().unwrap().to_string()).collect();
        assert_eq!(dialled, ["127.0.0.1", "::1"]);
        assert_eq!(found.iter().map(Screen::is_public).collect::<Vec<_>>(), [true, false, false]);
        let json = serde_json::to_string(&found).unwrap();
        assert!(!json.contains("secret"), "{json}");
    }
}
