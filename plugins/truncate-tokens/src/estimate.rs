//! An estimate of tokens that errs on the high side: four letters or three digits of ASCII a token, every other visible
//! character one, white space with what follows it, a line end one.
//!
//! Common tokenizers of byte pairs stay below that for prose and code; for writing without spaces they come close.

/// A piece of a text that is never taken apart, with the space before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) from: usize,
    pub(crate) to: usize,
    tokens: usize,
}

/// The longest piece: a word without end is cut after so many letters.
const PIECE_LETTERS: usize = 40;

/// The pieces of a text, in order and without gaps.
pub(crate) fn pieces(text: &str) -> impl Iterator<Item = Piece> + '_ {
    let mut from = 0;
    std::iter::from_fn(move || {
        let rest = text.get(from..).filter(|rest| !rest.is_empty())?;
        let space: usize = rest.chars().take_while(|letter| letter.is_whitespace()).map(char::len_utf8).sum();
        let (blank, word) = rest.split_at(space);
        let lines = blank.matches('\n').count();
        let (bytes, tokens) = first(word);
        let piece = Piece { from, to: from + space + bytes, tokens: (tokens + lines).max(usize::from(bytes == 0)) };
        from = piece.to;
        Some(piece)
    })
}

/// Bytes and tokens of the first run of a text that begins without space.
fn first(word: &str) -> (usize, usize) {
    let Some(begin) = word.chars().next() else { return (0, 0) };
    let run = |same: fn(&char) -> bool| word.chars().take(PIECE_LETTERS).take_while(same).count();
    if begin.is_ascii_alphabetic() {
        let letters = run(char::is_ascii_alphabetic);
        return (letters, letters.div_ceil(4));
    }
    if begin.is_ascii_digit() {
        let digits = run(char::is_ascii_digit);
        return (digits, digits.div_ceil(3));
    }
    (begin.len_utf8(), 1)
}

/// The tokens of pieces.
pub(crate) fn cost(pieces: &[Piece]) -> usize {
    pieces.iter().map(|piece| piece.tokens).sum()
}

/// How many pieces fit.
pub(crate) fn longest_within<'p>(pieces: impl Iterator<Item = &'p Piece>, most: usize) -> usize {
    let mut taken = 0;
    pieces
        .take_while(|piece| {
            taken += piece.tokens;
            taken <= most
        })
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_the_text() {
        for text in ["", "  a b\n\n c, 1234.5 \u{e4}\u{6f22}  ", "x"] {
            let joined: String = pieces(text).map(|piece| text.get(piece.from..piece.to).unwrap()).collect();
            assert_eq!(joined, text);
        }
    }

    #[test]
    fn letters_digits_and_signs_cost_as_they_should() {
        let cost_of = |text: &str| cost(&pieces(text).collect::<Vec<_>>());
        assert_eq!(
            [cost_of("word"), cost_of("words"), cost_of("1234"), cost_of("a, b"), cost_of("a\nb")],
            [1, 2, 2, 3, 3]
        );
    }
}
