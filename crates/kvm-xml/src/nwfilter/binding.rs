//! Network filters at work.

use crate::common::{FilterRef, MacAddress, Named};
use crate::extra::Extra;

use kvm_xml_derive::Xml;
use uuid::Uuid;

/// A network filter on a guest's interface:
/// <https://libvirt.org/html/libvirt-libvirt-nwfilter.html#virNWFilterBindingGetXMLDesc>; since libvirt 4.5.0.
#[derive(Clone, Default, Xml)]
#[xml(root = "filterbinding")]
pub struct NetworkFilterBinding {
    pub owner: Option<BindingOwner>,
    /// The host's end of the interface.
    pub portdev: Option<Named>,
    /// The host's device that the interface is connected to.
    pub linkdev: Option<Named>,
    pub mac: Option<MacAddress>,
    pub filterref: Option<FilterRef>,
    pub _extra: Extra,
}

/// The domain that the interface belongs to.
#[derive(Clone, Default, Xml)]
pub struct BindingOwner {
    #[xml(el)]
    pub name: Option<String>,
    #[xml(el)]
    pub uuid: Option<Uuid>,
    pub _extra: Extra,
}
