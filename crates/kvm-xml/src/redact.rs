//! Takes secrets out of a model.

use crate::element::Element;

/// Empties every field that holds a secret, and unknown attributes that look like one.
pub(crate) fn redact(element: &mut dyn Element) {
    let shape = element.shape();
    for (index, field) in shape.fields.iter().enumerate() {
        if field.secret {
            element.slot_mut(index).clear();
            element.extra_mut().forget_written(index);
            continue;
        }
        let count = element.slot(index).count();
        for item in 0..count {
            if let Some(child) = element.slot_mut(index).element_mut(item) {
                redact(child);
            }
        }
    }
    element.extra_mut().retain_attributes(|name| !is_secret(name));
}

/// Whether an unknown attribute is called like a password.
pub(crate) fn is_secret(name: &str) -> bool {
    name.to_ascii_lowercase().contains("passw")
}
