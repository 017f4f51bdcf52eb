//! What masters know of files that no stored state explains: after a loss of the state directory, or with an old copy
//! of it, or simply after rotations while we were down.

use std::time::{Duration, Instant};

use delivery::sender::{Action, Adopted, Sender, SenderLimits, Source, Why};
use delivery::{Hash, Offset, Pause};
use tail::Answer;
use tokio::sync::watch;

use super::talk::{Moved, Talk, offset, ours};
use super::{AGENT, words};
use crate::connection::Connection;
use crate::link::Link;

/// Which masters were asked, and what they said.
#[derive(Debug)]
pub(crate) struct Asking {
    at: usize,
    answers: Vec<Option<Vec<Answer>>>,
    /// What the master `at` has said of the first files.
    begun: Vec<Answer>,
    /// Since when a master can't be reached.
    since: Option<Instant>,
}

impl Asking {
    /// Of so many masters.
    pub(crate) fn new(masters: usize) -> Self {
        Self {
            at: 0,
            answers: vec![None; masters.max(1)],
            begun: Vec::new(),
            since: None,
        }
    }

    /// The number of the master to ask.
    pub(crate) fn master(&self) -> usize {
        self.at
    }

    /// What it has said of the first files.
    pub(crate) fn begun(&self) -> &[Answer] {
        &self.begun
    }

    /// It has answered so far, and has to be asked on.
    pub(crate) fn begin(&mut self, answers: Vec<Answer>) {
        self.begun = answers;
    }

    /// It has answered, file by file.
    pub(crate) fn answered(&mut self, answers: Vec<Answer>) {
        self.answers[self.at] = Some(answers);
        self.begun.clear();
        self.next();
    }

    /// It could not be asked.
    pub(crate) fn failed(&mut self, now: Instant) -> Pause {
        self.since.get_or_insert(now);
        let before = self.at;
        self.next();
        if self.at > before {
            Pause::None
        } else {
            Pause::Wait
        }
    }

    fn next(&mut self) {
        let count = self.answers.len();
        let open = (1..=count)
            .map(|step| (self.at + step) % count)
            .find(|at| self.answers[*at].is_none())
            .unwrap_or(0);
        if std::mem::replace(&mut self.at, open) != open {
            self.begun.clear();
        }
    }

    /// What the files are, once all masters have answered, or one has and the others can't be reached for `limit`.
    pub(crate) fn decided(&self, now: Instant, limit: Duration) -> Option<Vec<Answer>> {
        let late = self
            .since
            .is_some_and(|since| now.saturating_duration_since(since) >= limit);
        let mut told = self.answers.iter().flatten().peekable();
        let all = self.answers.iter().all(Option::is_some);
        let enough = all || late && told.peek().is_some();
        if !enough {
            return None;
        }
        let mut best: Vec<Answer> = Vec::new();
        for answers in told {
            best.resize(best.len().max(answers.len()), Answer::New);
            for (best, answer) in best.iter_mut().zip(answers) {
                *best = better(*best, *answer);
            }
        }
        Some(best)
    }

    /// Forgets the answers: the list of files has changed. Who can't be reached is not waited for once more.
    pub(crate) fn restart(&mut self) {
        *self = Self {
            since: self.since,
            ..Self::new(self.answers.len())
        };
    }

    /// Forgets everything: the files are named.
    pub(crate) fn again(&mut self) {
        *self = Self::new(self.answers.len());
    }
}

/// The first epoch counts, else the branch with the largest base.
fn better(one: Answer, other: Answer) -> Answer {
    match (one, other) {
        (Answer::Is(_), _) => one,
        (_, Answer::Is(_)) | (Answer::New, _) => other,
        (Answer::Branch { base: a, .. }, Answer::Branch { base: b, .. }) if b > a => other,
        (Answer::Branch { .. } | Answer::Copy, _) => one,
    }
}

/// Asks a master about the files that wait, after those of which it has `begun` to speak, and gives what it said of all of
/// them. Of fewer than there are: the connection's questions are used up. In the inner error: why it could not be asked.
///
/// # Errors
/// Only what no other connection would mend.
pub(crate) async fn ask(
    link: &mut Link,
    connection: Connection,
    begun: &[Answer],
    stop: &mut watch::Receiver<bool>,
) -> anyhow::Result<Result<Vec<Answer>, String>> {
    let mut talk = Talk::new(connection);
    let mut sender: Option<Sender> = None;
    let mut answers = begun.to_vec();
    for at in answers.len()..link.tailer.here()?.strangers() {
        if sender
            .as_ref()
            .is_some_and(|sender| !sender.has_questions())
        {
            break;
        }
        let size = match link.tailer.with(move |f| f.stranger_size(at)).await? {
            Ok(size) => size,
            Err(error) => {
                link.trouble(&error);
                return Ok(Err(error.to_string()));
            }
        };
        if size == 0 {
            // Nothing can be proved of it, and nothing would be repeated.
            answers.push(Answer::New);
            continue;
        }
        let source = Source {
            stream: link.name.clone(),
            epoch: None,
            after: None,
            from: Offset::ZERO,
            size: offset(size)?,
            acked: Vec::new(),
            of: None,
            base: None,
            common: offset(link.tailer.here()?.stranger_common(at))?,
        };
        let now = Instant::now();
        let asked = match &mut sender {
            None => {
                let limits = SenderLimits {
                    answer: link.limits.answer,
                    ..SenderLimits::default()
                };
                sender.insert(Sender::new(limits, AGENT, source, now))
            }
            Some(sender) => {
                sender.handle_source(source, now)?;
                sender
            }
        };
        match answer(link, &mut talk, asked, at, stop).await? {
            Ok(answer) => answers.push(answer),
            Err(why) => return Ok(Err(why)),
        }
    }
    let drain = link.limits.drain;
    link.patience.wait(talk.farewell(drain)).await;
    Ok(Ok(answers))
}

/// What the master says of the file number `at`.
async fn answer(
    link: &mut Link,
    talk: &mut Talk,
    sender: &mut Sender,
    at: usize,
    stop: &mut watch::Receiver<bool>,
) -> anyhow::Result<Result<Answer, String>> {
    loop {
        while let Some(action) = sender.poll_action() {
            match action {
                Action::Control(control) => talk.say(&control)?,
                Action::Beat => talk.say(&link.beat())?,
                Action::Hash { from, to, .. } => {
                    let len = u32::try_from(to.since(from)).unwrap_or(u32::MAX);
                    let read = move |f: &mut tail::Follower| f.stranger_bytes(at, to.get(), len);
                    let bytes = link.tailer.with(read).await?.unwrap_or_else(|error| {
                        link.trouble(&error);
                        None
                    });
                    sender.handle_hash(bytes.map(|bytes| Hash::of(&bytes)), Instant::now());
                }
                Action::LineStart { at: end, .. } => {
                    let find = move |f: &mut tail::Follower| f.stranger_line_start(at, end.get());
                    let start = link.tailer.with(find).await?.unwrap_or_else(|error| {
                        link.trouble(&error);
                        None
                    });
                    sender.handle_line_start(start.map(offset).transpose()?);
                }
                Action::Adopt(adopted) => {
                    return Ok(Ok(match adopted {
                        Adopted::Epoch(epoch) => Answer::Is(ours(epoch)),
                        Adopted::Branch { of, base } => Answer::Branch {
                            of: Some(ours(of)),
                            base: base.get(),
                        },
                        Adopted::Unknown => Answer::New,
                    }));
                }
                Action::End(outcome) => {
                    return Ok(Err(words(&outcome.why, talk.problem.take())));
                }
                // Nothing is sent before an epoch is named.
                Action::Read { .. } | Action::Data { .. } | Action::Confirm { .. } => {}
            }
        }
        let until = sender.poll_timeout();
        let moved = link
            .patience
            .wait(async {
                tokio::select! {
                    biased;
                    _ = stop.wait_for(|stop| *stop) => None,
                    moved = talk.exchange() => Some(moved),
                    () = sleep_until(until) => Some(Moved::On),
                }
            })
            .await;
        let Some(moved) = moved else {
            return Ok(Err(words(&Why::Finished, None)));
        };
        talk.hear(moved, sender);
        sender.handle_timeout(Instant::now());
    }
}

/// For ever without a time.
pub(super) async fn sleep_until(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
