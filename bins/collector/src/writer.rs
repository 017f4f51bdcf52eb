//! The one writer: takes what the readers hand out, renders it into a batch, and hands full batches to
//! the committer. While one batch is made durable the next is rendered.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use offsets::Change;
use tokio::{sync::mpsc, time::Instant};

use crate::{
    books::Books,
    checkpoint::{self, Checkpoint},
    config::Commit,
    fleet::Finished,
    gap::Notice,
    otlp::{self, Queue, Span, Tracer},
    render::{Label, Output, Renderer},
    roster::Roster,
    source::{Batch, Cursor, Event},
};

/// A batch ready to be made durable.
#[derive(Debug, Default)]
pub struct Work {
    /// Octets for `.log` and `.json`.
    pub output: Output,
    /// What becomes true with them.
    pub changes: Vec<Change>,
    /// Gaps announced among the changes, with the keys of their announcements.
    pub gaps: Vec<(String, Notice)>,
    /// The state of the containers in this batch after it.
    pub books: Vec<(String, Checkpoint)>,
    /// Unreadable entries that were passed over.
    pub corrupt: u64,
    /// Readers that ended in this batch.
    pub finished: Vec<Finished>,
}

/// The writer's state.
#[derive(Debug)]
pub struct Writer {
    renderer: Renderer,
    roster: Arc<Roster>,
    accounts: BTreeMap<String, Account>,
    /// Containers that the batch in the making is about.
    touched: BTreeSet<String>,
    work: Work,
    tracing: Option<(Tracer, Queue)>,
}

/// What the writer knows of a container, up to the batch in the making.
#[derive(Debug, Default)]
struct Account {
    cursor: Option<Cursor>,
    books: Books,
    label: Arc<Label>,
    /// The span of its stream, which goes on.
    stream: Option<Span>,
}

impl Writer {
    /// A writer with an empty batch; books and labels come from the roster.
    #[must_use]
    pub fn new(renderer: Renderer, roster: Arc<Roster>) -> Writer {
        Writer {
            renderer,
            roster,
            accounts: BTreeMap::new(),
            touched: BTreeSet::new(),
            work: Work::default(),
            tracing: None,
        }
    }

    /// The same writer, which tells the queue of streams.
    #[must_use]
    pub fn traced(mut self, tracing: Option<(Tracer, Queue)>) -> Writer {
        self.tracing = tracing;
        self
    }

    /// Renders until `events` is closed. A batch goes to `full` when it is full, or old enough and the
    /// one before is durable, which an output in `empty` says; the next is rendered meanwhile.
    pub async fn run(
        mut self,
        commit: Commit,
        mut events: mpsc::Receiver<Event>,
        mut missed: mpsc::Receiver<Notice>,
        full: mpsc::Sender<Work>,
        mut empty: mpsc::Receiver<Output>,
        pulse: service::status::Pulse,
    ) {
        let mut first: Option<Instant> = None;
        let mut open = true;
        while open || first.is_some() {
            pulse.beat();
            let now = Instant::now();
            let fills = self.full(&commit);
            let due = fills || !open || first.is_some_and(|at| now >= at + commit.max_delay);
            let wake = match first {
                Some(at) if !due => at + commit.max_delay,
                _ => now + pulse.period(),
            };
            tokio::select! {
                biased;
                spare = empty.recv(), if due && first.is_some() => {
                    let Some(spare) = spare else { return };
                    first = None;
                    if full.send(self.take(spare)).await.is_err() {
                        return;
                    }
                }
                event = events.recv(), if open && !fills => match event {
                    Some(event) => {
                        self.apply(event);
                        first = first.or(Some(now));
                    }
                    None => open = false,
                },
                Some(notice) = missed.recv(), if open => {
                    self.missed(notice);
                    first = first.or(Some(now));
                }
                () = tokio::time::sleep_until(wake) => {}
            }
        }
        for account in std::mem::take(&mut self.accounts).into_values() {
            self.trace_end(account.stream);
        }
    }

    /// Takes one thing that a reader said.
    pub fn apply(&mut self, event: Event) {
        match event {
            Event::Batch(batch) => self.batch(batch),
            Event::Failed { container, error } => {
                let cursor = self
                    .accounts
                    .get(&container.id)
                    .and_then(|account| account.cursor.clone());
                let error = Some(error.to_string());
                self.work.finished.push(Finished {
                    id: container.id.clone(),
                    cursor,
                    error,
                });
            }
        }
    }

    /// Takes a gap that no reader saw: nobody reads the container, and nobody will.
    fn missed(&mut self, mut notice: Notice) {
        let mut books = self.roster.books(&notice.id);
        books.gaps += 1;
        notice.number = books.gaps;
        let (key, change) = checkpoint::gap(&notice.id, notice.number, notice.to_json());
        let checkpoint = Checkpoint {
            name: notice.container.clone(),
            cursor: None,
            books,
        };
        self.work.changes.push(change);
        self.work.changes.push(checkpoint.put(&notice.id));
        self.work.books.push((notice.id.clone(), checkpoint));
        self.work.gaps.push((key, notice));
    }

    fn batch(&mut self, batch: Batch) {
        let id = &batch.container.id;
        let label = self.roster.label(&batch.container);
        if !self.accounts.contains_key(id) {
            let books = self.roster.books(id);
            self.accounts.insert(
                id.clone(),
                Account {
                    books,
                    ..Account::default()
                },
            );
        }
        let Some(account) = self.accounts.get_mut(id) else {
            return;
        };
        account.label = label;
        for gap in &batch.gaps {
            account.books.gaps += 1;
            let number = account.books.gaps;
            let notice = Notice::of(gap, id, &account.label.name, number);
            let (key, change) = checkpoint::gap(id, number, notice.to_json());
            self.work.changes.push(change);
            self.work.gaps.push((key, notice));
        }
        self.work.corrupt += batch.corrupt;
        account.books.corrupt += batch.corrupt;
        let output = &mut self.work.output;
        let traced = output.spans.len();
        self.renderer
            .render(&batch.lines, &account.label, output, &mut account.books);
        if let Some((tracer, _)) = &self.tracing {
            let now = otlp::now_ns();
            let stream = account
                .stream
                .get_or_insert_with(|| stream_span(tracer, id, &account.label, now));
            for span in &mut output.spans[traced..] {
                span.start_ns = now;
                span.link = Some(stream.context);
            }
        }
        if batch.end {
            let cursor = Some(batch.cursor.clone());
            self.work.finished.push(Finished {
                id: id.clone(),
                cursor,
                error: None,
            });
        }
        account.cursor = Some(batch.cursor);
        if !self.touched.contains(id) {
            self.touched.insert(id.clone());
        }
    }

    fn trace_end(&self, span: Option<Span>) {
        if let Some((_, queue)) = &self.tracing {
            queue.offer_ended(span);
        }
    }

    fn full(&self, commit: &Commit) -> bool {
        let output = &self.work.output;
        output.log.len() >= commit.max_bytes
            || output.json.len() >= commit.max_bytes.saturating_mul(JSON_FACTOR)
            || self.work.gaps.len() >= MAX_GAPS
    }

    /// Closes the batch; the next is rendered into `spare`.
    pub fn take(&mut self, spare: Output) -> Work {
        for id in std::mem::take(&mut self.touched) {
            let Some(account) = self.accounts.get(&id) else {
                continue;
            };
            let name = account.label.name.clone();
            let checkpoint = Checkpoint {
                name,
                cursor: account.cursor.clone(),
                books: account.books,
            };
            self.work.changes.push(checkpoint.put(&id));
            self.work.books.push((id, checkpoint));
        }
        // The next reader of this container starts after this batch is durable, and then the roster
        // has its books: nothing is kept here for containers that nobody reads.
        for finished in &self.work.finished {
            if let Some(account) = self.accounts.remove(&finished.id) {
                self.trace_end(account.stream);
            }
        }
        std::mem::replace(
            &mut self.work,
            Work {
                output: spare,
                ..Work::default()
            },
        )
    }
}

/// The span of a stream that begins now.
fn stream_span(tracer: &Tracer, id: &str, label: &Label, now: u64) -> Span {
    Span {
        name: otlp::STREAM,
        context: tracer.stream(id, now),
        link: None,
        start_ns: now,
        end_ns: 0,
        attributes: vec![
            ("container.id", id.to_owned()),
            ("container.name", label.name.clone()),
        ],
    }
}

/// A record is about twice its line; escapes can make it longer.
const JSON_FACTOR: usize = 4;
/// Gaps in one batch.
const MAX_GAPS: usize = 1024;

#[cfg(test)]
mod tests;
