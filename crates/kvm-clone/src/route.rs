//! How the content of images gets to another host.

use kvm_core::{Error, ErrorKind, Resource, Result};

use crate::survey::Survey;
use crate::transfer::Session;

/// Who carries the images of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The host copies them itself, and nobody compares.
    SameHost,
    /// The helpers of both hosts: compressed and limited as asked, read back and compared.
    Helpers,
    /// libvirt of both hosts: read back and compared.
    Libvirt,
}

/// How the content of images gets to the other host.
pub(crate) enum Route {
    /// Not at all: the host copies them itself.
    SameHost,
    /// From helper to helper.
    Helpers,
    /// Through this program and both hosts' libvirt.
    Libvirt { why: String },
}

impl Route {
    pub(crate) fn way(&self) -> Way {
        match self {
            Self::SameHost => Way::SameHost,
            Self::Helpers => Way::Helpers,
            Self::Libvirt { .. } => Way::Libvirt,
        }
    }

    pub(crate) async fn choose(survey: &Survey<'_>) -> Result<Self> {
        if survey.is_same_host() {
            return Ok(Self::SameHost);
        }
        for host in [survey.source, survey.target] {
            match Session::open(&*host.transport).await {
                Ok(session) => session.give_back(&*host.transport).await,
                Err(e) if matches!(e.kind(), ErrorKind::Unavailable | ErrorKind::Timeout) => return Err(e),
                Err(e) => return Ok(Self::Libvirt { why: e.message().to_owned() }),
            }
        }
        Ok(Self::Helpers)
    }
}

pub(crate) fn no_limit() -> Error {
    Error::new(ErrorKind::Unsupported, "a limit of bandwidth is kept between helpers on two hosts alone")
        .on(Resource::Field("bandwidth".into()))
        .with_detail("leave it out")
}
