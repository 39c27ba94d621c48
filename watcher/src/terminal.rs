//! Lines for a terminal of any width: broken between words, never inside one. What is not shown on a terminal stays one
//! line, for programs that look for it.

use std::io::{IsTerminal, stderr, stdout};

use terminal_size::{Width, terminal_size};

/// Prints a line of a command's answer; what does not fit goes on below, `indent` columns to the right.
pub(crate) fn answer(line: &str, indent: usize) {
    match width().filter(|_| stdout().is_terminal()) {
        Some(width) => println!("{}", wrapped(line, width, indent)),
        None => println!("{line}"),
    }
}

/// Lines for standard error, or for bars, as they are to be shown there.
pub(crate) fn fitted(line: &str) -> String {
    match width().filter(|_| stderr().is_terminal()) {
        Some(width) => line.split('\n').map(|line| wrapped(line, width, 2)).collect::<Vec<_>>().join("\n"),
        None => line.to_owned(),
    }
}

fn width() -> Option<usize> {
    terminal_size().map(|(Width(columns), _)| usize::from(columns))
}

/// Breaks a line between words; a word that is longer than a whole line is left to the terminal. What stands no further
/// right than `indent` (a label) keeps the word after it, for the next row would begin no further left.
fn wrapped(line: &str, width: usize, indent: usize) -> String {
    let (mut text, mut column) = (String::with_capacity(line.len() + 16), 0);
    for (n, word) in line.split(' ').enumerate() {
        let letters = word.chars().count();
        if n > 0 && column > indent && column + 1 + letters > width {
            text.push('\n');
            text.extend(std::iter::repeat_n(' ', indent));
            column = indent;
        } else if n > 0 {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += letters;
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_break_between_words() {
        assert_eq!(wrapped("findme-watch: nothere: there is no such folder", 40, 2), {
            "findme-watch: nothere: there is no such\n  folder"
        });
        assert_eq!(wrapped("ok    fits", 10, 6), "ok    fits");
        assert_eq!(
            wrapped("note  /a/path/longer/than/a/line is there", 12, 6),
            "note  /a/path/longer/than/a/line\n      is\n      there"
        );
        assert_eq!(wrapped(" a wordlongerthanaline", 12, 2), " a wordlongerthanaline");
        assert_eq!(wrapped(" ab wordlongerthanaline", 12, 2), " ab\n  wordlongerthanaline");
    }

    proptest! {
        #[test]
        fn no_word_is_lost(line in "[a-zé ]{0,200}", width in 12_usize..100, indent in 0_usize..8) {
            let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            let text = wrapped(&line, width, indent);
            prop_assert_eq!(words(&text), words(&line));
            for row in text.lines().map(str::trim_end) {
                let last = row.chars().count() - row.chars().rev().take_while(|letter| *letter != ' ').count();
                prop_assert!(row.chars().count() <= width || last <= indent + 1, "{row:?}");
            }
        }
    }
}
