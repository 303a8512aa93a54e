//! Storage pools.

use kvm_core::{Autostart, ErrorKind, PoolName};

use crate::case::{Failure, Outcome, cases, holds, refused, same, sorted};
use crate::cx::Cx;

cases! { CASES in "pools" on Cx;
    /// A pool that was created is active and says how much room it has.
    async fn a_created_pool_is_active(cx) {
        for (word, autostart) in [("on", Autostart::On), ("off", Autostart::Off)] {
            let name = cx.pool_name(word)?;
            cx.storage().create_pool(&cx.bench().pool(&name), autostart).await?;
            let pool = cx.storage().find_pool(&name).await?;
            holds("it is active", pool.active)?;
            holds("it is persistent", pool.persistent)?;
            same("type", pool.kind.as_str(), "dir")?;
            same("autostart", pool.autostart, autostart == Autostart::On)?;
            let target = cx.bench().pool(&name).target.and_then(|target| target.path);
            same("target", pool.target.map(|target| target.as_str().to_owned()), target)?;
            let room = pool.capacity.zip(pool.available).zip(pool.allocation);
            holds("it says how much room it has", room.is_some_and(|((all, free), _)| free <= all))?;
        }
        Ok(())
    }

    /// A list of pools is sorted by name and says what finding says.
    async fn a_list_is_sorted_by_name(cx) {
        for word in ["b", "a10", "a2"] {
            cx.active_pool(word).await?;
        }
        let all = cx.storage().pools().await?;
        sorted("names", &all, |pool| pool.name.clone())?;
        let wanted = cx.pool_name("a10")?;
        let listed = all.into_iter().find(|pool| pool.name == wanted);
        same("listed", listed, Some(cx.storage().find_pool(&wanted).await?))
    }

    /// A name that is taken is refused, and the pool that has it stays as it is.
    async fn a_taken_name_is_refused(cx) {
        let name = cx.active_pool("a").await?;
        let mut document = cx.bench().pool(&cx.pool_name("b")?);
        document.name = Some(name.as_str().to_owned());
        let before = cx.storage().find_pool(&name).await?;
        refused(cx.storage().create_pool(&document, Autostart::On).await, ErrorKind::AlreadyExists)?;
        same("the pool", cx.storage().find_pool(&name).await?, before)
    }

    /// A target that is taken is refused, and nothing is defined.
    async fn a_taken_target_is_refused(cx) {
        let name = cx.active_pool("a").await?;
        let mut document = cx.bench().pool(&name);
        let other = cx.pool_name("b")?;
        document.name = Some(other.as_str().to_owned());
        refused(cx.storage().create_pool(&document, Autostart::Off).await, ErrorKind::AlreadyExists)?;
        refused(cx.storage().find_pool(&other).await, ErrorKind::NotFound)
    }

    /// A document without name, type or target is invalid, and defines nothing.
    async fn an_incomplete_document_is_invalid(cx) {
        let name = cx.pool_name("a")?;
        let whole = || cx.bench().pool(&name);
        let (mut nameless, mut typeless, mut homeless) = (whole(), whole(), whole());
        nameless.name = None;
        typeless.r#type = None;
        homeless.target = None;
        for document in [nameless, typeless, homeless] {
            refused(cx.storage().create_pool(&document, Autostart::Off).await, ErrorKind::InvalidInput)?;
        }
        refused(cx.storage().find_pool(&name).await, ErrorKind::NotFound)
    }

    /// When a pool's directory cannot be made, nothing stays defined.
    async fn a_pool_that_cannot_be_made_is_not_defined(cx) {
        let file = cx.thin_volume(&cx.active_pool("a").await?, "file", 1 << 20).await?;
        let name = cx.pool_name("b")?;
        let mut document = cx.bench().pool(&name);
        document.target.get_or_insert_default().path = Some(format!("{}/below", file.host_path()?.as_str()));
        holds("it is refused", cx.storage().create_pool(&document, Autostart::Off).await.is_err())?;
        refused(cx.storage().find_pool(&name).await, ErrorKind::NotFound)
    }

    /// A pool that was stopped is not active, says nothing of its room, and can be started again.
    async fn a_pool_is_stopped_and_started(cx) {
        let name = cx.active_pool("a").await?;
        cx.storage().stop_pool(&name).await?;
        let pool = cx.storage().find_pool(&name).await?;
        holds("it is not active", !pool.active)?;
        same("capacity", pool.capacity, None)?;
        cx.storage().start_pool(&name).await?;
        holds("it is active again", cx.storage().find_pool(&name).await?.active)
    }

    /// What is active cannot be started or undefined.
    async fn what_is_active_is_not_started(cx) {
        let name = cx.active_pool("a").await?;
        refused(cx.storage().start_pool(&name).await, ErrorKind::InvalidState)?;
        refused(cx.storage().undefine_pool(&name).await, ErrorKind::InvalidState)?;
        holds("it is active still", cx.storage().find_pool(&name).await?.active)
    }

    /// What is not active cannot be stopped, refreshed or looked into.
    async fn what_is_not_active_is_not_stopped(cx) {
        let name = cx.active_pool("a").await?;
        cx.storage().stop_pool(&name).await?;
        refused(cx.storage().stop_pool(&name).await, ErrorKind::InvalidState)?;
        refused(cx.storage().refresh_pool(&name).await, ErrorKind::InvalidState)?;
        refused(cx.storage().volumes(&name).await, ErrorKind::InvalidState)
    }

    /// A pool that was undefined is gone, and its name and target are free.
    async fn an_undefined_pool_is_gone(cx) {
        let name = cx.active_pool("a").await?;
        cx.storage().stop_pool(&name).await?;
        cx.storage().undefine_pool(&name).await?;
        refused(cx.storage().find_pool(&name).await, ErrorKind::NotFound)?;
        cx.active_pool("a").await?;
        Ok(())
    }

    /// Setting the autostart shows; setting what is set succeeds.
    async fn autostart_is_set_and_shown(cx) {
        let name = cx.active_pool("a").await?;
        for autostart in [Autostart::On, Autostart::On, Autostart::Off, Autostart::Off] {
            cx.storage().set_pool_autostart(&name, autostart).await?;
            same("autostart", cx.storage().find_pool(&name).await?.autostart, autostart == Autostart::On)?;
        }
        Ok(())
    }

    /// No call finds a pool that is not there.
    async fn what_is_not_there_is_not_found(cx) {
        absent(cx, &cx.pool_name("absent")?).await
    }

    /// An active pool can be refreshed.
    async fn a_refresh_finds_nothing_new(cx) {
        let name = cx.active_pool("a").await?;
        let volume = cx.thin_volume(&name, "disk.qcow2", 1 << 20).await?;
        cx.storage().refresh_pool(&name).await?;
        let names: Vec<_> = cx.storage().volumes(&name).await?.into_iter().map(|v| v.name).collect();
        same("volumes", names, vec![volume.name])
    }
}

async fn absent(cx: &Cx, name: &PoolName) -> Outcome {
    let storage = cx.storage();
    for answer in [
        storage.find_pool(name).await.map(drop),
        storage.start_pool(name).await,
        storage.stop_pool(name).await,
        storage.refresh_pool(name).await,
        storage.undefine_pool(name).await,
        storage.set_pool_autostart(name, Autostart::On).await,
        storage.volumes(name).await.map(drop),
    ] {
        refused::<()>(answer, ErrorKind::NotFound)?;
    }
    if storage.pools().await?.iter().any(|pool| pool.name == *name) {
        return Err(Failure::new("it is listed all the same"));
    }
    Ok(())
}
