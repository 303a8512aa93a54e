//! Virtual networks.

use std::time::Duration;

use kvm_core::{Autostart, ErrorKind, NetworkName, Result};

use crate::case::{Failure, cases, holds, refused, same, sorted};
use crate::cx::Cx;

const PAUSE: Duration = Duration::from_millis(500);

cases! { CASES in "networks" on Cx;
    /// A network that was defined is not active, and is what its document says.
    async fn a_defined_network_is_not_active(cx) {
        let name = defined(cx, "a").await?;
        let network = cx.networks().find(&name).await?;
        holds("it is not active", !network.active)?;
        holds("it is persistent", network.persistent)?;
        holds("it does not start by itself", !network.autostart)?;
        same("forward", network.forward.as_str(), "isolated")?;
        let document = cx.networks().definition(&name).await?;
        same("name in the document", document.name.as_deref(), Some(name.as_str()))?;
        let addresses = |document: kvm_xml::Network| document.ip.into_iter().map(|ip| ip.address).collect::<Vec<_>>();
        same("addresses", addresses(document), addresses(cx.bench().network(&name)))
    }

    /// A list of networks is sorted by name and says what finding says.
    async fn a_list_is_sorted_by_name(cx) {
        for word in ["b", "a10", "a2"] {
            defined(cx, word).await?;
        }
        let all = cx.networks().list().await?;
        sorted("names", &all, |network| network.name.clone())?;
        let wanted = cx.network_name("a10")?;
        let listed = all.into_iter().find(|network| network.name == wanted);
        same("listed", listed, Some(cx.networks().find(&wanted).await?))
    }

    /// A name that is taken is refused.
    async fn a_taken_name_is_refused(cx) {
        let name = defined(cx, "a").await?;
        refused(cx.networks().define(&cx.bench().network(&name)).await, ErrorKind::AlreadyExists)
    }

    /// A document that makes no sense is invalid, and defines nothing.
    async fn a_document_without_a_name_is_invalid(cx) {
        let name = cx.network_name("a")?;
        let mut document = cx.bench().network(&name);
        document.name = None;
        refused(cx.networks().define(&document).await, ErrorKind::InvalidInput)?;
        refused(cx.networks().find(&name).await, ErrorKind::NotFound)
    }

    /// A network is started and stopped.
    async fn a_network_is_started_and_stopped(cx) {
        let name = defined(cx, "a").await?;
        cx.networks().start(&name).await?;
        holds("it is active", cx.networks().find(&name).await?.active)?;
        cx.networks().stop(&name).await?;
        holds("it is not active", !cx.networks().find(&name).await?.active)
    }

    /// What is active cannot be started or undefined.
    async fn what_is_active_is_not_started(cx) {
        let name = defined(cx, "a").await?;
        cx.networks().start(&name).await?;
        refused(cx.networks().start(&name).await, ErrorKind::InvalidState)?;
        refused(cx.networks().undefine(&name).await, ErrorKind::InvalidState)?;
        holds("it is active still", cx.networks().find(&name).await?.active)
    }

    /// What is not active cannot be stopped.
    async fn what_is_not_active_is_not_stopped(cx) {
        let name = defined(cx, "a").await?;
        refused(cx.networks().stop(&name).await, ErrorKind::InvalidState)
    }

    /// A network that was undefined is gone, and its name is free.
    async fn an_undefined_network_is_gone(cx) {
        let name = defined(cx, "a").await?;
        cx.networks().undefine(&name).await?;
        refused(cx.networks().find(&name).await, ErrorKind::NotFound)?;
        defined(cx, "a").await?;
        Ok(())
    }

    /// Setting the autostart shows; setting what is set succeeds.
    async fn autostart_is_set_and_shown(cx) {
        let name = defined(cx, "a").await?;
        for autostart in [Autostart::On, Autostart::On, Autostart::Off, Autostart::Off] {
            cx.networks().set_autostart(&name, autostart).await?;
            same("autostart", cx.networks().find(&name).await?.autostart, autostart == Autostart::On)?;
        }
        Ok(())
    }

    /// No call finds a network that is not there.
    async fn what_is_not_there_is_not_found(cx) {
        let (networks, name) = (cx.networks(), cx.network_name("absent")?);
        for answer in [
            networks.find(&name).await.map(drop),
            networks.definition(&name).await.map(drop),
            networks.undefine(&name).await,
            networks.start(&name).await,
            networks.stop(&name).await,
            networks.set_autostart(&name, Autostart::On).await,
            networks.leases(&name).await.map(drop),
        ] {
            refused::<()>(answer, ErrorKind::NotFound)?;
        }
        Ok(())
    }

    /// A network on which nobody is has no leases, or the backend says that it keeps none.
    async fn a_quiet_network_has_no_leases(cx) {
        let name = defined(cx, "a").await?;
        match cx.networks().leases(&name).await {
            Ok(leases) => same("leases", leases, vec![]),
            Err(e) => same("kind", e.kind(), ErrorKind::Unsupported),
        }
    }

    /// What the DHCP server gave to a guest is listed until it expires.
    async fn a_guests_lease_is_listed(cx) {
        let id = cx.running("a").await?;
        let document = cx.hypervisor().definition(&id, kvm_core::View::LIVE).await?;
        let interfaces = document.devices.map(|devices| devices.interface).unwrap_or_default();
        let interface = interfaces.into_iter().find_map(|interface| Some((interface.source?.network?, interface.mac?)));
        let (network, mac) = interface.ok_or_else(|| Failure::new("the machine is on no network"))?;
        let (network, mac) = (NetworkName::adopt(&network)?, mac.address.map(|mac| mac.0));
        let mut waited = Duration::ZERO;
        loop {
            let leases = cx.networks().leases(&network).await?;
            if let Some(lease) = leases.iter().find(|lease| Some(lease.mac.octets()) == mac) {
                return holds("it expires later", lease.expires.is_none_or(|end| end > cx.clock().now()));
            }
            if waited > cx.patience() {
                return Err(Failure::new("no lease in time"));
            }
            cx.clock().sleep(PAUSE).await;
            waited += PAUSE;
        }
    }
}

async fn defined(cx: &Cx, word: &str) -> Result<NetworkName> {
    let name = cx.network_name(word)?;
    cx.networks().define(&cx.bench().network(&name)).await?;
    Ok(name)
}
