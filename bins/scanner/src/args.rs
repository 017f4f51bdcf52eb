//! The command line.

use clap::{Args, Parser, Subcommand};
use service::args::{CompletionsArgs, ConfigArg, StatusArgs};

/// Turns log lines into events by rules, and events into webhooks by triggers
#[derive(Debug, Parser)]
#[command(name = "logferry-scanner", version, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Scan until stopped
    Run(ConfigArg),
    /// Check configuration, rules, triggers and paths, offline
    Check(ConfigArg),
    /// Ask the running scanner how it is doing
    Status(StatusArgs),
    /// Check, try and replay rules
    #[command(subcommand)]
    Rules(Rules),
    /// List events
    Events(EventsArgs),
    /// List and replay deliveries of webhooks
    #[command(subcommand)]
    Deliveries(Deliveries),
    /// Try triggers
    #[command(subcommand)]
    Trigger(Trigger),
    /// What was scanned, matched and suppressed, per rule
    Stats(StatusArgs),
    /// Print a completion script
    Completions(CompletionsArgs),
}

/// Subcommands of `rules`.
#[derive(Debug, Subcommand)]
pub enum Rules {
    /// Check all rule files, offline
    Check(ConfigArg),
    /// Try the rules on one line; nothing fires
    Test(TestArgs),
    /// The rules that apply to a workload
    Effective(EffectiveArgs),
    /// What the rules would have fired over the archive; writes nothing
    Replay(ReplayArgs),
}

/// Subcommands of `deliveries`.
#[derive(Debug, Subcommand)]
pub enum Deliveries {
    /// List deliveries that wait or failed
    List(DeliveriesListArgs),
    /// Send a delivery again
    Replay(DeliveriesReplayArgs),
}

/// Subcommands of `trigger`.
#[derive(Debug, Subcommand)]
pub enum Trigger {
    /// Send a test payload to a trigger's webhook, once
    Test(TriggerTestArgs),
}

/// `rules test`.
#[derive(Debug, Args)]
pub struct TestArgs {
    /// Configuration file (TOML)
    #[command(flatten)]
    pub config: ConfigArg,
    /// The line, as it stands in the log
    #[arg(long, value_name = "LINE")]
    pub line: String,
    /// The stream it came from: stdout or stderr
    #[arg(long, value_name = "STREAM")]
    pub stream: Option<String>,
    /// The workload it came from, instead of the one the line names
    #[arg(long, value_name = "WORKER/NAME")]
    pub workload: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `rules effective`.
#[derive(Debug, Args)]
pub struct EffectiveArgs {
    /// Configuration file (TOML)
    #[command(flatten)]
    pub config: ConfigArg,
    /// The workload
    #[arg(long, value_name = "WORKER/NAME")]
    pub workload: String,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// `rules replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Configuration file (TOML)
    #[command(flatten)]
    pub config: ConfigArg,
    /// From when on: a time (RFC 3339) or an age ("2h")
    #[arg(long, value_name = "TIME")]
    pub since: String,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// `events`.
#[derive(Debug, Args)]
pub struct EventsArgs {
    /// Configuration file (TOML)
    #[command(flatten)]
    pub config: ConfigArg,
    /// Go on with new ones as they come
    #[arg(long)]
    pub follow: bool,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
    /// From when on: a time (RFC 3339) or an age ("2h")
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
}

/// `deliveries list`.
#[derive(Debug, Args)]
pub struct DeliveriesListArgs {
    /// Configuration file (TOML)
    #[command(flatten)]
    pub config: ConfigArg,
    /// Only those that were given up
    #[arg(long)]
    pub dead: bool,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// `deliveries replay`.
#[derive(Debug, Args)]
pub struct DeliveriesReplayArgs {
    /// Configuration file (TOML)
    #[command(flatten)]
    pub config: ConfigArg,
    /// The delivery
    pub id: String,
}

/// `trigger test`.
#[derive(Debug, Args)]
pub struct TriggerTestArgs {
    /// Configuration file (TOML)
    #[command(flatten)]
    pub config: ConfigArg,
    /// The trigger
    pub name: String,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}
