//! From the text of a pattern to what it means: Go's dialect of RE2, on octets.

use regex_syntax::{ast, hir};

use super::{MAX_NESTING, PatternError};

/// Parses a pattern.
pub(super) fn parse(text: &str) -> Result<hir::Hir, PatternError> {
    let ast = ast::parse::ParserBuilder::new()
        .nest_limit(MAX_NESTING)
        .build()
        .parse(text)
        .map_err(|error| syntax(text, error.span().start.offset, error.kind()))?;
    hir::translate::TranslatorBuilder::new()
        .utf8(false)
        .build()
        .translate(text, &ast)
        .map_err(|error| syntax(text, error.span().start.offset, error.kind()))
}

fn syntax(text: &str, offset: usize, what: &impl ToString) -> PatternError {
    let before = text.get(..offset).unwrap_or(text);
    PatternError::Syntax {
        at: before.chars().count() + 1,
        what: what.to_string(),
    }
}
