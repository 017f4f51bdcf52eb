//! Lets classes match octets that are not UTF-8, as Go does, which reads each of them as one U+FFFD: an address or a name
//! in Latin-1 must not hide a line from `.*`.

use regex_syntax::hir::{
    Capture, Class, ClassBytes, ClassBytesRange, ClassUnicode, Hir, HirKind, Repetition,
};

/// Rewrites every class that has U+FFFD.
///
/// An octet is let through unless a character that the class lacks begins with it, so that `[^é]` does not match the
/// first half of `é`. Where a class is matched an exact number of times, an octet in the middle of a character may so
/// be counted as one; `.*` and `.+` are not changed by that.
pub(super) fn any(hir: Hir) -> Hir {
    match hir.into_kind() {
        HirKind::Class(Class::Unicode(class)) => single(class),
        HirKind::Repetition(repetition) => Hir::repetition(repeated(repetition)),
        HirKind::Capture(capture) => Hir::capture(Capture {
            sub: Box::new(any(*capture.sub)),
            ..capture
        }),
        HirKind::Concat(all) => Hir::concat(all.into_iter().map(any).collect()),
        HirKind::Alternation(all) => Hir::alternation(all.into_iter().map(any).collect()),
        HirKind::Class(class) => Hir::class(class),
        HirKind::Literal(literal) => Hir::literal(literal.0),
        HirKind::Look(look) => Hir::look(look),
        HirKind::Empty => Hir::empty(),
    }
}

/// One character of a class.
fn single(class: ClassUnicode) -> Hir {
    if let Some(octets) = all_octets(&class) {
        // Any sequence of several octets will do: a fifth of the states that telling right ones from wrong ones takes,
        // which is what makes `.{0,1000}` fit.
        let octet = |first, last| ClassBytes::new([ClassBytesRange::new(first, last)]);
        return Hir::alternation(vec![
            Hir::concat(vec![
                Hir::class(Class::Bytes(octet(0xc2, 0xf4))),
                Hir::repetition(Repetition {
                    min: 1,
                    max: Some(3),
                    greedy: true,
                    sub: Box::new(Hir::class(Class::Bytes(octet(0x80, 0xbf)))),
                }),
            ]),
            Hir::class(Class::Bytes(octets)),
        ]);
    }
    match stray(&class) {
        Some(stray) => Hir::alternation(vec![
            Hir::class(Class::Unicode(class)),
            Hir::class(Class::Bytes(stray)),
        ]),
        None => Hir::class(Class::Unicode(class)),
    }
}

/// Repetitions beyond this count octets: `.{0,900}` is a gap of some size, and five times smaller that way.
const MAX_CHARACTERS: u32 = 32;

/// `.*` needs no notion of characters at all, and is much smaller without.
fn repeated(repetition: Repetition) -> Repetition {
    let endless = match repetition.max {
        None => repetition.min <= 1 || repetition.min > MAX_CHARACTERS,
        Some(max) => max > MAX_CHARACTERS,
    };
    let sub = match repetition.sub.kind() {
        HirKind::Class(Class::Unicode(class)) if endless => match all_octets(class) {
            Some(class) => Hir::class(Class::Bytes(class)),
            None => any(*repetition.sub),
        },
        _ => any(*repetition.sub),
    };
    Repetition {
        sub: Box::new(sub),
        ..repetition
    }
}

/// The class as octets, if it has every character that is not ASCII.
fn all_octets(class: &ClassUnicode) -> Option<ClassBytes> {
    let last = class.ranges().last()?;
    if last.start() > '\u{80}' || last.end() != char::MAX {
        return None;
    }
    let octet = |c: char| u8::try_from(c).ok().filter(u8::is_ascii);
    let ascii = class.ranges().iter().filter_map(|range| {
        let start = octet(range.start())?;
        Some(ClassBytesRange::new(
            start,
            octet(range.end()).unwrap_or(0xff),
        ))
    });
    let mut octets: Vec<_> = ascii.collect();
    octets.push(ClassBytesRange::new(0x80, 0xff));
    Some(ClassBytes::new(octets))
}

/// The octets that may stand for a character of the class when they are none.
fn stray(class: &ClassUnicode) -> Option<ClassBytes> {
    let replacement = char::REPLACEMENT_CHARACTER;
    class
        .ranges()
        .iter()
        .find(|range| (range.start()..=range.end()).contains(&replacement))?;
    let mut lacking = class.clone();
    lacking.negate();
    let mut octets = ClassBytes::new([ClassBytesRange::new(0x80, 0xff)]);
    let begins = lacking
        .ranges()
        .iter()
        .filter(|range| !range.end().is_ascii());
    octets.difference(&ClassBytes::new(begins.map(|range| {
        let first = |c: char| c.encode_utf8(&mut [0; 4]).as_bytes()[0];
        ClassBytesRange::new(first(range.start().max('\u{80}')), first(range.end()))
    })));
    (!octets.ranges().is_empty()).then_some(octets)
}
