//! What storage pools a host can have.

use crate::domain_capabilities::EnumValues;
use crate::extra::Extra;
use crate::pool::PoolType;
use crate::value::YesNo;
use kvm_xml_derive::Xml;

/// What storage pools a host can have: <https://libvirt.org/formatstoragecaps.html>; since libvirt 5.2.0.
#[derive(Clone, Default, Xml)]
#[xml(root = "storagepoolCapabilities")]
pub struct StoragePoolCapabilities {
    pub pool: Vec<PoolSupport>,
    pub _extra: Extra,
}

/// Whether one type of pool is supported, with which formats of its own and of its volumes.
#[derive(Clone, Default, Xml)]
#[xml(key = "type")]
pub struct PoolSupport {
    pub r#type: Option<PoolType>,
    pub supported: Option<YesNo>,
    #[xml("poolOptions")]
    pub pool_options: Option<FormatOptions>,
    #[xml("volOptions")]
    pub vol_options: Option<FormatOptions>,
    pub _extra: Extra,
}

/// Formats that can be chosen: `sourceFormatType` for pools, `targetFormatType` for volumes.
#[derive(Clone, Default, Xml)]
pub struct FormatOptions {
    #[xml("defaultFormat")]
    pub default_format: Option<DefaultFormat>,
    pub r#enum: Vec<EnumValues>,
    pub _extra: Extra,
}

/// The format when none is given.
#[derive(Clone, Default, Xml)]
pub struct DefaultFormat {
    pub r#type: Option<String>,
    pub _extra: Extra,
}
