//! Reading a file of settings such as `.env`, as docker compose's `env_file`, systemd's
//! `EnvironmentFile` and common dotenv files have them.
//!
//! | line | what it says |
//! |---|---|
//! | `NAME=some words, and more` | everything up to the end of the line or a ` #`, without blanks around it |
//! | `NAME="a \"b\" # c"` | between the quotes; `\"`, `\\`, `\n`, `\t`, `\r` and `\$` are escapes |
//! | `NAME='a $b \c'` | between the quotes, as it stands |
//! | `export NAME=value` | the same as without `export` |
//! | `# …`, `; …`, blank | nothing |
//!
//! Nothing is substituted: a `$` is a `$`. Of two lines with one name the later one counts.

/// A line with a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvFileSetting {
    /// From 1.
    pub number: usize,
    pub name: String,
    pub value: String,
}

/// An invalid line: its number, from 1, and the reason, never its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvFileError {
    pub number: usize,
    pub rule: &'static str,
}

/// Reads every line.
pub fn parse(text: &str) -> Vec<Result<EnvFileSetting, EnvFileError>> {
    text.trim_start_matches('\u{feff}')
        .lines()
        .enumerate()
        .filter_map(|(index, line)| {
            let number = index + 1;
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', ';']) {
                return None;
            }
            let parsed = match assignment(line) {
                Ok((name, value)) => Ok(EnvFileSetting {
                    number,
                    name,
                    value,
                }),
                Err(rule) => Err(EnvFileError { number, rule }),
            };
            Some(parsed)
        })
        .collect()
}

fn assignment(line: &str) -> Result<(String, String), &'static str> {
    let line = line
        .strip_prefix("export")
        .filter(|rest| rest.starts_with(char::is_whitespace))
        .map_or(line, str::trim_start);
    let (name, value) = line.split_once('=').ok_or("it is not NAME=value")?;
    let name = name.trim_end();
    let is_name = name.bytes().enumerate().all(|(at, byte)| {
        byte == b'_' || byte.is_ascii_alphabetic() || at > 0 && byte.is_ascii_digit()
    });
    if name.is_empty() || !is_name {
        return Err("a name has letters, digits and underscores only, and begins with no digit");
    }
    let value = value.trim_start();
    let value = if let Some(rest) = value.strip_prefix('"') {
        double_quoted(rest)?
    } else if let Some(rest) = value.strip_prefix('\'') {
        let (inner, rest) = rest.split_once('\'').ok_or(NOT_CLOSED)?;
        nothing_more(rest)?;
        inner.to_owned()
    } else {
        unquoted(value).to_owned()
    };
    Ok((name.to_owned(), value))
}

const NOT_CLOSED: &str = "its quote is not closed on the same line";

fn double_quoted(rest: &str) -> Result<String, &'static str> {
    let mut value = String::new();
    let mut letters = rest.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => {
                nothing_more(letters.as_str())?;
                return Ok(value);
            }
            '\\' => match letters.next().ok_or(NOT_CLOSED)? {
                'n' => value.push('\n'),
                't' => value.push('\t'),
                'r' => value.push('\r'),
                escaped @ ('"' | '\\' | '$') => value.push(escaped),
                // Not an escape: a Windows path, or a regular expression.
                other => value.extend(['\\', other]),
            },
            letter => value.push(letter),
        }
    }
    Err(NOT_CLOSED)
}

/// After a closing quote there may be a comment.
fn nothing_more(rest: &str) -> Result<(), &'static str> {
    let more = rest.trim_start();
    if more.is_empty() || more.starts_with('#') && more.len() < rest.len() {
        Ok(())
    } else {
        Err("something follows its closing quote")
    }
}

/// A `#` begins a comment only after a blank: secrets and addresses may contain it.
fn unquoted(value: &str) -> &str {
    let mut before = ' ';
    for (at, letter) in value.char_indices() {
        if letter == '#' && before.is_whitespace() {
            return value.get(..at).unwrap_or_default().trim_end();
        }
        before = letter;
    }
    value.trim_end()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn values_are_read_as_other_tools_read_them() {
        for (line, value) in [
            ("A=b", "b"),
            ("A = b ", "b"),
            ("export A=b", "b"),
            ("A=", ""),
            ("A=System Admins,Sales Team", "System Admins,Sales Team"),
            ("A=STOP, ARRÊT, बंद करें", "STOP, ARRÊT, बंद करें"),
            ("A=b # c", "b"),
            ("A=b#c", "b#c"),
            ("A=#c", ""),
            ("A=\"b # c\" # d", "b # c"),
            ("A=\"\"", ""),
            (r#"A="b \"c\" \\ \n \$d \w""#, "b \"c\" \\ \n $d \\w"),
            ("A='b \\n $c \"'", "b \\n $c \""),
            ("A=$b ${c} `d` \\e", "$b ${c} `d` \\e"),
            ("A=b=c", "b=c"),
            ("A=it's", "it's"),
            ("\u{feff}A=b\r", "b"),
        ] {
            let parsed = parse(line);
            assert_eq!(parsed.len(), 1, "{line}");
            let parsed = parsed[0].as_ref().unwrap();
            assert_eq!((parsed.name.as_str(), parsed.value.as_str()), ("A", value));
        }
        assert_eq!(parse("\n# a comment\n; another\n   \n"), []);
        let later = parse("# one\n\nA=1\nexport B=2");
        assert_eq!(later[1].as_ref().unwrap().number, 4);
    }

    #[test]
    fn a_mistake_has_its_line_and_never_what_stands_there() {
        for line in [
            "secret",
            "1A=secret",
            "A B=secret",
            "=secret",
            "A=\"secret",
            "A='secret",
            "A=\"secret\" secret",
            "A=\"secret\"#",
        ] {
            let parsed = parse(&format!("B=1\n{line}\n"));
            let mistake = parsed[1].as_ref().unwrap_err();
            assert_eq!(mistake.number, 2, "{line}");
            assert!(!mistake.rule.contains("secret"), "{line}");
        }
    }
}
