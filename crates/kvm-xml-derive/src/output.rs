//! Writes the implementation as text; the compiler reads it back.

use crate::input::{Field, Opt, Struct};
use std::fmt::Write;

pub(crate) fn implementation(item: &Struct) -> String {
    let name = &item.name;
    let fields: Vec<&Field> = item.fields.iter().filter(|field| field.ident != "_extra").collect();
    if fields.is_empty() || fields.len() == item.fields.len() {
        return format!("compile_error!(\"{name} needs a field of its own and `pub _extra: Extra`\");");
    }
    let mut key = "\"\"".to_owned();
    let mut document = String::new();
    let mut open = false;
    for option in &item.options {
        match (option.name.as_str(), &option.value) {
            ("open", None) => open = true,
            ("key", Some(value)) => key.clone_from(value),
            ("root", Some(value)) => {
                document =
                    format!("impl crate::document::Document for {name} {{ const ROOT: &'static str = {value}; }}");
            }
            (other, _) => return unknown(other, name),
        }
    }
    let (mut table, mut get, mut get_mut, mut held) = (String::new(), String::new(), String::new(), String::new());
    let count = fields.len();
    let bits = if count <= 64 { "u64" } else { "u128" };
    for (index, field) in fields.iter().enumerate() {
        match row(field) {
            Ok(row) => table.push_str(&row),
            Err(option) => return unknown(&option.name, name),
        }
        let ident = &field.ident;
        // The last arm is the catch-all: a table and its accessors are always used with an index below its length.
        let arm = if index + 1 == count { "_".to_owned() } else { index.to_string() };
        let _ = write!(get, "{arm} => &self.{ident},");
        let _ = write!(get_mut, "{arm} => &mut self.{ident},");
        let _ = write!(held, "| (((crate::element::Slot::count(&self.{ident}) > 0) as {bits}) << {index})");
    }
    format!(
        "impl crate::element::Element for {name} {{
            fn shape(&self) -> &'static crate::element::Shape {{
                const FIELDS: &[crate::element::Field; {count}] = &[{table}];
                static TAGS: [u32; {count}] = crate::element::tags(FIELDS);
                static SHAPE: crate::element::Shape = crate::element::Shape {{
                    open: {open},
                    ..crate::element::Shape::new({name:?}, {key}, FIELDS, &TAGS)
                }};
                &SHAPE
            }}
            fn held(&self) -> u128 {{ u128::from(0_{bits} {held}) }}
            fn slot(&self, index: usize) -> &dyn crate::element::Slot {{ match index {{ {get} }} }}
            fn slot_mut(&mut self, index: usize) -> &mut dyn crate::element::Slot {{ match index {{ {get_mut} }} }}
            fn extra(&self) -> &crate::extra::Extra {{ &self._extra }}
            fn extra_mut(&mut self) -> &mut crate::extra::Extra {{ &mut self._extra }}
        }}
        impl ::core::fmt::Debug for {name} {{
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {{ crate::compare::debug(self, f) }}
        }}
        impl ::core::cmp::PartialEq for {name} {{
            fn eq(&self, other: &Self) -> bool {{ crate::compare::equal(self, other) }}
        }}
        #[cfg(feature = \"serde\")]
        impl ::serde_core::Serialize for {name} {{
            fn serialize<S: ::serde_core::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {{ crate::serial::serialize(self, s) }}
        }}
        #[cfg(feature = \"serde\")]
        impl<'de> ::serde_core::Deserialize<'de> for {name} {{
            fn deserialize<D: ::serde_core::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {{
                let mut item = Self::default();
                crate::serial::deserialize(&mut item, d)?;
                Ok(item)
            }}
        }}
        {document}"
    )
}

/// One line of the table, or the option that nobody knows.
fn row(field: &Field) -> Result<String, &Opt> {
    let key = field.ident.trim_start_matches("r#");
    let mut name = format!("{key:?}");
    let mut rest = String::new();
    for option in &field.options {
        match (option.name.as_str(), &option.value) {
            (literal, None) if literal.starts_with('"') => name = literal.to_owned(),
            (word @ ("el" | "text" | "secret" | "hexable"), None) => {
                let _ = write!(rest, ".{word}()");
            }
            (word @ ("hex" | "base16" | "min" | "max" | "with" | "ns" | "form"), Some(value)) => {
                let _ = write!(rest, ".{word}({value})");
            }
            _ => return Err(option),
        }
    }
    Ok(format!("crate::element::Field::of::<{}>({name}, concat!(\" \", {name}, \"='\"), {key:?}){rest},", field.ty))
}

fn unknown(option: &str, name: &str) -> String {
    let message = format!("{name}: xml has no option `{option}`");
    format!("compile_error!({message:?});")
}
