//! Writes a pattern of Go's `regexp` in the syntax of `regex-syntax`, where the two differ: `\Q…\E`, braces that repeat
//! nothing, octal escapes, and brackets, which for Go hold no sets within sets.

use std::{iter::Peekable, str::Chars};

use super::Source;

/// Translates a pattern. What is wrong stays wrong, for the parser to say.
pub(super) fn translate(pattern: &str) -> Source {
    let mut writer = Writer {
        rest: pattern.chars().peekable(),
        read: 0,
        from: 1,
        out: Source {
            text: String::with_capacity(pattern.len()),
            places: Vec::with_capacity(pattern.len()),
        },
    };
    while let Some(c) = writer.next() {
        writer.from = writer.read;
        match c {
            '\\' if writer.rest.peek() == Some(&'Q') => writer.quoted(),
            '\\' => {
                let escape = writer.escape();
                writer.push(&escape);
            }
            '[' => writer.class(),
            '{' if !repeats(writer.rest.clone()) => writer.push(r"\{"),
            _ => writer.push(c.encode_utf8(&mut [0; 4])),
        }
    }
    writer.out
}

struct Writer<'p> {
    rest: Peekable<Chars<'p>>,
    /// Characters read.
    read: usize,
    /// The character that what is written comes from.
    from: usize,
    out: Source,
}

impl Writer<'_> {
    fn next(&mut self) -> Option<char> {
        let c = self.rest.next();
        self.read += usize::from(c.is_some());
        c
    }

    fn next_if(&mut self, wanted: impl FnOnce(char) -> bool) -> Option<char> {
        let c = self.rest.next_if(|c| wanted(*c));
        self.read += usize::from(c.is_some());
        c
    }

    fn push(&mut self, text: &str) {
        self.out.text.push_str(text);
        self.out.places.extend(text.bytes().map(|_| self.from));
    }

    /// After `\`, before `Q`.
    fn quoted(&mut self) {
        self.next();
        while let Some(c) = self.next() {
            if c == '\\' && self.next_if(|c| c == 'E').is_some() {
                return;
            }
            self.from = self.read;
            self.push(&regex_syntax::escape(c.encode_utf8(&mut [0; 4])));
        }
    }

    /// After `\`: the whole escape, so that what follows a brace in it is not taken for a repetition.
    fn escape(&mut self) -> String {
        let mut escape = String::from('\\');
        let Some(c) = self.next() else {
            return escape;
        };
        let octal = |c: char| c.is_digit(8);
        let second = self.rest.peek().copied().is_some_and(octal);
        if c == '0' || (octal(c) && second) {
            let mut code = c.to_digit(8).unwrap_or_default();
            for _ in 0..2 {
                match self.next_if(octal).and_then(|c| c.to_digit(8)) {
                    Some(digit) => code = code * 8 + digit,
                    None => break,
                }
            }
            return format!("\\x{{{code:x}}}");
        }
        escape.push(c);
        if matches!(c, 'x' | 'p' | 'P') {
            match self.next() {
                Some('{') => {
                    escape.push('{');
                    while let Some(c) = self.next() {
                        escape.push(c);
                        if c == '}' {
                            break;
                        }
                    }
                }
                Some(first) => {
                    escape.push(first);
                    if c == 'x' {
                        escape.extend(self.next());
                    }
                }
                None => {}
            }
        }
        escape
    }

    /// After `[`.
    fn class(&mut self) {
        self.push("[");
        if self.next_if(|c| c == '^').is_some() {
            self.push("^");
        }
        let mut first = true;
        loop {
            self.from = self.read + 1;
            match self.rest.peek() {
                None => return,
                Some(']') if !first => {
                    self.next();
                    return self.push("]");
                }
                Some(_) => self.item(),
            }
            first = false;
        }
    }

    /// One character, range or named class in brackets.
    fn item(&mut self) {
        let mut ahead = self.rest.clone();
        if ahead.next() == Some('[')
            && ahead.next() == Some(':')
            && let Some(length) = ahead.collect::<String>().find(":]")
        {
            let text: String = (0..length + 4).map_while(|_| self.next()).collect();
            return self.push(&text);
        }
        self.bound();
        let mut ahead = self.rest.clone();
        if ahead.next() == Some('-') && ahead.next().is_some_and(|c| c != ']') {
            self.next();
            self.push("-");
            self.bound();
        }
    }

    /// One end of a range.
    fn bound(&mut self) {
        match self.next() {
            None => {}
            Some('\\') => {
                let escape = self.escape();
                self.push(&escape);
            }
            Some(c @ ('[' | ']' | '&' | '~' | '-' | '^')) => {
                self.push("\\");
                self.push(c.encode_utf8(&mut [0; 4]));
            }
            Some(c) => self.push(c.encode_utf8(&mut [0; 4])),
        }
    }
}

/// Whether a repetition follows the brace: `{2}`, `{2,}` or `{2,5}`.
fn repeats(rest: Peekable<Chars<'_>>) -> bool {
    let inner: String = rest
        .take_while(|c| c.is_ascii_digit() || matches!(c, ',' | '}'))
        .collect();
    let Some((inner, _)) = inner.split_once('}') else {
        return false;
    };
    let (least, most) = inner.split_once(',').unwrap_or((inner, "0"));
    !least.is_empty() && !most.contains(',')
}
