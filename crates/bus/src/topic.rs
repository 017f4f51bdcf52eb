//! Topics: words joined by dots, and the patterns that choose among them.

/// Whether a pattern chooses a topic: `*` stands for one word that is not empty, `>` for one or more words at the end.
#[must_use]
pub fn matches(pattern: &str, topic: &str) -> bool {
    let mut words = topic.split('.');
    for wanted in pattern.split('.') {
        let word = words.next();
        match (wanted, word) {
            (">", word) => return word.is_some(),
            ("*", Some(word)) if !word.is_empty() => {}
            (wanted, Some(word)) if wanted == word && wanted != "*" => {}
            _ => return false,
        }
    }
    words.next().is_none()
}

/// Whether a text may be a word of a topic: not empty, ASCII, without blanks, control characters, `.`, `*` and `>`.
#[must_use]
pub fn is_segment(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|octet| octet.is_ascii_graphic() && !matches!(octet, b'.' | b'*' | b'>'))
}

#[cfg(test)]
mod tests;
