//! Images that are there already: what is on record of them, and what their own headers say, decides how they are opened;
//! never a guess.

use std::path::Path;

use kvm_core::{DiskPath, Error, ErrorKind, Host, Resource, Result};
use kvm_image::graph::Name;
use kvm_image::{CHAIN_MAX, Expect, Format, ImageError, Secret, check};

use crate::chain::{DiskGraph, bases, inspect, normal};
use crate::place::Places;
use crate::policy::{ForeignImages, Policy};

/// What was under way when an image proved to be risky, so that a surface can say how to accept it.
pub(crate) const CHECK_IMAGE: &str = "check-image";

/// Looks at an image that a machine is to get, and at everything below it, before a hypervisor opens any of them.
///
/// Gives the format by which it is to be opened: what was said, what a machine's definition has on record (a guest can write
/// any header into its raw disk), or what its header says. `None` when its file cannot be read from here: then the word of
/// the host has to do.
///
/// `InvalidInput` when its header names a file where no images may lie, an address or a data file, when it is encrypted and there is no key, is
/// several things at once, or is not what was said; `Corrupt` when it is damaged. All of these can be accepted.
pub(crate) async fn judge(
    host: &Host,
    (places, graph): (&Places<'_>, &DiskGraph),
    path: &DiskPath,
    (said, key): (Option<Format>, Secret),
    policy: &Policy,
) -> Result<Option<Format>> {
    let said = said.or_else(|| graph.is_raw(path).then_some(Format::Raw));
    if said == Some(Format::Raw) {
        return Ok(said);
    }
    let mut expect = Expect::any().in_a_chain();
    expect.format = said;
    expect.secret = key;
    let (mut format, mut path) = (said, path.clone());
    for _ in 0..CHAIN_MAX {
        let seen = match inspect(&*host.transport, Path::new(path.as_str()), expect.format).await {
            Ok(seen) => seen,
            Err(e) => {
                tracing::debug!(error = %e, path = %path, "the header of an image cannot be read");
                return Ok(format);
            }
        };
        match check(&seen, &expect) {
            Ok(found) => format = format.or(Some(found)),
            Err(e) if policy.foreign_images == ForeignImages::Accept => {
                tracing::warn!(error = %e, path = %path, "a risky image is accepted");
                return Ok(format.or(seen.format));
            }
            Err(e) => return Err(refused(&path, e)),
        }
        let Some(reference) = &seen.backing else { return Ok(format) };
        let below = bases(path.as_str(), reference).into_iter().find_map(|(name, _)| match name {
            Name::Path { path } => DiskPath::adopt(&path).ok(),
            _ => None,
        });
        let Some(below) = below else { return Ok(format) };
        if policy.foreign_images == ForeignImages::Refuse {
            places.at(&below).await.map_err(|e| {
                let message = format!("image {path} lies upon {below}, which is not allowed");
                Error::new(ErrorKind::InvalidInput, message)
                    .on(Resource::Volume(path.as_str().to_owned()))
                    .during(CHECK_IMAGE)
                    .with_source(e)
            })?;
        }
        expect.format = reference.known_format();
        if expect.format == Some(Format::Raw) {
            return Ok(format);
        }
        path = below;
        // What is below has a key of its own, which nobody gave.
        expect.secret = Secret::Missing;
    }
    Err(refused(&path, ImageError::TooDeep { max: CHAIN_MAX }))
}

fn refused(path: &DiskPath, e: ImageError) -> Error {
    let e = kvm_core::Error::from(e);
    Error::new(e.kind(), format!("image {path} is refused: {}", e.message()))
        .on(Resource::Volume(normal(path.as_str())))
        .during(CHECK_IMAGE)
        .with_source(e)
}
