//! Parses WhatsApp's markup: `*bold*`, `_italic_`, `~struck~` and `` `code` `` (WhatsApp Help
//! Center, "How to format your messages").

/// A piece of a text, and its styles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkupSpan {
    pub text: String,
    /// The outermost first.
    pub styles: Vec<MarkupStyle>,
}

/// A style of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkupStyle {
    Bold,
    Italic,
    Struck,
    Code,
}

impl MarkupStyle {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bold => "bold",
            Self::Italic => "italic",
            Self::Struck => "struck",
            Self::Code => "code",
        }
    }
}

/// The longest first.
const MARKERS: [(&str, MarkupStyle); 5] = [
    ("```", MarkupStyle::Code),
    ("*", MarkupStyle::Bold),
    ("_", MarkupStyle::Italic),
    ("~", MarkupStyle::Struck),
    ("`", MarkupStyle::Code),
];

/// Splits a text into pieces; anything but a pair of markers stays as it is.
pub fn spans(text: &str) -> Vec<MarkupSpan> {
    let mut found = Vec::new();
    read(text, &[], &mut found);
    found
}

fn read(text: &str, styles: &[MarkupStyle], found: &mut Vec<MarkupSpan>) {
    let mut plain = 0;
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let before = text.get(..at).unwrap_or_default();
        if let Some((style, inner, after)) = pair(before, rest) {
            push(text.get(plain..at).unwrap_or_default(), styles, found);
            let styles = [styles, &[style]].concat();
            if style == MarkupStyle::Code {
                push(inner, &styles, found);
            } else {
                read(inner, &styles, found);
            }
            at = text.len() - after.len();
            plain = at;
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    push(text.get(plain..).unwrap_or_default(), styles, found);
}

/// The style whose marker a text begins with, the text up to the second marker, and the rest.
fn pair<'a>(before: &str, text: &'a str) -> Option<(MarkupStyle, &'a str, &'a str)> {
    let (marker, style) = MARKERS
        .into_iter()
        .find(|(marker, _)| text.starts_with(marker))?;
    let inside = text.strip_prefix(marker)?;
    // Within a word it is an ordinary character: `2*3*4`.
    let is_word = |sign: Option<char>| sign.is_some_and(char::is_alphanumeric);
    if is_word(before.chars().next_back()) || !begins(inside, marker) {
        return None;
    }
    let line = if marker == "```" {
        inside
    } else {
        inside.split('\n').next()?
    };
    line.match_indices(marker).find_map(|(place, _)| {
        let (inner, after) = inside.split_at_checked(place)?;
        let after = after.strip_prefix(marker)?;
        let closes = !inner.ends_with(char::is_whitespace) && !is_word(after.chars().next());
        (closes && !inner.is_empty()).then_some((style, inner, after))
    })
}

fn begins(inside: &str, marker: &str) -> bool {
    let next = inside.chars().next();
    next.is_some_and(|sign| marker == "```" || !sign.is_whitespace())
}

fn push(text: &str, styles: &[MarkupStyle], found: &mut Vec<MarkupSpan>) {
    if !text.is_empty() {
        found.push(MarkupSpan {
            text: text.to_owned(),
            styles: styles.to_vec(),
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Pieces with the first letter of each style.
    fn marked(text: &str) -> String {
        let piece = |MarkupSpan { text, styles }| {
            let letters: String = styles
                .into_iter()
                .filter_map(|it: MarkupStyle| it.name().chars().next())
                .collect();
            ["[", &letters, ":", &text, "]"].concat()
        };
        spans(text).into_iter().map(piece).collect()
    }

    #[test]
    fn pairs_of_markers_are_styles() {
        assert_eq!(
            marked("a *b* _c_ ~d~ `e`"),
            "[:a ][b:b][: ][i:c][: ][s:d][: ][c:e]"
        );
        assert_eq!(marked("*bold _and italic_*"), "[b:bold ][bi:and italic]");
        assert_eq!(
            marked("```two\nlines *as they are*```"),
            "[c:two\nlines *as they are*]"
        );
    }

    #[test]
    fn what_is_no_pair_stands_as_it_is() {
        for text in [
            "2*3*4", "* a *", "*a", "a*", "**", "a_b_c", "*a\nb*", "", "`", "``````", "* *",
        ] {
            let whole: String = spans(text).into_iter().map(|it| it.text).collect();
            assert_eq!(whole, text);
            assert!(spans(text).iter().all(|it| it.styles.is_empty()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_but_markers_is_left_out(text in "[a-z *_~`\n]{0,60}") {
            let signs = |text: &str| -> String { text.chars().filter(|it| !"*_~`".contains(*it)).collect() };
            let whole: String = spans(&text).into_iter().map(|it| it.text).collect();
            prop_assert_eq!(signs(&whole), signs(&text));
        }
    }
}
