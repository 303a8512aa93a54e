//! Changing what is written about a machine.

use std::collections::BTreeSet;

use kvm_core::{Description, Host, Protection, Result, Tag, Title, View, VmId, VmNotes};

/// A change of a machine's notes; the default changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NotesChange {
    /// `Some(None)` removes the title.
    pub title: Option<Option<Title>>,
    /// `Some(None)` removes the description.
    pub description: Option<Option<Description>>,
    /// Tags that it has afterwards.
    pub add_tags: BTreeSet<Tag>,
    /// Tags that it has no longer. A key without a value removes `key=…` with any value, too.
    pub remove_tags: BTreeSet<Tag>,
    /// Whether it is protected against deletion.
    pub protection: Option<Protection>,
}

impl NotesChange {
    /// The notes after the change.
    #[must_use]
    pub fn applied_to(&self, notes: &VmNotes) -> VmNotes {
        let mut notes = notes.clone();
        if let Some(title) = &self.title {
            notes.title.clone_from(title);
        }
        if let Some(description) = &self.description {
            notes.description.clone_from(description);
        }
        notes.tags.retain(|tag| !self.remove_tags.iter().any(|gone| removes(gone, tag)));
        // A key has one value: `owner=dba` replaces `owner=ops`.
        for tag in &self.add_tags {
            notes.tags.retain(|old| tag.value().is_none() || old.value().is_none() || old.key() != tag.key());
            notes.tags.insert(tag.clone());
        }
        notes.protection = self.protection.unwrap_or(notes.protection);
        notes
    }
}

fn removes(gone: &Tag, tag: &Tag) -> bool {
    gone == tag || (gone.value().is_none() && gone.key() == tag.key())
}

/// What is written about a machine. `NotFound`.
pub async fn notes(host: &Host, id: &VmId) -> Result<VmNotes> {
    Ok(VmNotes::of(&host.hypervisor.definition(id, View::CONFIG).await?))
}

/// Changes what is written about a machine and gives the result; writes only when that is something else. `NotFound`.
pub async fn change_notes(host: &Host, id: &VmId, change: &NotesChange) -> Result<VmNotes> {
    let before = notes(host, id).await?;
    let after = change.applied_to(&before);
    if after != before {
        host.hypervisor.set_notes(id, &after).await?;
    }
    Ok(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(words: &[&str]) -> BTreeSet<Tag> {
        words.iter().map(|w| Tag::parse(w).unwrap()).collect()
    }

    fn change(add: &[&str], remove: &[&str]) -> NotesChange {
        NotesChange { add_tags: tags(add), remove_tags: tags(remove), ..NotesChange::default() }
    }

    #[test]
    fn a_key_has_one_value_and_goes_with_it() {
        let notes = VmNotes { tags: tags(&["ci", "owner=ops"]), ..VmNotes::default() };
        assert_eq!(change(&["owner=dba"], &[]).applied_to(&notes).tags, tags(&["ci", "owner=dba"]));
        assert_eq!(change(&[], &["owner"]).applied_to(&notes).tags, tags(&["ci"]));
        assert_eq!(change(&[], &["owner=dba"]).applied_to(&notes).tags, notes.tags);
        assert_eq!(change(&["web"], &["ci"]).applied_to(&notes).tags, tags(&["owner=ops", "web"]));
    }

    #[test]
    fn nothing_asked_is_nothing_changed() {
        let notes = VmNotes { tags: tags(&["a"]), title: Some(Title::parse("t").unwrap()), ..VmNotes::default() };
        assert_eq!(NotesChange::default().applied_to(&notes), notes);
        let cleared = NotesChange { title: Some(None), ..NotesChange::default() }.applied_to(&notes);
        assert_eq!(cleared.title, None);
    }
}
