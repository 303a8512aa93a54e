//! The small parts of XML below the level of tags: names, attributes, references.

use std::borrow::Cow;

/// The attributes of a tag, from the text after its name.
pub(crate) struct Attributes<'a> {
    rest: &'a str,
}

impl<'a> Attributes<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { rest: text }
    }
}

/// An attribute as it stands.
#[derive(Clone, Copy)]
pub(crate) struct Attribute<'a> {
    pub(crate) name: &'a str,
    /// The value, still escaped.
    pub(crate) value: &'a str,
    /// Whether there may be something in the value that [`unescape`] would change.
    pub(crate) escaped: bool,
}

/// An attribute, or what is wrong.
impl<'a> Iterator for Attributes<'a> {
    type Item = Result<Attribute<'a>, &'static str>;

    // In one piece with its few callers, what is found stays in registers.
    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        let text = self.rest.trim_ascii_start();
        if text.is_empty() {
            return None;
        }
        if text.len() == self.rest.len() {
            self.rest = "";
            return Some(Err("attributes need white space between them"));
        }
        let found = split(text);
        self.rest = found.map_or("", |(_, rest)| rest);
        Some(found.map(|(attribute, _)| attribute))
    }
}

/// What a byte does in the value of an attribute.
const ORDINARY: u8 = 0;
const QUOTE: u8 = 1;
const ESCAPED: u8 = 2;
const WRONG: u8 = 3;
const ROLES: [u8; 256] = {
    let mut roles = [ORDINARY; 256];
    roles[b'"' as usize] = QUOTE;
    roles[b'\'' as usize] = QUOTE;
    roles[b'&' as usize] = ESCAPED;
    roles[b'\n' as usize] = ESCAPED;
    roles[b'\r' as usize] = ESCAPED;
    roles[b'\t' as usize] = ESCAPED;
    roles[b'<' as usize] = WRONG;
    roles
};

/// Splits `name="value" rest`. The parts are short: one loop over the bytes is faster than searches made for long texts.
#[inline(always)]
fn split(text: &str) -> Result<(Attribute<'_>, &str), &'static str> {
    const BROKEN: &str = "an attribute is name=\"value\"";
    let equals = text.bytes().position(|byte| byte == b'=').ok_or(BROKEN)?;
    let (name, value) = text.split_at_checked(equals).ok_or(BROKEN)?;
    let value = value.get(1..).unwrap_or_default().trim_ascii_start();
    let quote = value.bytes().next().filter(|quote| matches!(quote, b'"' | b'\'')).ok_or(BROKEN)?;
    let value = value.get(1..).unwrap_or_default();
    let (mut escaped, mut wrong) = (false, false);
    let end = value.bytes().position(|byte| {
        let role = ROLES[usize::from(byte)];
        if role == ORDINARY {
            return false;
        }
        escaped |= role == ESCAPED;
        wrong |= role == WRONG;
        byte == quote
    });
    let (value, rest) = end.and_then(|end| value.split_at_checked(end)).ok_or(BROKEN)?;
    if wrong {
        return Err("an attribute's value has no '<'");
    }
    Ok((Attribute { name: name.trim_ascii_end(), value, escaped }, rest.get(1..).unwrap_or_default()))
}

/// Resolves the references in an attribute's value and turns line ends and tabs into spaces, as XML says.
pub(crate) fn unescape(text: &str) -> Result<Cow<'_, str>, &'static str> {
    if !text.bytes().any(|byte| matches!(byte, b'&' | b'\n' | b'\r' | b'\t')) {
        return Ok(Cow::Borrowed(text));
    }
    let mut out = String::with_capacity(text.len());
    let mut characters = text.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '&' => {
                let rest = text.get(index + 1..).unwrap_or_default();
                let (name, _) = rest.split_once(';').ok_or("a reference ends in ';'")?;
                out.push(reference(name)?);
                characters.nth(name.chars().count());
            }
            // One line end, however it is written, is one space.
            '\r' if text.as_bytes().get(index + 1) == Some(&b'\n') => {}
            '\n' | '\r' | '\t' => out.push(' '),
            other => out.push(other),
        }
    }
    Ok(Cow::Owned(out))
}

/// The character behind `&name;`.
pub(crate) fn reference(name: &str) -> Result<char, &'static str> {
    let code = match name {
        "amp" => return Ok('&'),
        "lt" => return Ok('<'),
        "gt" => return Ok('>'),
        "apos" => return Ok('\''),
        "quot" => return Ok('"'),
        _ => {
            let number = name.strip_prefix('#').ok_or("no entities but amp, lt, gt, apos and quot are known")?;
            let (digits, radix) = number.strip_prefix('x').map_or((number, 10), |digits| (digits, 16));
            let digits = Some(digits).filter(|digits| !digits.starts_with('+'));
            digits.and_then(|digits| u32::from_str_radix(digits, radix).ok())
        }
    };
    code.and_then(char::from_u32).filter(|&character| allowed(character)).ok_or("a reference to no character of XML")
}

/// Turns all line ends into `\n`, as XML says.
pub(crate) fn line_ends(text: &str) -> Cow<'_, str> {
    if text.contains('\r') { Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n")) } else { Cow::Borrowed(text) }
}

fn allowed(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | ' '..='\u{FFFD}' | '\u{10000}'..)
}

/// The first character that no XML document may have.
pub(crate) fn forbidden(text: &str) -> Option<usize> {
    // Nearly all documents are plain: a look at the bytes spares decoding them.
    // No early end within a block, so that the compiler can look at many bytes at once.
    let odd = |byte: u8| (byte < b' ') & (byte != b'\t') & (byte != b'\n') & (byte != b'\r') | (byte == 0xEF);
    if !text.as_bytes().chunks(256).any(|block| block.iter().fold(false, |found, byte| found | odd(*byte))) {
        return None;
    }
    text.char_indices().find(|(_, character)| !allowed(*character)).map(|(index, _)| index)
}

/// Whether a name is a name with at most one prefix.
pub(crate) fn is_name(name: &str) -> bool {
    let mut parts = name.split(':');
    let (first, second, third) = (parts.next(), parts.next(), parts.next());
    first.is_some_and(is_plain_name) && second.is_none_or(is_plain_name) && third.is_none()
}

fn is_plain_name(name: &str) -> bool {
    name.chars().next().is_some_and(starts_name) && name.chars().all(continues_name)
}

fn starts_name(character: char) -> bool {
    matches!(character,
        'A'..='Z' | '_' | 'a'..='z' | '\u{C0}'..='\u{D6}' | '\u{D8}'..='\u{F6}' | '\u{F8}'..='\u{2FF}' | '\u{370}'..='\u{37D}'
        | '\u{37F}'..='\u{1FFF}' | '\u{200C}' | '\u{200D}' | '\u{2070}'..='\u{218F}' | '\u{2C00}'..='\u{2FEF}'
        | '\u{3001}'..='\u{D7FF}' | '\u{F900}'..='\u{FDCF}' | '\u{FDF0}'..='\u{FFFD}' | '\u{10000}'..='\u{EFFFF}')
}

fn continues_name(character: char) -> bool {
    starts_name(character)
        || matches!(character, '-' | '.' | '0'..='9' | '\u{B7}' | '\u{300}'..='\u{36F}' | '\u{203F}' | '\u{2040}')
}

/// Where the `>` of a tag is, from the text after its name.
pub(crate) fn end_of_tag(text: &str) -> Option<usize> {
    let mut quote = None;
    text.bytes().position(|byte| match quote {
        Some(open) => {
            if byte == open {
                quote = None;
            }
            false
        }
        None => {
            if matches!(byte, b'"' | b'\'') {
                quote = Some(byte);
            }
            byte == b'>'
        }
    })
}
