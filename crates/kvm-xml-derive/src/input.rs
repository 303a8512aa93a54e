//! Reads a struct declaration from its tokens.

use proc_macro::{Delimiter, TokenStream, TokenTree};
use std::iter::Peekable;

type Tokens = Peekable<proc_macro::token_stream::IntoIter>;

/// A struct with named fields.
pub(crate) struct Struct {
    pub(crate) name: String,
    pub(crate) options: Vec<Opt>,
    pub(crate) fields: Vec<Field>,
}

/// A field: its identifier as written (`r#type`), its type as written, its `#[xml(...)]` options.
pub(crate) struct Field {
    pub(crate) ident: String,
    pub(crate) ty: String,
    pub(crate) options: Vec<Opt>,
}

/// One option of `#[xml(...)]`: `el`, `hex = 4` or a bare literal. Literals keep their quotes.
pub(crate) struct Opt {
    pub(crate) name: String,
    pub(crate) value: Option<String>,
}

impl Struct {
    pub(crate) fn parse(item: TokenStream) -> Result<Self, String> {
        let mut tokens = item.into_iter().peekable();
        let options = options(&mut tokens)?;
        skip_visibility(&mut tokens);
        match tokens.next() {
            Some(TokenTree::Ident(word)) if word.to_string() == "struct" => {}
            _ => return Err("Xml can be derived for structs only".into()),
        }
        let Some(TokenTree::Ident(name)) = tokens.next() else {
            return Err("the struct has no name".into());
        };
        match tokens.next() {
            Some(TokenTree::Group(body)) if body.delimiter() == Delimiter::Brace => {
                let fields = fields(body.stream())?;
                Ok(Self { name: name.to_string(), options, fields })
            }
            _ => Err("Xml needs a struct with named fields and no parameters".into()),
        }
    }
}

fn fields(body: TokenStream) -> Result<Vec<Field>, String> {
    let mut tokens = body.into_iter().peekable();
    let mut fields = Vec::new();
    loop {
        let options = options(&mut tokens)?;
        skip_visibility(&mut tokens);
        let ident = match tokens.next() {
            None => return Ok(fields),
            Some(TokenTree::Ident(ident)) => ident.to_string(),
            Some(other) => return Err(format!("expected a field, found `{other}`")),
        };
        tokens.next(); // the colon
        let mut ty = String::new();
        let mut depth = 0;
        for token in tokens.by_ref() {
            if let TokenTree::Punct(punct) = &token {
                match punct.as_char() {
                    '<' => depth += 1,
                    '>' => depth -= 1,
                    ',' if depth == 0 => break,
                    _ => {}
                }
            }
            ty.push_str(&token.to_string());
        }
        fields.push(Field { ident, ty, options });
    }
}

/// Takes the attributes in front of an item and keeps what `#[xml(...)]` says.
fn options(tokens: &mut Tokens) -> Result<Vec<Opt>, String> {
    let mut found = Vec::new();
    while matches!(tokens.peek(), Some(TokenTree::Punct(punct)) if punct.as_char() == '#') {
        tokens.next();
        let Some(TokenTree::Group(attribute)) = tokens.next() else {
            continue;
        };
        let mut inner = attribute.stream().into_iter();
        if !matches!(inner.next(), Some(TokenTree::Ident(word)) if word.to_string() == "xml") {
            continue;
        }
        let Some(TokenTree::Group(list)) = inner.next() else {
            return Err("xml takes options in parentheses".into());
        };
        let mut list = list.stream().into_iter().peekable();
        while let Some(token) = list.next() {
            let name = token.to_string();
            let mut value = None;
            if matches!(list.peek(), Some(TokenTree::Punct(punct)) if punct.as_char() == '=') {
                list.next();
                value = Some(String::new());
            }
            // A negative number is two tokens.
            for token in
                list.by_ref().take_while(|token| !matches!(token, TokenTree::Punct(punct) if punct.as_char() == ','))
            {
                value.get_or_insert_default().push_str(&token.to_string());
            }
            found.push(Opt { name, value });
        }
    }
    Ok(found)
}

fn skip_visibility(tokens: &mut Tokens) {
    if matches!(tokens.peek(), Some(TokenTree::Ident(word)) if word.to_string() == "pub") {
        tokens.next();
        if matches!(tokens.peek(), Some(TokenTree::Group(_))) {
            tokens.next();
        }
    }
}
