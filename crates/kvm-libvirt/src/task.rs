//! What runs on a pool's thread: one call, or a few that belong together, on one connection.

use std::cell::RefCell;

use kvm_core::{Error, ErrorKind, Resource};
use virt::connect::Connect;

use crate::config::Address;
use crate::error::LibvirtError;
use crate::session::SessionRef;

/// What is asked, for the message when it goes wrong.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    /// The verb: `start`, `list the volumes of`.
    pub(crate) verb: &'static str,
    /// What it is done to.
    pub(crate) resource: Resource,
}

impl Subject {
    pub(crate) fn new(verb: &'static str, resource: Resource) -> Self {
        Self { verb, resource }
    }
}

/// The connection that a call runs on, and what the call is about.
pub(crate) struct Task<'a> {
    session: &'a SessionRef,
    address: &'a Address,
    subject: RefCell<Subject>,
}

/// Why a call went wrong.
#[derive(Debug)]
pub(crate) enum Failure {
    /// libvirt's error, not yet looked into.
    Libvirt(LibvirtError),
    /// What became clear by looking again.
    Known(Error),
}

impl From<LibvirtError> for Failure {
    fn from(e: LibvirtError) -> Self {
        Self::Libvirt(e)
    }
}

impl From<virt::error::Error> for Failure {
    fn from(e: virt::error::Error) -> Self {
        Self::Libvirt(e.into())
    }
}

impl From<Error> for Failure {
    fn from(e: Error) -> Self {
        Self::Known(e)
    }
}

impl<'a> Task<'a> {
    pub(crate) fn new(session: &'a SessionRef, address: &'a Address, subject: Subject) -> Self {
        Self { session, address, subject: RefCell::new(subject) }
    }

    /// The handle on the connection.
    pub(crate) fn connection(&self) -> &'a Connect {
        self.session.connection()
    }

    /// The open connection.
    pub(crate) fn session(&self) -> &'a SessionRef {
        self.session
    }

    /// Where it leads.
    pub(crate) fn address(&self) -> &'a Address {
        self.address
    }

    /// Names what the call is about, once it is known better: a machine's name in place of its uuid.
    pub(crate) fn about(&self, resource: Resource) {
        self.subject.borrow_mut().resource = resource;
    }

    /// What the call is about.
    pub(crate) fn resource(&self) -> Resource {
        self.subject.borrow().resource.clone()
    }

    /// An error of this kind about the call's object.
    pub(crate) fn error(&self, kind: ErrorKind, message: impl Into<String>) -> Error {
        let subject = self.subject.borrow();
        Error::new(kind, message).on(subject.resource.clone()).during(subject.verb)
    }

    /// The object is in a state that does not allow this.
    pub(crate) fn invalid_state(&self, state: impl std::fmt::Display) -> Error {
        self.error(ErrorKind::InvalidState, format!("{} {state}", self.resource()))
    }

    /// There is no such object.
    pub(crate) fn not_found(&self) -> Error {
        self.error(ErrorKind::NotFound, format!("no {}", self.resource()))
    }

    /// There is such an object already.
    pub(crate) fn already_exists(&self) -> Error {
        self.error(ErrorKind::AlreadyExists, format!("{} exists already", self.resource()))
    }

    /// The usual words for libvirt's error when its kind is known.
    pub(crate) fn as_kind(&self, kind: ErrorKind, e: LibvirtError) -> Error {
        match kind {
            ErrorKind::NotFound => self.not_found(),
            ErrorKind::AlreadyExists => self.already_exists(),
            ErrorKind::Denied => {
                let subject = self.subject.borrow();
                self.error(kind, format!("no permission to {} {}", subject.verb, subject.resource))
            }
            ErrorKind::NoSpace => {
                let subject = self.subject.borrow();
                self.error(kind, format!("no room to {} {}", subject.verb, subject.resource))
            }
            _ => {
                let subject = self.subject.borrow();
                self.error(kind, format!("cannot {} {}", subject.verb, subject.resource))
            }
        }
        .with_source(e)
    }

    /// The error for whoever asked.
    pub(crate) fn explain(&self, failure: Failure) -> Error {
        match failure {
            Failure::Known(e) => e.during(self.subject.borrow().verb).on(self.resource()),
            Failure::Libvirt(e) if self.session.is_lost() => {
                let host = self.address.canonical();
                self.error(ErrorKind::Unavailable, format!("the connection to {host} was lost")).with_source(e)
            }
            Failure::Libvirt(e) => self.as_kind(e.kind_unexplained(), e),
        }
    }
}
