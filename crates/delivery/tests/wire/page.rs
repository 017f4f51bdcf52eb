//! The parts of docs/wire.md that are meant for the test.

/// The page.
pub(crate) fn page() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/wire.md");
    std::fs::read_to_string(path).expect("docs/wire.md")
}

/// The fenced blocks with this mark, each with the number of its first line.
pub(crate) fn blocks(mark: &str) -> Vec<(usize, Vec<String>)> {
    let page = page();
    let mut found = Vec::new();
    let mut lines = page.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        if line == format!("```{mark}") {
            let block = lines.by_ref().map(|(_, line)| line.to_owned());
            found.push((at + 2, block.take_while(|line| line != "```").collect()));
        }
    }
    found
}

/// The first column of the table with this heading, without the backquotes. A cell may name several.
pub(crate) fn table(heading: &str) -> Vec<String> {
    let page = page();
    let mut lines = page
        .lines()
        .skip_while(|line| !line.starts_with(&format!("| {heading} |")));
    assert!(lines.next().is_some(), "no table {heading:?}");
    let rows = lines.skip(1).take_while(|line| line.starts_with('|'));
    let cells = rows.filter_map(|row| row.split('|').nth(1).map(|cell| cell.trim().to_owned()));
    cells
        .flat_map(|cell| {
            cell.split('`')
                .skip(1)
                .step_by(2)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect()
}
