//! Changes to a model, as a program would make them.

use crate::generate::value;
use arbitrary::{Result, Unstructured};
use kvm_xml::element::{Element, Kind};
use kvm_xml::leaf::Format;

/// Changes some fields of `model` or of what is in it.
pub fn edit(u: &mut Unstructured<'_>, model: &mut dyn Element) -> Result<()> {
    for _ in 0..u.int_in_range(1..=8)? {
        one(u, model)?;
    }
    Ok(())
}

fn one(u: &mut Unstructured<'_>, model: &mut dyn Element) -> Result<()> {
    let mut here = model;
    loop {
        let shape = here.shape();
        if shape.fields.is_empty() {
            return Ok(());
        }
        let index = u.choose_index(shape.fields.len())?;
        let field = &shape.fields[index];
        let count = here.slot(index).count();
        if field.kind == Kind::Element && count > 0 && u.ratio(3, 4)? {
            let item = u.choose_index(count)?;
            match here.slot_mut(index).element_mut(item) {
                Some(child) => here = child,
                None => return Ok(()),
            }
            continue;
        }
        if u.ratio(1, 3)? {
            here.slot_mut(index).clear();
            return Ok(());
        }
        match field.kind {
            Kind::Element => {
                let _full = here.slot_mut(index).open().is_none();
            }
            Kind::Flag => {
                let _there = here.slot_mut(index).read("", Format::PLAIN);
            }
            Kind::Leaf => {
                let text = value(u, here, index)?;
                let format = field.format_in(here);
                let _unfit = here.slot_mut(index).read(&text, format);
            }
        }
        return Ok(());
    }
}
