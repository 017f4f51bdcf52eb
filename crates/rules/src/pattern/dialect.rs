//! From the text of a pattern to what it means: Go's dialect of RE2, on octets.

mod go;
mod octets;

use regex_syntax::{
    ast::{self, Ast, Span},
    hir,
};

use super::{MAX_NESTING, MAX_REPETITION, PatternError};

/// Parses a pattern.
pub(super) fn parse(text: &str) -> Result<hir::Hir, PatternError> {
    let source = go::translate(text);
    let mut tree = ast::parse::ParserBuilder::new()
        .nest_limit(MAX_NESTING)
        .build()
        .parse(&source.text)
        .map_err(|error| source.error(error.span(), error.kind()))?;
    check(&tree, &source)?;
    rewrite(&mut tree);
    let meaning = hir::translate::TranslatorBuilder::new()
        .utf8(false)
        .build()
        .translate(&source.text, &tree)
        .map_err(|error| source.error(error.span(), error.kind()))?;
    Ok(octets::any(meaning))
}

/// A pattern as this library's parser takes it, and where its parts stood before.
struct Source {
    text: String,
    /// For each octet of `text`, the character of the pattern that it comes from, counted from 1.
    places: Vec<usize>,
}

impl Source {
    fn at(&self, span: &Span) -> usize {
        let last = self.places.last().map_or(1, |last| last + 1);
        self.places.get(span.start.offset).copied().unwrap_or(last)
    }

    fn error(&self, span: &Span, what: &impl ToString) -> PatternError {
        PatternError::Syntax {
            at: self.at(span),
            what: what.to_string(),
        }
    }
}

/// Refuses what Go refuses.
fn check(tree: &Ast, source: &Source) -> Result<(), PatternError> {
    let flags = |flags: &ast::Flags| {
        let foreign = flags.items.iter().find(|item| {
            use ast::Flag::{CRLF, IgnoreWhitespace, Unicode};
            let ast::FlagsItemKind::Flag(flag) = item.kind else {
                return false;
            };
            matches!(flag, CRLF | IgnoreWhitespace | Unicode)
        });
        match foreign {
            Some(item) => Err(source.error(&item.span, &"unknown flag, known are i, m, s, U")),
            None => Ok(()),
        }
    };
    match tree {
        Ast::Flags(set) => flags(&set.flags),
        Ast::Group(group) => {
            if let ast::GroupKind::NonCapturing(set) = &group.kind {
                flags(set)?;
            }
            check(&group.ast, source)
        }
        Ast::Repetition(repetition) => {
            use ast::{RepetitionKind::Range, RepetitionRange};
            let count = match repetition.op.kind {
                Range(RepetitionRange::Exactly(count) | RepetitionRange::AtLeast(count)) => count,
                Range(RepetitionRange::Bounded(_, count)) => count,
                _ => 0,
            };
            if count > MAX_REPETITION {
                let at = source.at(&repetition.op.span);
                return Err(PatternError::Repetition { at, count });
            }
            check(&repetition.ast, source)
        }
        Ast::Alternation(all) => all.asts.iter().try_for_each(|tree| check(tree, source)),
        Ast::Concat(all) => all.asts.iter().try_for_each(|tree| check(tree, source)),
        _ => Ok(()),
    }
}

/// Makes `\d`, `\w`, `\s`, `\b` and their opposites ASCII.
fn rewrite(tree: &mut Ast) {
    match tree {
        Ast::ClassPerl(class) => *tree = Ast::class_bracketed(ascii(class)),
        Ast::ClassBracketed(class) => rewrite_set(&mut class.kind),
        Ast::Assertion(assertion) if is_word(&assertion.kind) => {
            let assertion = (**assertion).clone();
            *tree = ascii_assertion(assertion);
        }
        Ast::Group(group) => rewrite(&mut group.ast),
        Ast::Repetition(repetition) => rewrite(&mut repetition.ast),
        Ast::Alternation(all) => all.asts.iter_mut().for_each(rewrite),
        Ast::Concat(all) => all.asts.iter_mut().for_each(rewrite),
        _ => {}
    }
}

fn rewrite_set(set: &mut ast::ClassSet) {
    match set {
        ast::ClassSet::Item(item) => rewrite_item(item),
        ast::ClassSet::BinaryOp(op) => {
            rewrite_set(&mut op.lhs);
            rewrite_set(&mut op.rhs);
        }
    }
}

fn rewrite_item(item: &mut ast::ClassSetItem) {
    match item {
        ast::ClassSetItem::Perl(class) => {
            *item = ast::ClassSetItem::Bracketed(Box::new(ascii(class)));
        }
        ast::ClassSetItem::Bracketed(class) => rewrite_set(&mut class.kind),
        ast::ClassSetItem::Union(union) => union.items.iter_mut().for_each(rewrite_item),
        _ => {}
    }
}

fn is_word(kind: &ast::AssertionKind) -> bool {
    use ast::AssertionKind::{EndLine, EndText, StartLine, StartText};
    !matches!(kind, StartLine | EndLine | StartText | EndText)
}

fn ascii(class: &ast::ClassPerl) -> ast::ClassBracketed {
    let ranges: &[(char, char)] = match class.kind {
        ast::ClassPerlKind::Digit => &[('0', '9')],
        // Go's has no vertical tab.
        ast::ClassPerlKind::Space => &[('\t', '\n'), ('\x0c', '\r'), (' ', ' ')],
        ast::ClassPerlKind::Word => &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')],
    };
    let span = class.span;
    let literal = |c| ast::Literal {
        span,
        kind: ast::LiteralKind::Verbatim,
        c,
    };
    let items = ranges.iter().map(|(start, end)| {
        ast::ClassSetItem::Range(ast::ClassSetRange {
            span,
            start: literal(*start),
            end: literal(*end),
        })
    });
    ast::ClassBracketed {
        span,
        negated: class.negated,
        kind: ast::ClassSet::Item(ast::ClassSetItem::Union(ast::ClassSetUnion {
            span,
            items: items.collect(),
        })),
    }
}

fn ascii_assertion(assertion: ast::Assertion) -> Ast {
    let span = assertion.span;
    let item = |kind| ast::FlagsItem { span, kind };
    Ast::group(ast::Group {
        span,
        kind: ast::GroupKind::NonCapturing(ast::Flags {
            span,
            items: vec![
                item(ast::FlagsItemKind::Negation),
                item(ast::FlagsItemKind::Flag(ast::Flag::Unicode)),
            ],
        }),
        ast: Box::new(Ast::assertion(assertion)),
    })
}
