//! Which photo of a shot replaces which, decided from what their own data say. Pure.
//!
//! When in doubt they are two photos: one that guests see twice is a blemish, one that they do not see is lost.
//!
//! | what comes | what is known of the same shot (serial, time, sub-seconds) | decision |
//! |---|---|---|
//! | anything | what lay at the same path before | it replaces that: edited in place, undone, or done again |
//! | an edit | edits of the same name | the last made stands for all of them |
//! | an edit | one original, not smaller than the edit | it replaces the original |
//! | an edit | one original, smaller than the edit (a panorama, a composite) | two photos |
//! | an edit | several originals (a burst within one sub-second), one of a like name | it replaces that one |
//! | an edit | several originals, none or several of a like name | two photos |
//! | an edit | an original that an edit of another name replaces already (black and white beside colour) | two photos |
//! | an original | an edit that replaces nothing yet (it was seen first) | the edit replaces it, as above |
//! | an original | an edit that replaces an original of an unlike name | in doubt now: that original stands for itself again |
//! | an original | another original | two photos: a burst, or the small JPEG beside the large one |
//! | a camera's JPEG | the picture inside a RAW file of the same name | it replaces that |
//! | a RAW file | anything | nothing; a pair is told by the engine |
//!
//! An edit is what a program has left its mark in (`Software`, a later `ModifyDate`, a history in XMP); everything else is
//! an original. Names are alike when one is the other with something behind it that is neither letter nor digit.

use findme_common::Digest;
use findme_common::manifest::Shot;

/// A content of a shot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) digest: Digest,
    pub(crate) shot: Shot,
    /// What it is known to replace.
    pub(crate) replaces: Option<Digest>,
}

/// `new` replaces `old`; where both are the same, it stands for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Relation {
    pub(crate) new: Digest,
    pub(crate) old: Digest,
}

fn relation(new: &Version, old: &Version) -> Relation {
    Relation { new: new.digest, old: old.digest }
}

/// What a newcomer changes. `here`: the content that its path held before. RAW files that were sent whole are not among
/// the `known`: they and their JPEGs are two photos.
pub(crate) fn relations(newcomer: &Version, known: &[Version], here: Option<Digest>) -> Vec<Relation> {
    if let Some(before) = known.iter().find(|version| Some(version.digest) == here) {
        return vec![relation(newcomer, before)];
    }
    match newcomer {
        Version { shot: Shot { raw: true, .. }, .. } => Vec::new(),
        Version { shot: Shot { edited: true, .. }, .. } => of_edit(newcomer, known),
        _ => of_original(newcomer, known),
    }
}

fn is_original(version: &&Version) -> bool {
    version.shot.raw || !version.shot.edited
}

fn of_edit(edit: &Version, known: &[Version]) -> Vec<Relation> {
    let same_name = || known.iter().filter(|other| !is_original(other) && other.shot.name == edit.shot.name);
    // One word is enough to place it: what stands for the shot goes on to do so.
    if let Some(later) =
        same_name().filter(|other| other.shot.made > edit.shot.made).min_by_key(|other| other.shot.made)
    {
        return vec![relation(later, edit)];
    }
    let earlier = same_name().max_by_key(|other| other.shot.made);
    earlier.or_else(|| original_of(edit, known)).map(|old| relation(edit, old)).into_iter().collect()
}

/// The original that an edit was made of, if that is sure and no edit of another name stands for it.
fn original_of<'a>(edit: &Version, known: &'a [Version]) -> Option<&'a Version> {
    let originals: Vec<_> = known.iter().filter(is_original).filter(|original| fits(edit, original)).collect();
    // A RAW file and its JPEG are one original.
    let has_jpeg = |raw: &Version| originals.iter().any(|other| !other.shot.raw && other.shot.name == raw.shot.name);
    let pictures: Vec<_> = originals.iter().copied().filter(|of| !of.shot.raw || !has_jpeg(of)).collect();
    let original = match pictures.as_slice() {
        [one] => *one,
        several => {
            let mut alike = several.iter().filter(|original| are_alike(original, edit));
            match (alike.next(), alike.next()) {
                (Some(one), None) => *one,
                _ => return None,
            }
        }
    };
    let taken = known.iter().any(|other| !is_original(&other) && other.replaces == Some(original.digest));
    (!taken).then_some(original)
}

fn of_original(original: &Version, known: &[Version]) -> Vec<Relation> {
    let inside_raw = known.iter().find(|other| other.shot.raw && other.shot.name == original.shot.name);
    let rivals: Vec<_> = known
        .iter()
        .filter(is_original)
        .filter(|other| Some(other.digest) != inside_raw.map(|raw| raw.digest))
        .collect();
    let mut found = Vec::new();
    for edit in known.iter().filter(|version| !is_original(version)).filter(|edit| fits(edit, original)) {
        let mine = are_alike(original, edit);
        match edit.replaces {
            None if found.is_empty() => {
                let of_another = rivals.iter().any(|rival| are_alike(rival, edit));
                if rivals.is_empty() || mine && !of_another {
                    found.push(relation(edit, original));
                }
            }
            Some(raw) if Some(raw) == inside_raw.map(|raw| raw.digest) => found.push(relation(edit, original)),
            Some(old) => {
                let rival = rivals.iter().find(|rival| rival.digest == old && rival.replaces != Some(old));
                if let Some(rival) = rival.filter(|rival| !are_alike(rival, edit)) {
                    found.push(relation(rival, rival));
                    if mine {
                        found.push(relation(edit, original));
                    }
                }
            }
            None => {}
        }
    }
    if let (Some(raw), true) = (inside_raw, found.is_empty()) {
        found.push(relation(original, raw));
    }
    found
}

/// Whether the edit may have been made of this original: it is not larger, however it is turned. A pixel or two more are
/// what straightening and lens profiles leave.
fn fits(edit: &Version, original: &Version) -> bool {
    let known = edit.shot.long > 0 && original.shot.long > 0 && !original.shot.raw;
    let no_larger = |edit: u32, original: u32| edit <= original + original / 50;
    !known || no_larger(edit.shot.long, original.shot.long) && no_larger(edit.shot.short, original.shot.short)
}

fn are_alike(one: &Version, other: &Version) -> bool {
    let (short, long) = if one.shot.name.len() <= other.shot.name.len() { (one, other) } else { (other, one) };
    let rest = long.shot.name.strip_prefix(&*short.shot.name);
    rest.is_some_and(|rest| rest.chars().next().is_none_or(|next| !next.is_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use findme_common::manifest::ShotKey;
    use proptest::prelude::*;

    use super::*;

    fn version(n: u8, name: &str, edited: bool) -> Version {
        let (key, name) = (ShotKey::FIRST, name.into());
        let shot = Shot { key, long: 6000, short: 4000, raw: false, edited, made: i64::from(n), name };
        Version { digest: Digest::of(&[n]), shot, replaces: None }
    }

    fn original(n: u8, name: &str) -> Version {
        version(n, name, false)
    }

    fn edit(n: u8, name: &str) -> Version {
        version(n, name, true)
    }

    fn of_size(version: Version, long: u32, short: u32) -> Version {
        Version { shot: Shot { long, short, ..version.shot }, ..version }
    }

    fn raw(n: u8, name: &str) -> Version {
        let raw = original(n, name);
        Version { shot: Shot { raw: true, ..raw.shot }, ..raw }
    }

    fn replacing(n: u8, version: Version) -> Version {
        Version { replaces: Some(Digest::of(&[n])), ..version }
    }

    #[test]
    fn the_table() {
        let pair = |new: u8, old: u8| Relation { new: Digest::of(&[new]), old: Digest::of(&[old]) };
        let table: Vec<(&str, Version, Vec<Version>, Vec<Relation>)> = vec![
            ("an export", edit(2, "party-17"), vec![original(1, "dsc_1")], vec![pair(2, 1)]),
            ("a crop", of_size(edit(2, "dsc_1"), 3000, 3000), vec![original(1, "dsc_1")], vec![pair(2, 1)]),
            ("turned", of_size(edit(2, "x"), 4000, 6000), vec![of_size(original(1, "y"), 6000, 4000)], vec![]),
            ("a panorama", of_size(edit(2, "x"), 12_000, 4000), vec![original(1, "dsc_1")], vec![]),
            ("size unknown", of_size(edit(2, "x"), 0, 0), vec![original(1, "dsc_1")], vec![pair(2, 1)]),
            ("exported again", edit(3, "x"), vec![original(1, "a"), replacing(1, edit(2, "x"))], vec![pair(3, 2)]),
            ("an older export", edit(2, "x"), vec![original(1, "a"), replacing(1, edit(3, "x"))], vec![pair(3, 2)]),
            ("black and white", edit(3, "x-bw"), vec![original(1, "a"), replacing(1, edit(2, "x"))], vec![]),
            ("of a burst", edit(3, "party-17"), vec![original(1, "dsc_1"), original(2, "dsc_2")], vec![]),
            (
                "of a burst, by name",
                edit(3, "dsc_2-edit"),
                vec![original(1, "dsc_1"), original(2, "dsc_2")],
                vec![pair(3, 2)],
            ),
            ("longer numbers", edit(3, "dsc_12"), vec![original(1, "dsc_1"), original(2, "dsc_2")], vec![]),
            ("alone", edit(3, "x"), vec![], vec![]),
            ("a burst", original(2, "dsc_2"), vec![original(1, "dsc_1")], vec![]),
            ("the small one", of_size(original(2, "dsc_1"), 1920, 1280), vec![original(1, "dsc_1")], vec![]),
            ("seen late", original(1, "dsc_1"), vec![edit(2, "party-17")], vec![pair(2, 1)]),
            ("seen late, twice", original(1, "a"), vec![edit(2, "x"), replacing(2, edit(3, "x"))], vec![pair(2, 1)]),
            (
                "a second original",
                original(3, "dsc_2"),
                vec![original(1, "dsc_1"), replacing(1, edit(2, "p"))],
                vec![pair(1, 1)],
            ),
            (
                "a second original that it is of",
                original(3, "dsc_2"),
                vec![original(1, "dsc_1"), replacing(1, edit(2, "dsc_2-edit"))],
                vec![pair(1, 1), pair(2, 3)],
            ),
            (
                "sure of the first",
                original(3, "dsc_2"),
                vec![original(1, "dsc_1"), replacing(1, edit(2, "dsc_1"))],
                vec![],
            ),
            ("a RAW's JPEG", original(2, "dsc_1"), vec![raw(1, "dsc_1")], vec![pair(2, 1)]),
            ("another RAW's JPEG", original(2, "dsc_2"), vec![raw(1, "dsc_1")], vec![]),
            ("a RAW, developed", edit(2, "party-17"), vec![raw(1, "dsc_1")], vec![pair(2, 1)]),
            (
                "a RAW's JPEG after its edit",
                original(3, "dsc_1"),
                vec![raw(1, "dsc_1"), replacing(1, edit(2, "p"))],
                vec![pair(2, 3)],
            ),
            ("a RAW", raw(2, "dsc_1"), vec![original(1, "dsc_1")], vec![]),
        ];
        for (what, newcomer, known, expected) in table {
            let newcomer = if what == "turned" { of_size(newcomer, 6000, 4200) } else { newcomer };
            assert_eq!(relations(&newcomer, &known, None), expected, "{what}");
        }
        // The same path: whatever it is, it took the place of what was there.
        for (newcomer, before) in
            [(edit(2, "a"), original(1, "a")), (original(1, "a"), edit(2, "a")), (original(2, "a"), original(1, "b"))]
        {
            let expected = vec![relation(&newcomer, &before)];
            assert_eq!(relations(&newcomer, std::slice::from_ref(&before), Some(before.digest)), expected);
        }
        assert_eq!(relations(&original(2, "a"), &[], Some(Digest::of(&[9]))), vec![], "another shot lay there");
    }

    proptest! {
        /// In whatever order they are seen, of one original and its exports guests see the last export alone.
        #[test]
        fn the_last_export_stands_for_the_shot(order in Just((0_u8..5).collect::<Vec<_>>()).prop_shuffle()) {
            let all: Vec<_> = order.iter().map(|n| if *n == 0 { original(0, "dsc_1") } else { edit(*n, "party-17") }).collect();
            let mut known: Vec<Version> = Vec::new();
            // As the server keeps them: oldest first.
            let mut shots: Vec<Vec<Digest>> = Vec::new();
            for newcomer in all {
                for relation in relations(&newcomer, &known, None) {
                    declare(&mut shots, relation);
                    known.iter_mut().filter(|of| of.digest == relation.new).for_each(|of| of.replaces = Some(relation.old));
                    if newcomer.digest == relation.new {
                        known.push(Version { replaces: Some(relation.old), ..newcomer.clone() });
                    }
                }
                if !known.iter().any(|of| of.digest == newcomer.digest) {
                    known.push(newcomer);
                }
            }
            prop_assert_eq!(shots.len(), 1);
            prop_assert_eq!(shots[0].iter().collect::<BTreeSet<_>>().len(), 5);
            prop_assert_eq!(shots[0].last(), Some(&Digest::of(&[4])));
        }
    }

    fn declare(shots: &mut Vec<Vec<Digest>>, Relation { new, old }: Relation) {
        let mut take = |of: Digest| {
            let at = shots.iter().position(|shot| shot.contains(&of));
            at.map_or_else(|| vec![of], |at| shots.remove(at))
        };
        let mut shot = take(old);
        if shot.contains(&new) {
            let at = |shot: &[Digest], of: Digest| shot.iter().position(|other| *other == of).unwrap();
            if at(&shot, new) < at(&shot, old) {
                shot.retain(|other| *other != new);
                let after = at(&shot, old) + 1;
                shot.insert(after, new);
            }
        } else {
            shot.extend(take(new));
        }
        shots.push(shot);
    }
}
