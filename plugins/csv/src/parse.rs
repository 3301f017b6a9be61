//! CSV as in RFC 4180, read leniently where that is safe: any line ending, a
//! byte order mark, missing cells at the end of a row. Nothing is guessed about
//! quotes: a fault in them shifts everything after it, so it is an error.

use cofferdam_sdk::{Error, Result};

/// A record and the line on which it begins, counted from 1.
#[derive(Debug, PartialEq)]
pub(crate) struct Record {
    pub(crate) line: usize,
    pub(crate) cells: Vec<String>,
}

/// All records; empty lines are none.
///
/// # Errors
///
/// A quote that is not closed, or text after a closing quote, with the line.
pub(crate) fn records(text: &str, delimiter: char) -> Result<Vec<Record>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader { rest: text.chars().peekable(), line: 1, delimiter };
    let mut records = Vec::new();
    while reader.rest.peek().is_some() {
        let line = reader.line;
        let cells = reader.record()?;
        let empty = matches!(cells.as_slice(), [only] if only.is_empty());
        if !empty {
            records.push(Record { line, cells });
        }
    }
    Ok(records)
}

/// The delimiter of a text, from its first line: whichever of comma, semicolon,
/// tab and bar occurs most often outside quotes, the comma if none does.
pub(crate) fn detect_delimiter(text: &str) -> char {
    let mut counts = [(',', 0_usize), (';', 0), ('\t', 0), ('|', 0)];
    let mut quoted = false;
    for c in text.chars().take_while(|c| *c != '\n') {
        quoted ^= c == '"';
        if let Some((_, count)) = counts.iter_mut().find(|(known, _)| !quoted && *known == c) {
            *count += 1;
        }
    }
    let most = counts.iter().map(|(_, count)| *count).max().unwrap_or_default();
    counts.iter().find(|(_, count)| *count == most).map_or(',', |(c, _)| *c)
}

struct Reader<'text> {
    rest: std::iter::Peekable<std::str::Chars<'text>>,
    line: usize,
    delimiter: char,
}

impl Reader<'_> {
    /// The cells up to the end of the record, which is consumed.
    fn record(&mut self) -> Result<Vec<String>> {
        let mut cells = Vec::new();
        loop {
            let cell = if self.rest.next_if_eq(&'"').is_some() { self.quoted()? } else { self.plain() };
            cells.push(cell);
            match self.rest.next() {
                Some(c) if c == self.delimiter => {}
                Some('\r') => {
                    self.rest.next_if_eq(&'\n');
                    self.line += 1;
                    return Ok(cells);
                }
                Some('\n') => {
                    self.line += 1;
                    return Ok(cells);
                }
                Some(_) => {
                    return Err(Error::invalid_input(format!(
                        "CSV line {}: text after a closing quote; a quote within a quoted cell is written twice",
                        self.line
                    )));
                }
                None => return Ok(cells),
            }
        }
    }

    fn plain(&mut self) -> String {
        let delimiter = self.delimiter;
        let mut cell = String::new();
        while let Some(c) = self.rest.next_if(|c| *c != delimiter && !matches!(c, '\r' | '\n')) {
            cell.push(c);
        }
        cell
    }

    fn quoted(&mut self) -> Result<String> {
        let opened = self.line;
        let mut cell = String::new();
        while let Some(c) = self.rest.next() {
            match c {
                '"' if self.rest.next_if_eq(&'"').is_some() => cell.push('"'),
                '"' => return Ok(cell),
                '\n' => {
                    self.line += 1;
                    cell.push(c);
                }
                _ => cell.push(c),
            }
        }
        Err(Error::invalid_input(format!("CSV line {opened}: a quote is opened and never closed")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(text: &str) -> Vec<Vec<String>> {
        records(text, ',').unwrap().into_iter().map(|record| record.cells).collect()
    }

    #[test]
    fn any_line_ending_ends_a_record() {
        for text in ["a,b\n1,2\n", "a,b\r\n1,2\r\n", "a,b\r1,2", "\u{feff}a,b\n\n1,2"] {
            assert_eq!(cells(text), [["a", "b"], ["1", "2"]], "{text:?}");
        }
    }

    #[test]
    fn quotes_keep_delimiters_lines_and_quotes() {
        assert_eq!(cells("\"a,b\",\"c\nd\",\"e\"\"f\"\n"), [["a,b", "c\nd", "e\"f"]]);
    }

    #[test]
    fn a_record_knows_its_line() {
        let records = records("a\n\"b\nc\"\nd\n", ',').unwrap();
        assert_eq!(records.iter().map(|record| record.line).collect::<Vec<_>>(), [1, 2, 4]);
    }

    #[test]
    fn a_fault_in_quotes_is_an_error_with_its_line() {
        let error = records("a\n\"b\n", ',').unwrap_err();
        assert_eq!(error.message(), "CSV line 2: a quote is opened and never closed");
        assert!(records("\"a\"b\n", ',').unwrap_err().message().contains("line 1"));
    }

    #[test]
    fn the_delimiter_is_the_most_frequent_one_outside_quotes() {
        assert_eq!(detect_delimiter("a;b;\"c,d,e,f\"\n1,2"), ';');
        assert_eq!(detect_delimiter("a\tb"), '\t');
        assert_eq!(detect_delimiter("a"), ',');
    }
}
