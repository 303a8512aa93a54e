//! Whether new machines find a place for their disks and a network.

use kvm_core::{Bytes, Host, NetworkInfo, PoolInfo, Scope, Target};

use super::{Check, Finding, Status};

/// The name that machines without one of their own use.
const DEFAULT: &str = "default";
/// With less than this, no machine can be installed.
const ROOM: Bytes = Bytes::from_gib(5);

pub(super) async fn findings(host: Option<&Host>, target: &Target) -> Vec<Finding> {
    let Some(host) = host else {
        return [Check::Pool, Check::Network].map(|c| Finding::skipped(c, "libvirt does not answer")).into();
    };
    let pool = match host.storage.pools().await {
        Ok(pools) => pool(&pools, target),
        Err(e) => Finding::skipped(Check::Pool, e.to_string()),
    };
    let network = match host.networks.list().await {
        Ok(networks) => network(&networks, target),
        Err(e) => Finding::skipped(Check::Network, e.to_string()),
    };
    vec![pool, network]
}

fn kvmctl(target: &Target) -> String {
    format!("kvmctl -c {target}")
}

fn is_session(target: &Target) -> bool {
    matches!(target, Target::Qemu { scope: Scope::Session, .. })
}

fn pool(pools: &[PoolInfo], target: &Target) -> Finding {
    let kvmctl = kvmctl(target);
    let warn = |what: String| Finding::new(Check::Pool, Status::Warn, what);
    let Some(pool) = pools.iter().find(|p| p.name == DEFAULT) else {
        let place = if is_session(target) { "~/.local/share/libvirt/images" } else { "/var/lib/libvirt/images" };
        return warn("there is no pool named default".into())
            .why("new disks need a pool, and this is where they go unless another is named")
            .fix(format!("{kvmctl} pool create default --target {place} --autostart"));
    };
    if !pool.active {
        return warn("pool default is not active".into()).fix(format!("{kvmctl} pool start default"));
    }
    let free = pool.available;
    let place = pool.target.as_ref().map_or_else(|| pool.kind.clone(), ToString::to_string);
    let what = match free {
        Some(free) => format!("pool default is active, {free} free in {place}"),
        None => format!("pool default is active in {place}"),
    };
    if free.is_some_and(|free| free < ROOM) {
        return warn(what).why(format!("less than {ROOM} are hardly enough for one machine"));
    }
    if !pool.autostart {
        return warn(what).why("it does not start when the host boots").fix(format!("{kvmctl} pool autostart default"));
    }
    Finding::ok(Check::Pool, what)
}

fn network(networks: &[NetworkInfo], target: &Target) -> Finding {
    let kvmctl = kvmctl(target);
    let Some(network) = networks.iter().find(|n| n.name == DEFAULT) else {
        if is_session(target) {
            return Finding::ok(Check::Network, "no network named default; machines use user networking");
        }
        return Finding::new(Check::Network, Status::Warn, "there is no network named default")
            .why("machines that name no network get user networking: out only, and slower")
            .fix(format!("{kvmctl} net create default --cidr 192.168.122.0/24 --autostart"));
    };
    if !network.active {
        return Finding::new(Check::Network, Status::Warn, "network default is not active")
            .why("machines on it cannot start")
            .fix(format!("{kvmctl} net start default"));
    }
    if !network.autostart {
        return Finding::new(Check::Network, Status::Warn, "network default is active")
            .why("it does not start when the host boots")
            .fix(format!("{kvmctl} net autostart default"));
    }
    Finding::ok(Check::Network, format!("network default is active ({})", network.forward))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kvm_core::{DiskPath, NetworkName, PoolName};

    fn target(text: &str) -> Target {
        Target::parse(text).unwrap()
    }

    fn a_pool() -> PoolInfo {
        PoolInfo {
            name: PoolName::parse(DEFAULT).unwrap(),
            kind: "dir".into(),
            active: true,
            autostart: true,
            persistent: true,
            target: Some(DiskPath::parse("/var/lib/libvirt/images").unwrap()),
            capacity: Some(Bytes::from_gib(100)),
            allocation: Some(Bytes::from_gib(50)),
            available: Some(Bytes::from_gib(50)),
        }
    }

    #[test]
    fn each_fault_of_the_pool_has_its_fix() {
        let system = target("qemu:///system");
        assert_eq!(pool(&[a_pool()], &system).status, Status::Ok);
        for (broken, fix) in [
            (vec![], Some("kvmctl -c qemu:///system pool create default --target /var/lib/libvirt/images --autostart")),
            (vec![PoolInfo { active: false, ..a_pool() }], Some("kvmctl -c qemu:///system pool start default")),
            (vec![PoolInfo { autostart: false, ..a_pool() }], Some("kvmctl -c qemu:///system pool autostart default")),
            (vec![PoolInfo { available: Some(Bytes::from_gib(1)), ..a_pool() }], None),
        ] {
            let finding = pool(&broken, &system);
            assert_eq!(finding.status, Status::Warn);
            match fix {
                Some(fix) => assert!(finding.fix.as_ref().unwrap().contains(fix), "{finding:?}"),
                None => assert_eq!(finding.fix, None),
            }
        }
    }

    #[test]
    fn a_session_needs_no_network() {
        assert_eq!(network(&[], &target("qemu:///session")).status, Status::Ok);
        let missing = network(&[], &target("qemu:///system"));
        assert_eq!(missing.status, Status::Warn);
        assert!(missing.fix.unwrap().starts_with("kvmctl -c qemu:///system net create default --cidr "));
        let idle = NetworkInfo {
            name: NetworkName::parse(DEFAULT).unwrap(),
            active: false,
            autostart: true,
            persistent: true,
            forward: "nat".into(),
            bridge: None,
        };
        assert!(network(&[idle], &target("qemu:///system")).fix.unwrap().ends_with("net start default"));
    }
}
