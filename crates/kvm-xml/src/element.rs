//! How a struct shows its fields to the engines.
//!
//! `#[derive(Xml)]` gives each struct a static table, its [`Shape`], and access to a field by number. The parser, the
//! writer, the comparison and serde work on `dyn Element` and `dyn Slot` alone, so each of them exists once for all
//! elements.

use crate::extra::Extra;
use crate::form::Form;
use crate::leaf::{Expected, Format, Radix, Scalar, Spelling};
use std::ops::Range;

/// A struct that stands for an XML element.
pub trait Element {
    /// What fields the element has. The same table for every value of a type.
    fn shape(&self) -> &'static Shape;
    /// Which fields hold something: bit *n* stands for field *n*. Most fields of most elements are empty, and this tells
    /// at once what a look at each field would.
    fn held(&self) -> u128;
    /// The field with this number; numbers follow [`Shape::fields`].
    fn slot(&self, index: usize) -> &dyn Slot;
    /// The field with this number, to change it.
    fn slot_mut(&mut self, index: usize) -> &mut dyn Slot;
    /// What the document had beside the known fields.
    fn extra(&self) -> &Extra;
    /// What the document had beside the known fields, to change it.
    fn extra_mut(&mut self) -> &mut Extra;
}

/// A field: holds nothing, one item or many.
pub trait Slot {
    /// How many items it holds.
    fn count(&self) -> usize;
    /// The item at `index`; `None` past the last one.
    fn item(&self, index: usize) -> Option<Item<'_>>;
    /// The element at `index`, to change it; `None` for other items.
    fn element_mut(&mut self, index: usize) -> Option<&mut dyn Element>;
    /// Reads a leaf from its text and adds it; `Err` when it does not fit the type, or when there is one already.
    fn read(&mut self, text: &str, format: Format) -> Result<Spelling, Expected>;
    /// Adds an empty element and returns it; `None` for leaves, or when there is one already.
    fn open(&mut self) -> Option<&mut dyn Element>;
    /// Whether `text` says what the field holds: reads as the leaf at `index`, or cannot be read while there is none.
    fn agrees(&self, index: usize, text: &str, format: Format) -> bool;
    /// Removes all items.
    fn clear(&mut self);
}

impl<'a> dyn Slot + 'a {
    /// All items.
    pub fn items(&self) -> impl Iterator<Item = Item<'_>> {
        (0..).map_while(|index| self.item(index))
    }
}

/// One thing that a field holds.
#[derive(Clone, Copy)]
pub enum Item<'a> {
    /// An element without content that is there.
    Flag,
    /// A value.
    Leaf(&'a dyn Leaf),
    /// A child element.
    Element(&'a dyn Element),
}

/// A value that is written as text.
pub trait Leaf {
    /// The value in the form that serde and the writer take.
    fn scalar(&self) -> Scalar<'_>;
}

/// A type that a field can hold, alone or in an `Option` or a `Vec`.
pub trait Value: Sized + 'static {
    /// What it is in a document.
    const KIND: Kind;
    /// Itself as an item.
    fn item(&self) -> Item<'_>;
    /// Reads a leaf; an element refuses.
    fn read(text: &str, format: Format) -> Result<(Self, Spelling), Expected>;
    /// An empty element; `None` for a leaf.
    fn fresh() -> Option<Self>;
    /// Itself as an element; `None` for a leaf.
    fn as_element_mut(&mut self) -> Option<&mut dyn Element>;
}

/// What a type is in a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An element without content.
    Flag,
    /// Text.
    Leaf,
    /// An element.
    Element,
}

/// What a field's type says about it.
pub trait Typed {
    /// What the items are.
    const KIND: Kind;
    /// Whether there can be more than one.
    const MANY: bool;
}

/// Where a field stands in its element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// An attribute.
    Attribute,
    /// The element's own text.
    Text,
    /// A child element.
    Child,
}

/// The fields of an element type.
#[derive(Debug)]
pub struct Shape {
    /// The struct's name.
    pub name: &'static str,
    /// What tells one item of a list from another: the path of a leaf or an element, several joined by `+` for all of
    /// them that are there, or by `|` for the first that is; or empty.
    pub key: &'static str,
    /// The fields, attributes first.
    pub fields: &'static [Field],
    /// A number for each field's name, see [`tag`].
    pub(crate) tags: &'static [u32],
    /// How many of the fields are attributes.
    pub attributes: usize,
    /// The field that is the element's own text.
    pub text: Option<usize>,
    /// Whether some field is in a namespace.
    pub namespaces: bool,
    /// Whether any element is welcome, as in metadata.
    pub open: bool,
}

/// One row of a [`Shape`].
#[derive(Debug)]
pub struct Field {
    /// The name in XML, without prefix.
    pub name: &'static str,
    /// What stands before the value of such an attribute: a space, the name, and `='`.
    pub(crate) before: &'static str,
    /// The name in Rust, in JSON and in paths.
    pub key: &'static str,
    /// Where it stands.
    pub place: Place,
    /// What its items are.
    pub kind: Kind,
    /// Whether there can be more than one.
    pub many: bool,
    /// How a number is written.
    pub format: Format,
    /// The field that must be set for `format` to hold, or empty.
    pub with: &'static str,
    /// The namespace of the element, one of libvirt's own.
    pub namespace: Option<&'static Namespace>,
    /// What its text has to look like, beyond what its type asks for.
    pub form: Option<&'static Form>,
    /// Whether redaction removes it.
    pub secret: bool,
}

/// A namespace that libvirt itself defines.
#[derive(Debug)]
pub struct Namespace {
    /// The usual prefix.
    pub prefix: &'static str,
    /// The name.
    pub uri: &'static str,
}

const NAMESPACES: &[Namespace] = &[
    Namespace { prefix: "qemu", uri: "http://libvirt.org/schemas/domain/qemu/1.0" },
    Namespace { prefix: "lxc", uri: "http://libvirt.org/schemas/domain/lxc/1.0" },
    Namespace { prefix: "bhyve", uri: "http://libvirt.org/schemas/domain/bhyve/1.0" },
    Namespace { prefix: "xen", uri: "http://libvirt.org/schemas/domain/xen/1.0" },
    Namespace { prefix: "vmware", uri: "http://libvirt.org/schemas/domain/vmware/1.0" },
    Namespace { prefix: "fs", uri: "http://libvirt.org/schemas/storagepool/fs/1.0" },
    Namespace { prefix: "rbd", uri: "http://libvirt.org/schemas/storagepool/rbd/1.0" },
    Namespace { prefix: "dnsmasq", uri: "http://libvirt.org/schemas/network/dnsmasq/1.0" },
];

impl Shape {
    /// Makes the table of a struct. Evaluated by the compiler, so a wrong table does not build.
    pub(crate) const fn new(
        name: &'static str,
        key: &'static str,
        fields: &'static [Field],
        tags: &'static [u32],
    ) -> Self {
        let (mut attributes, mut text, mut namespaces) = (0, None, false);
        let mut index = 0;
        while index < fields.len() {
            match fields[index].place {
                Place::Attribute => {
                    assert!(attributes == index, "attributes come before text and child elements");
                    attributes += 1;
                }
                Place::Text => text = Some(index),
                Place::Child => {}
            }
            namespaces |= fields[index].namespace.is_some();
            index += 1;
        }
        assert!(fields.len() <= 128, "`Element::held` has a bit for each field");
        Self { name, key, fields, tags, attributes, text, namespaces, open: false }
    }

    /// The number of the attribute called `name`, looked for from `next` on and then from the start: documents keep the
    /// order of the tables, so the first look mostly finds it.
    #[inline]
    pub(crate) fn attribute(&self, name: &str, next: usize) -> Option<usize> {
        self.find(0..self.attributes, next, name, |_| true)
    }

    /// The number of the child element called `name` for which `fits`, looked for as [`attribute`](Self::attribute) does.
    #[inline]
    pub(crate) fn child(&self, name: &str, next: usize, fits: impl Fn(&Field) -> bool) -> Option<usize> {
        self.find(self.attributes..self.fields.len(), next, name, |field| field.place == Place::Child && fits(field))
    }

    #[inline]
    fn find(&self, range: Range<usize>, next: usize, name: &str, fits: impl Fn(&Field) -> bool) -> Option<usize> {
        let tag = tag(name);
        let next = next.clamp(range.start, range.end);
        let look = |range: Range<usize>| {
            let found = |index: usize| self.fields.get(index).is_some_and(|field| field.name == name && fits(field));
            let start = range.start;
            let tags = self.tags.get(range).unwrap_or_default().iter().enumerate();
            tags.filter(|(_, other)| **other == tag).map(|(offset, _)| start + offset).find(|index| found(*index))
        };
        look(next..range.end).or_else(|| look(range.start..next))
    }

    /// The element's own text, as number and field.
    #[must_use]
    #[inline]
    pub fn text_field(&self) -> Option<(usize, &'static Field)> {
        self.text.and_then(|index| Some((index, self.fields.get(index)?)))
    }

    /// The number of the field with this key.
    #[must_use]
    pub fn position(&self, key: &str) -> Option<usize> {
        self.fields.iter().position(|field| field.key == key)
    }
}

impl Field {
    pub(crate) const fn of<T: Typed>(name: &'static str, before: &'static str, key: &'static str) -> Self {
        Self {
            name,
            before,
            key,
            place: if matches!(T::KIND, Kind::Leaf) && !T::MANY { Place::Attribute } else { Place::Child },
            kind: T::KIND,
            many: T::MANY,
            format: Format::PLAIN,
            with: "",
            namespace: None,
            form: None,
            secret: false,
        }
    }

    pub(crate) const fn el(mut self) -> Self {
        self.place = Place::Child;
        self
    }

    pub(crate) const fn text(mut self) -> Self {
        self.place = Place::Text;
        self
    }

    pub(crate) const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    pub(crate) const fn form(mut self, name: &str) -> Self {
        self.form = Some(Form::named(name));
        self
    }

    pub(crate) const fn hex(mut self, width: u8) -> Self {
        self.format = Format { radix: Radix::Hex, width, ..self.format };
        self
    }

    pub(crate) const fn hexable(mut self) -> Self {
        self.format = Format { radix: Radix::Hex, plain: true, ..self.format };
        self
    }

    pub(crate) const fn min(mut self, min: i64) -> Self {
        self.format.min = min;
        self
    }

    pub(crate) const fn max(mut self, max: u64) -> Self {
        self.format.max = max;
        self
    }

    pub(crate) const fn base16(mut self, width: u8) -> Self {
        self.format = Format { radix: Radix::Base16, width, ..self.format };
        self
    }

    pub(crate) const fn with(mut self, key: &'static str) -> Self {
        self.with = key;
        self
    }

    pub(crate) const fn ns(mut self, prefix: &str) -> Self {
        let mut index = 0;
        while !same(NAMESPACES[index].prefix, prefix) {
            index += 1;
        }
        self.namespace = Some(&NAMESPACES[index]);
        self
    }

    /// Whether `text` has the form that strict reading asks for.
    #[inline]
    pub(crate) fn check(&self, text: &str) -> Result<(), Expected> {
        self.form.map_or(Ok(()), |form| form.check(text))
    }

    /// How this field of `element` is written: its format, unless that needs another field which is not set.
    #[must_use]
    #[inline]
    pub fn format_in(&self, element: &dyn Element) -> Format {
        if self.with.is_empty() {
            return self.format;
        }
        match element.shape().position(self.with) {
            Some(index) if element.slot(index).count() > 0 => self.format,
            _ => Format { plain: true, ..self.format },
        }
    }
}

/// A number that names seldom share: length, first, middle and last letter. Comparing it spares comparing names, and all
/// numbers of a table lie together in memory.
#[inline]
pub(crate) const fn tag(name: &str) -> u32 {
    let name = name.as_bytes();
    if name.is_empty() {
        return 0;
    }
    let (first, middle, last) = (name[0], name[name.len() / 2], name[name.len() - 1]);
    u32::from_le_bytes([(name.len() & 0xFF) as u8, first, middle, last])
}

/// The numbers of all names of a table.
pub(crate) const fn tags<const N: usize>(fields: &[Field; N]) -> [u32; N] {
    let mut tags = [0; N];
    let mut index = 0;
    while index < N {
        tags[index] = tag(fields[index].name);
        index += 1;
    }
    tags
}

/// The numbers of the bits that are set.
#[inline]
pub(crate) fn bits(mut set: u128) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let lowest = set.trailing_zeros();
        set &= set.wrapping_sub(1);
        (lowest < u128::BITS).then_some(lowest as usize)
    })
}

pub(crate) const fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() != b.len() {
        return false;
    }
    let mut index = 0;
    while index < a.len() {
        if a[index] != b[index] {
            return false;
        }
        index += 1;
    }
    true
}

impl<T: Element + Default + 'static> Value for T {
    const KIND: Kind = Kind::Element;
    fn item(&self) -> Item<'_> {
        Item::Element(self)
    }
    fn read(_: &str, _: Format) -> Result<(Self, Spelling), Expected> {
        Err(Expected::Text("an element"))
    }
    fn fresh() -> Option<Self> {
        Some(Self::default())
    }
    fn as_element_mut(&mut self) -> Option<&mut dyn Element> {
        Some(self)
    }
}

impl<T: Value> Typed for Option<T> {
    const KIND: Kind = T::KIND;
    const MANY: bool = false;
}

impl<T: Value> Slot for Option<T> {
    fn count(&self) -> usize {
        usize::from(self.is_some())
    }
    fn item(&self, index: usize) -> Option<Item<'_>> {
        self.as_ref().filter(|_| index == 0).map(Value::item)
    }
    fn element_mut(&mut self, _: usize) -> Option<&mut dyn Element> {
        self.as_mut()?.as_element_mut()
    }
    fn read(&mut self, text: &str, format: Format) -> Result<Spelling, Expected> {
        if self.is_some() {
            return Err(Expected::Once);
        }
        let (value, spelling) = T::read(text, format)?;
        *self = Some(value);
        Ok(spelling)
    }
    fn open(&mut self) -> Option<&mut dyn Element> {
        if self.is_some() {
            return None;
        }
        *self = T::fresh();
        self.as_mut()?.as_element_mut()
    }
    fn agrees(&self, _: usize, text: &str, format: Format) -> bool {
        agrees(self.as_ref(), text, format)
    }
    fn clear(&mut self) {
        *self = None;
    }
}

/// A boxed element, where a struct holds its own kind or something large and rare.
impl<T: Element> Element for Box<T> {
    fn shape(&self) -> &'static Shape {
        (**self).shape()
    }
    fn held(&self) -> u128 {
        (**self).held()
    }
    fn slot(&self, index: usize) -> &dyn Slot {
        (**self).slot(index)
    }
    fn slot_mut(&mut self, index: usize) -> &mut dyn Slot {
        (**self).slot_mut(index)
    }
    fn extra(&self) -> &Extra {
        (**self).extra()
    }
    fn extra_mut(&mut self) -> &mut Extra {
        (**self).extra_mut()
    }
}

impl<T: Value> Typed for Vec<T> {
    const KIND: Kind = T::KIND;
    const MANY: bool = true;
}

impl<T: Value> Slot for Vec<T> {
    fn count(&self) -> usize {
        self.len()
    }
    fn item(&self, index: usize) -> Option<Item<'_>> {
        self.get(index).map(Value::item)
    }
    fn element_mut(&mut self, index: usize) -> Option<&mut dyn Element> {
        self.get_mut(index)?.as_element_mut()
    }
    fn read(&mut self, text: &str, format: Format) -> Result<Spelling, Expected> {
        let (value, spelling) = T::read(text, format)?;
        self.push(value);
        Ok(spelling)
    }
    fn open(&mut self) -> Option<&mut dyn Element> {
        self.push(T::fresh()?);
        self.last_mut()?.as_element_mut()
    }
    fn agrees(&self, index: usize, text: &str, format: Format) -> bool {
        agrees(self.get(index), text, format)
    }
    fn clear(&mut self) {
        self.clear();
    }
}

fn agrees<T: Value>(value: Option<&T>, text: &str, format: Format) -> bool {
    match (T::read(text, format), value.map(Value::item)) {
        (Ok((read, _)), Some(Item::Leaf(leaf))) => {
            matches!(read.item(), Item::Leaf(other) if other.scalar() == leaf.scalar())
        }
        (Err(_), None) => true,
        _ => false,
    }
}

impl Typed for bool {
    const KIND: Kind = Kind::Flag;
    const MANY: bool = false;
}

impl Slot for bool {
    fn count(&self) -> usize {
        usize::from(*self)
    }
    fn item(&self, index: usize) -> Option<Item<'_>> {
        (*self && index == 0).then_some(Item::Flag)
    }
    fn element_mut(&mut self, _: usize) -> Option<&mut dyn Element> {
        None
    }
    fn read(&mut self, text: &str, _: Format) -> Result<Spelling, Expected> {
        if *self {
            return Err(Expected::Once);
        }
        if !text.trim().is_empty() {
            return Err(Expected::Text("an empty element"));
        }
        *self = true;
        Ok(Spelling::Usual)
    }
    fn open(&mut self) -> Option<&mut dyn Element> {
        None
    }
    fn agrees(&self, _: usize, text: &str, _: Format) -> bool {
        *self == text.trim().is_empty()
    }
    fn clear(&mut self) {
        *self = false;
    }
}
