//! Whether an image may be used as what the caller takes it for.

use kvm_core::Bytes;

use crate::{Format, ImageError, Inspection, ReferenceKind, Risk};

/// What the caller knows about an image and allows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Expect {
    /// The format on record; `None` for an image from a stranger.
    pub format: Option<Format>,
    /// Whether it may lie upon another image.
    pub chains: Chains,
    /// Whether there is a key for it.
    pub secret: Secret,
    /// The largest disk that is taken.
    pub size_max: Bytes,
}

/// Whether an image may lie upon another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chains {
    /// It must be complete by itself.
    Refused,
    /// The chain was made here: a backing file is taken when its header names a format, addresses and options never.
    Ours,
}

/// Whether there is a key for an encrypted image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secret {
    /// There is none.
    Missing,
    /// It is given to whoever opens the image.
    Given,
}

impl Expect {
    /// Anything complete and not encrypted, of up to [`Bytes::VOLUME_MAX`]: an image from a stranger.
    #[must_use]
    pub fn any() -> Self {
        Self { format: None, chains: Chains::Refused, secret: Secret::Missing, size_max: Bytes::VOLUME_MAX }
    }

    /// As [`Expect::any`], of this format.
    #[must_use]
    pub fn format(format: Format) -> Self {
        Self { format: Some(format), ..Self::any() }
    }

    /// Also when it lies upon an image of ours.
    #[must_use]
    pub fn in_a_chain(self) -> Self {
        Self { chains: Chains::Ours, ..self }
    }

    /// Also when it is encrypted.
    #[must_use]
    pub fn with_secret(self) -> Self {
        Self { secret: Secret::Given, ..self }
    }

    /// Up to this size.
    #[must_use]
    pub fn up_to(self, size_max: Bytes) -> Self {
        Self { size_max, ..self }
    }
}

/// Refuses an image that is not what is expected, or that could make a program read what it should not.
///
/// Gives the format by which it is to be opened from now on. An image that is expected to be raw is raw, whatever was
/// seen in it.
///
/// # Errors
/// [`ImageError::WrongFormat`], [`ImageError::TooLarge`], or [`ImageError::Refused`] with every reason.
pub fn check(seen: &Inspection, expect: &Expect) -> Result<Format, ImageError> {
    if expect.format == Some(Format::Raw) {
        return match seen.length {
            Bytes::ZERO => Err(ImageError::Refused { risks: vec![Risk::Empty] }),
            length => fits(length, expect).map(|()| Format::Raw),
        };
    }
    let mut risks: Vec<Risk> = seen.risks.iter().filter(|risk| !allowed(risk, expect)).cloned().collect();
    if let (Some(found), Some(expected)) = (seen.format, expect.format) {
        let is_luks = expected == Format::Luks && found == Format::Raw && seen.luks().is_some();
        if found != expected && !is_luks && !risks.contains(&Risk::Empty) {
            return Err(ImageError::WrongFormat { expected, found });
        }
        if let Some(luks) = seen.luks().filter(|_| is_luks && expect.secret == Secret::Missing) {
            risks.push(Risk::Encrypted { format: expected, method: luks.to_string() });
        }
    }
    match (expect.format.or(seen.format), seen.virtual_size) {
        (Some(format), Some(size)) if risks.is_empty() => fits(size, expect).map(|()| format),
        (_, None) if risks.is_empty() => {
            let format = seen.format.unwrap_or(Format::Raw);
            Err(ImageError::Damaged { format, what: "the size of its disk is not known".into() })
        }
        _ => Err(ImageError::Refused { risks }),
    }
}

fn fits(size: Bytes, expect: &Expect) -> Result<(), ImageError> {
    if size > expect.size_max { Err(ImageError::TooLarge { size, max: expect.size_max }) } else { Ok(()) }
}

fn allowed(risk: &Risk, expect: &Expect) -> bool {
    match risk {
        Risk::Backing { reference } => {
            let is_file = reference.kind == ReferenceKind::File && reference.known_format().is_some();
            expect.chains == Chains::Ours && is_file
        }
        Risk::Encrypted { .. } => expect.secret == Secret::Given,
        _ => false,
    }
}
