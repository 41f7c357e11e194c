//! What a target is, and the tally of outcomes by which one sees that its inputs reach deep.

use ringkeeper::base::prng::Prng;
use std::collections::BTreeMap;

/// One decoder with the grammar of its inputs.
pub trait Target {
    /// As on the command line.
    fn name(&self) -> &'static str;

    /// Outcomes that a run must have met, as (group, item).
    fn expected(&self) -> Vec<(&'static str, String)>;

    /// Makes one input from `prng`, gives it to the decoder, and checks what must hold.
    ///
    /// # Errors
    /// What didn't hold.
    fn try_one(&self, prng: &mut Prng, tally: &mut Tally) -> Result<(), String>;
}

/// What a run met.
#[derive(Default)]
pub struct Tally {
    counts: BTreeMap<(&'static str, String), u64>,
    /// Inputs that the decoder took.
    pub accepted: u64,
    /// The input under test, for the report of a failure.
    pub input: Vec<(String, Vec<u8>)>,
    /// Whether somebody will look at the input at leisure.
    pub verbose: bool,
}

impl Tally {
    /// Counts an outcome.
    pub fn met(&mut self, group: &'static str, item: impl Into<String>) {
        *self.counts.entry((group, item.into())).or_default() += 1;
    }

    /// Remembers the input under test.
    pub fn input(&mut self, name: &str, bytes: &[u8]) {
        self.input.push((name.to_owned(), bytes.to_vec()));
    }

    /// Different outcomes so far.
    pub fn distinct(&self) -> usize {
        self.counts.len()
    }

    /// Those of `expected` that weren't met.
    pub fn missing(&self, expected: &[(&'static str, String)]) -> Vec<String> {
        expected.iter().filter(|key| !self.counts.contains_key(*key)).map(|(group, item)| format!("{group}: {item}")).collect()
    }

    /// Group by group, how often each outcome was met.
    pub fn print(&self) {
        let (mut group, mut line) = ("", String::new());
        for ((next, item), count) in &self.counts {
            if *next != group {
                flush(&mut line);
                println!("  {next}");
                group = next;
            }
            let cell = format!("{item} {count}");
            if !line.is_empty() && line.chars().count() + cell.chars().count() > LINE_CHARS_MAX {
                flush(&mut line);
            }
            line.push_str(if line.is_empty() { "    " } else { "  |  " });
            line.push_str(&cell);
        }
        flush(&mut line);
    }
}

/// Longest line of the table.
const LINE_CHARS_MAX: usize = 130;

fn flush(line: &mut String) {
    if !line.is_empty() {
        println!("{line}");
        line.clear();
    }
}

/// A text without its numbers, so that equal kinds of messages count as one.
pub fn without_numbers(text: &str) -> String {
    let mut out = String::new();
    let mut words = text.split_inclusive([' ', ',', ':', ';', '(', ')', '/', '[', ']']);
    for word in &mut words {
        let body = word.trim_end_matches([' ', ',', ':', ';', '(', ')', '/', '[', ']']);
        let is_number =
            !body.is_empty() && (body.chars().any(|c| c.is_ascii_digit()) || body.chars().all(|c| c.is_ascii_hexdigit()) && body.len() > 8);
        if is_number {
            out.push('#');
            out.push_str(&word[body.len()..]);
        } else {
            out.push_str(word);
        }
    }
    out
}
