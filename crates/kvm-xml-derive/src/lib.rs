//! `#[derive(Xml)]` for the structs of `kvm-xml`.
//!
//! The macro writes no parser and no writer. It writes a table (which field is which attribute or child element) and two
//! accessors that reach a field by number; `kvm-xml` parses, writes, compares and serialises through that table with code
//! that exists once. This keeps the crate small and quick to build: hundreds of elements add tables, not code.
//!
//! It reads the token stream by itself: the input is always a plain struct with named fields, so a full Rust grammar
//! (and the seconds it takes to compile one) buys nothing here. It serves `kvm-xml` only, whose types it names by
//! `crate::` paths.
//!
//! # Attributes
//!
//! A field of a leaf type (text, number, closed set, ...) is an attribute, a `Vec` of leaves and every struct is a child
//! element, a `bool` is an element that is there or not. `#[xml(...)]` on a field changes that:
//!
//! | | |
//! |---|---|
//! | `"currentMemory"` | the XML name, where it is not the field's own name |
//! | `el` | a leaf that is a child element: `<name>x</name>` |
//! | `text` | the element's own text |
//! | `hex = 4` | a number written as `0x` and at least so many digits; read as hexadecimal with `0x`, else as decimal |
//! | `base16 = 4` | the same, but digits without `0x` are hexadecimal too |
//! | `hexable` | a decimal number that may be read as hexadecimal too |
//! | `min = 1`, `max = 31` | the range of a number, where it is not the type's |
//! | `with = "domain"` | `hex` holds only while that other field is set |
//! | `ns = "qemu"` | the element is in libvirt's namespace of that name |
//! | `form = "path"` | what strict reading wants a text to look like |
//! | `secret` | the value is a secret: redaction removes it |
//!
//! On the struct: `#[xml(root = "disk")]` makes it a document of its own, `#[xml(key = "target.dev")]` names the field
//! that tells one item of a list from another (`a+b` takes all of them that are there, `a|b` the first that is), and
//! `#[xml(open)]` makes every child element welcome, known or not.
#![forbid(unsafe_code)]

mod input;
mod output;

use proc_macro::TokenStream;

/// Writes the reflection table of a struct, and `Debug` and `PartialEq` on top of it. See the crate's page.
#[proc_macro_derive(Xml, attributes(xml))]
pub fn derive_xml(item: TokenStream) -> TokenStream {
    let code = match input::Struct::parse(item) {
        Ok(item) => output::implementation(&item),
        Err(message) => format!("compile_error!({message:?});"),
    };
    code.parse().unwrap_or_default()
}
