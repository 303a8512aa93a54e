//! Documents made of the names and values that the tables know, and of some that they do not.

use arbitrary::{Result, Unstructured};
use kvm_xml::Document;
use kvm_xml::element::{Element, Field, Kind, Place};
use kvm_xml::leaf::{Expected, Format};
use std::fmt::Write;

/// No document of libvirt's is as deep.
const DEPTH: usize = 24;

const VALUES: &[&str] = &[
    "",
    "1",
    "07",
    " 5 ",
    "0x1f",
    "-1",
    "yes",
    "on",
    "vda",
    "/a b/c&amp;d.img",
    "52:54:00:00:00:01",
    "192.0.2.1",
    "2001:DB8::1",
    "0-3,^2",
    "6F1C1A40-5b0e-4c3c-9d3b-0d6f7d1f4b7a",
    "k",
    "GiB",
    "0644",
    "naa.5000c50015ea71ad",
    "2030-01-01T00:00:00",
    "1.1",
    "two\nlines\tand&#10;\u{1F600} ",
    "&lt;&gt;&apos;&quot;&#13;",
    "&#x41;\r\n",
    "reset",
];

const ASIDES: &[&str] = &[
    "<!-- c -->",
    "<?p i?>",
    "<![CDATA[d<&]]>",
    "<![CDATA[]]>",
    "&amp;",
    "&#9;",
    " ",
    "\n  ",
    "text",
    "\r\n",
    "<x/>",
    "<x a='1' b=\"2\">y<z/></x>",
    "<a:b xmlns:a='urn:a'/>",
    "<a:b/>",
    "<x xmlns='urn:x'/>",
    "]]>",
    "&",
    "<",
    ">",
];

/// A document of the kind `T`.
pub fn document<T: Document>(u: &mut Unstructured<'_>) -> Result<String> {
    let mut out = String::new();
    if u.ratio(1, 16)? {
        out.push_str("<?xml version='1.0' encoding='UTF-8'?>\n");
    }
    element(u, &mut out, T::ROOT, &mut T::default(), 0)?;
    Ok(out)
}

/// Writes one element; `model` shows which fields it has and is spoilt by it.
fn element(
    u: &mut Unstructured<'_>,
    out: &mut String,
    name: &str,
    model: &mut dyn Element,
    depth: usize,
) -> Result<()> {
    let fields = model.shape().fields;
    let count = model.shape().attributes;
    let _ = write!(out, "<{name}");
    if depth == 0 && u.ratio(1, 2)? {
        for namespace in fields.iter().filter_map(|field| field.namespace) {
            let declaration = format!(" xmlns:{}='{}'", namespace.prefix, namespace.uri);
            if !out.contains(&declaration) {
                out.push_str(&declaration);
            }
        }
    }
    while count > 0 && more(u, 2, 3)? {
        let index = u.choose_index(count)?;
        let _ = write!(out, " {}={}", fields[index].name, quoted(&value(u, model, index)?));
    }
    if u.ratio(1, 16)? {
        out.push_str(u.choose(&[
            " a='1'",
            " xmlns:a='urn:a'",
            " a:b='c'",
            " xmlns='urn:x'",
            " xml:space='preserve'",
        ])?);
    }
    if u.ratio(1, 4)? {
        out.push_str("/>");
        return Ok(());
    }
    out.push('>');
    if let Some((index, _)) = model.shape().text_field()
        && u.ratio(3, 4)?
    {
        out.push_str(&value(u, model, index)?);
    }
    while depth < DEPTH && count < fields.len() && more(u, 3, 4)? {
        if u.ratio(1, 12)? {
            out.push_str(u.choose(ASIDES)?);
            continue;
        }
        let index = u.int_in_range(count..=fields.len() - 1)?;
        let field = &fields[index];
        if field.place == Place::Child {
            child(u, out, model, index, field, depth)?;
        }
    }
    let _ = write!(out, "</{name}>");
    Ok(())
}

/// Whether to go on; no choice is left once the input is used up.
fn more(u: &mut Unstructured<'_>, numerator: u8, denominator: u8) -> Result<bool> {
    Ok(!u.is_empty() && u.ratio(numerator, denominator)?)
}

fn child(
    u: &mut Unstructured<'_>,
    out: &mut String,
    model: &mut dyn Element,
    index: usize,
    field: &Field,
    depth: usize,
) -> Result<()> {
    let name = field.namespace.map_or(field.name.to_owned(), |space| format!("{}:{}", space.prefix, field.name));
    if field.kind == Kind::Element {
        model.slot_mut(index).clear();
        return match model.slot_mut(index).open() {
            Some(child) => element(u, out, &name, child, depth + 1),
            None => Ok(()),
        };
    }
    let text = value(u, model, index)?;
    let odd = if u.ratio(1, 16)? { *u.choose(&[" a='1'", " ", " xmlns:a='urn:a'"])? } else { "" };
    let aside = if u.ratio(1, 24)? { *u.choose(ASIDES)? } else { "" };
    let _ = write!(out, "<{name}{odd}>{text}{aside}</{name}>");
    Ok(())
}

fn quoted(value: &str) -> String {
    if value.contains('\'') { format!("\"{}\"", value.replace('"', "&quot;")) } else { format!("'{value}'") }
}

/// A value for a field, which it leaves empty: mostly one that fits, else one from the list, else anything. Escaped.
pub(crate) fn value(u: &mut Unstructured<'_>, model: &mut dyn Element, index: usize) -> Result<String> {
    let field = &model.shape().fields[index];
    if field.kind == Kind::Flag && u.ratio(7, 8)? {
        return Ok(String::new());
    }
    if u.ratio(1, 16)? {
        let text: &str = u.arbitrary()?;
        let clean = text.chars().filter(|c| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{FFFD}' | '\u{10000}'..));
        return Ok(clean.map(|c| if matches!(c, '<' | '&' | '>') { '_' } else { c }).collect());
    }
    model.slot_mut(index).clear();
    // What is no value of any type tells what would be one.
    let probed = model.slot_mut(index).read("\u{1}", field.format);
    model.slot_mut(index).clear();
    match probed {
        Err(Expected::OneOf(words)) if u.ratio(7, 8)? => Ok((*u.choose(words)?).to_owned()),
        Err(Expected::Range(least, greatest)) if u.ratio(3, 4)? => number(u, field.format, least, greatest),
        _ => Ok((*u.choose(VALUES)?).to_owned()),
    }
}

fn number(u: &mut Unstructured<'_>, format: Format, least: i64, greatest: u64) -> Result<String> {
    let number = match u.int_in_range(0..=3)? {
        0 => i128::from(least),
        1 => i128::from(greatest),
        2 => u.int_in_range(-2_i128..=300)?,
        _ => u.int_in_range(i128::from(least)..=i128::from(greatest))?,
    };
    let width = usize::from(format.width);
    Ok(match u.int_in_range(0..=9)? {
        0 => format!("0{number}"),
        1 => format!("+{number}"),
        2..=5 if number >= 0 => format!("0x{number:0width$x}"),
        6 if number >= 0 => format!("{number:X}"),
        _ => number.to_string(),
    })
}
