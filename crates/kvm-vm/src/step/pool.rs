//! Pools that come and go.

use async_trait::async_trait;
use kvm_core::op::{Already, Probe, Step, StepContext};
use kvm_core::{Autostart, Build, Error, ErrorKind, PoolInfo, PoolName, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{document, to_json, unless_gone};
use crate::pool::setup;

/// The pool as it is; `None` when there is none.
async fn find(cx: &StepContext<'_>, pool: &PoolName) -> Result<Option<PoolInfo>> {
    match cx.host.storage.find_pool(pool).await {
        Ok(found) => Ok(Some(found)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

fn probe(done: bool) -> Result<Probe> {
    Ok(if done { Probe::Done } else { Probe::Pending })
}

fn no_way_back() -> Result<()> {
    Err(Error::internal("what is gone from a pool cannot be brought back"))
}

/// Defines steps about one pool.
macro_rules! steps {
    ($($(#[$doc:meta])* $step:ident { $($field:ident: $type:ty)? } $name:literal, $verb:literal, $already:ident;
        probe($probed:ident, $pcx:ident) { $($probe:tt)* }
        apply($applied:ident, $acx:ident) { $($apply:tt)* }
        undo($undone:ident, $ucx:ident) { $($undo:tt)* }
    )*) => {$(
        $(#[$doc])*
        #[derive(Debug, Serialize, Deserialize)]
        pub(crate) struct $step {
            pub(crate) pool: PoolName,
            $(pub(crate) $field: $type,)?
        }

        impl $step {
            pub(crate) const NAME: &'static str = $name;
        }

        #[async_trait]
        impl Step for $step {
            fn name(&self) -> &'static str {
                Self::NAME
            }

            fn title(&self) -> String {
                format!(concat!($verb, " pool {}"), self.pool)
            }

            fn to_json(&self) -> Result<Value> {
                to_json(self)
            }

            fn already(&self) -> Already {
                Already::$already
            }

            async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
                let ($probed, $pcx) = (self, cx);
                $($probe)*
            }

            async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
                let ($applied, $acx) = (self, cx);
                $($apply)*
            }

            async fn undo(&self, cx: &StepContext<'_>) -> Result<()> {
                let ($undone, $ucx) = (self, cx);
                $($undo)*
            }
        }
    )*};
}

steps! {
    /// Defines a pool, which does not run then.
    DefinePool { document: String } "define-pool", "define", Conflict;
    probe(step, cx) { probe(find(cx, &step.pool).await?.is_some()) }
    apply(step, cx) { setup(cx.host)?.define(&document(&step.document)?).await }
    undo(step, cx) {
        match find(cx, &step.pool).await? {
            Some(pool) if pool.active => {
                cx.host.storage.stop_pool(&step.pool).await?;
                unless_gone(cx.host.storage.undefine_pool(&step.pool).await)
            }
            Some(_) => unless_gone(cx.host.storage.undefine_pool(&step.pool).await),
            None => Ok(()),
        }
    }

    /// Makes what a pool needs before it can start. Nobody sees whether it was: one that did not start is built again.
    BuildPool { build: Build } "build-pool", "build", Fine;
    probe(step, cx) { probe(find(cx, &step.pool).await?.is_some_and(|pool| pool.active)) }
    apply(step, cx) { setup(cx.host)?.build(&step.pool, step.build).await }
    // An empty place is in nobody's way.
    undo(_step, _cx) { Ok(()) }

    /// Starts a pool.
    StartPool {} "start-pool", "start", Fine;
    probe(step, cx) { probe(find(cx, &step.pool).await?.is_some_and(|pool| pool.active)) }
    apply(step, cx) { cx.host.storage.start_pool(&step.pool).await }
    undo(step, cx) {
        match find(cx, &step.pool).await? {
            Some(pool) if pool.active => cx.host.storage.stop_pool(&step.pool).await,
            _ => Ok(()),
        }
    }

    /// Has a pool start with its host.
    AutostartPool {} "autostart-pool", "enable autostart of", Fine;
    probe(step, cx) { probe(find(cx, &step.pool).await?.is_some_and(|pool| pool.autostart)) }
    apply(step, cx) { cx.host.storage.set_pool_autostart(&step.pool, Autostart::On).await }
    undo(step, cx) { unless_gone(cx.host.storage.set_pool_autostart(&step.pool, Autostart::Off).await) }

    /// Stops a pool; its data stays.
    StopPool {} "stop-pool", "stop", Fine;
    probe(step, cx) { probe(find(cx, &step.pool).await?.is_none_or(|pool| !pool.active)) }
    apply(step, cx) { unless_gone(cx.host.storage.stop_pool(&step.pool).await) }
    undo(_step, _cx) { no_way_back() }

    /// Destroys what a pool consists of. Nobody sees whether that is done, so it may be done twice.
    DestroyPool {} "destroy-pool", "destroy the data of", Fine;
    probe(step, cx) { probe(find(cx, &step.pool).await?.is_none()) }
    apply(step, cx) {
        match setup(cx.host)?.destroy_data(&step.pool).await {
            // Pools that others keep have nothing of their own.
            Err(e) if e.kind() == ErrorKind::Unsupported => Ok(()),
            destroyed => unless_gone(destroyed),
        }
    }
    undo(_step, _cx) { no_way_back() }

    /// Forgets a pool.
    UndefinePool {} "undefine-pool", "forget", Fine;
    probe(step, cx) { probe(find(cx, &step.pool).await?.is_none()) }
    apply(step, cx) { unless_gone(cx.host.storage.undefine_pool(&step.pool).await) }
    undo(_step, _cx) { no_way_back() }
}
