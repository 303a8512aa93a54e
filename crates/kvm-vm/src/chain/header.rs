//! The headers of images, read through the transport in the pieces that their reader asks for.

use std::cell::RefCell;
use std::io;
use std::path::Path;

use kvm_core::{Bytes, Error, ErrorKind, Resource, Result, Transport};
use kvm_image::graph::Name;
use kvm_image::{Format, ImageError, Inspection, READ_MAX, ReadAt, Reference, ReferenceKind, Risk, inspect_as};
use serde_json::Value;

use super::normal;

/// What a header says of what an image lies upon.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// It is raw: there is no header.
    Raw,
    /// Each base, with the format that the header gives to it.
    Header {
        bases: Vec<(Name, Option<Format>)>,
        /// Whether the header says all; else what is below may be more than that.
        is_sure: bool,
    },
    /// There is no such file.
    Missing,
    /// It cannot be read.
    Unread { why: String },
}

/// Looks at the image at a path, by the format that is on record for it.
pub(super) async fn look(transport: &dyn Transport, path: &str, format: Option<Format>) -> Look {
    if matches!(format, Some(Format::Raw | Format::Iso)) {
        return Look::Raw;
    }
    let seen = match inspect(transport, Path::new(path), format).await {
        Ok(seen) => seen,
        Err(e) if e.kind() == ErrorKind::NotFound => return Look::Missing,
        Err(e) => return Look::Unread { why: e.to_string() },
    };
    let is_unclear = |risk: &&Risk| {
        matches!(risk, Risk::Malformed { .. } | Risk::Ambiguous { .. } | Risk::Unsupported { .. } | Risk::Empty)
    };
    let named = [&seen.backing, &seen.data_file].into_iter().flatten().chain(&seen.external);
    let bases: Vec<_> = named.flat_map(|reference| bases(path, reference)).collect();
    match seen.risks.iter().find(is_unclear) {
        Some(risk) if bases.is_empty() => Look::Unread { why: risk.to_string() },
        unclear => Look::Header { bases, is_sure: unclear.is_none() },
    }
}

/// Inspects an image where it is.
///
/// `NotFound`, `Denied`; `Unsupported` when the transport reaches no files.
pub async fn inspect(transport: &dyn Transport, path: &Path, format: Option<Format>) -> Result<Inspection> {
    let mut pieces = Pieces::default();
    loop {
        let wanted = match inspect_as(&pieces, format) {
            Err(ImageError::Read { .. }) if pieces.missing.borrow().is_some() => pieces.missing.take(),
            seen => return Ok(seen?),
        };
        let Some((offset, length)) = wanted else { continue };
        let part = transport.read_part(path, offset, Bytes::new(length)).await?;
        let end = *pieces.length.get_or_insert(part.length.get());
        if (part.data.len() as u64) < length.min(end.saturating_sub(offset)) {
            return Err(Error::new(ErrorKind::Unavailable, "the image became shorter while it was read")
                .on(Resource::File(path.display().to_string())));
        }
        pieces.known.push((offset, part.data));
    }
}

/// What has been read of a file so far. A reader that wants more is told to come again, and what it wants is noted.
#[derive(Debug, Default)]
struct Pieces {
    length: Option<u64>,
    known: Vec<(u64, Vec<u8>)>,
    missing: RefCell<Option<(u64, u64)>>,
}

impl Pieces {
    fn want<T>(&self, offset: u64, length: u64) -> io::Result<T> {
        *self.missing.borrow_mut() = Some((offset, length));
        Err(io::ErrorKind::WouldBlock.into())
    }
}

impl ReadAt for Pieces {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(end) = self.length else { return self.want(offset, (buffer.len() as u64).min(READ_MAX)) };
        let wanted = usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX).min(buffer.len());
        if wanted == 0 {
            return Ok(0);
        }
        for (start, data) in &self.known {
            let from = offset.checked_sub(*start).and_then(|from| usize::try_from(from).ok());
            if let Some(piece) = from.and_then(|from| data.get(from..from.checked_add(wanted)?)) {
                buffer[..wanted].copy_from_slice(piece);
                return Ok(wanted);
            }
        }
        self.want(offset, wanted as u64)
    }

    fn len(&self) -> io::Result<u64> {
        self.length.map_or_else(|| self.want(0, 0), Ok)
    }
}

/// The images that a header names.
pub(crate) fn bases(image: &str, reference: &Reference) -> Vec<(Name, Option<Format>)> {
    let beside = |name: &str| {
        let name = name.strip_prefix("file:").unwrap_or(name);
        match name.starts_with('/') {
            true => Name::path(normal(name)),
            false => Name::path(normal(&format!("{}/{name}", image.rsplit_once('/').map_or("", |(dir, _)| dir)))),
        }
    };
    match &reference.kind {
        ReferenceKind::File => vec![(beside(&reference.name), reference.known_format())],
        ReferenceKind::Json => {
            let options = reference.name.strip_prefix("json:").and_then(|text| serde_json::from_str(text).ok());
            let mut files = Vec::new();
            collect(&options.unwrap_or(Value::Null), &mut files);
            files.iter().map(|file| (beside(file), None)).collect()
        }
        _ => vec![(Name::Network { address: reference.name.clone() }, reference.known_format())],
    }
}

/// The files among the options of QEMU's block layer, nested or written with dots.
fn collect(options: &Value, files: &mut Vec<String>) {
    match options {
        Value::Object(options) => {
            for (key, value) in options {
                match value {
                    Value::String(file) if key.ends_with("filename") => files.push(file.clone()),
                    value => collect(value, files),
                }
            }
        }
        Value::Array(options) => options.iter().for_each(|value| collect(value, files)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_names_files_in_many_ways() {
        let named = |name: &str| {
            let reference = Reference::new(name.to_owned(), None);
            bases("/images/web.qcow2", &reference).into_iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(named("/base//x.img"), ["/base/x.img"]);
        assert_eq!(named("base.img"), ["/images/base.img"]);
        assert_eq!(named("file:base.img"), ["/images/base.img"]);
        assert_eq!(named("nbd://h/x"), ["nbd://h/x"]);
        let nested =
            r#"json:{"driver":"qcow2","file":{"driver":"file","filename":"/a"},"backing":{"file.filename":"b"}}"#;
        assert_eq!(named(nested), ["/images/b", "/a"]);
        assert!(named("json:[").is_empty());
    }

    #[test]
    fn pieces_ask_for_what_they_do_not_have() {
        let mut pieces = Pieces::default();
        assert!(pieces.len().is_err());
        assert_eq!(pieces.missing.take(), Some((0, 0)));
        (pieces.length, pieces.known) = (Some(10), vec![(0, b"01234".to_vec()), (8, b"89".to_vec())]);
        let mut buffer = [0; 4];
        assert_eq!(pieces.read_at(1, &mut buffer).unwrap(), 4);
        assert_eq!(&buffer, b"1234");
        assert_eq!(pieces.read_at(8, &mut buffer).unwrap(), 2);
        assert_eq!(pieces.read_at(20, &mut buffer).unwrap(), 0);
        assert!(pieces.read_at(3, &mut buffer).is_err());
        assert_eq!(pieces.missing.take(), Some((3, 4)));
    }
}
